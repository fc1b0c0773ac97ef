"""Files of others, and of ours: transforms, volumes, lists of points, landmarks and pairs."""
