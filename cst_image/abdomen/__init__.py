"""What the abdomen phantom is made of: organs and torso, how they vary between patients, and how they are painted."""
