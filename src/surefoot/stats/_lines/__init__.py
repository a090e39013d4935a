"""Lines on the axes of accuracy."""
