"""One-dimensional registration: cyclic signals of several channels, of which only the first tells anything."""
