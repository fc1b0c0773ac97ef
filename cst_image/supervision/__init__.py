"""What may teach g instead of self-training, or beside it: metrics of the warped scan, and synthetic fields."""
