"""What the mouse does to a case: brush, eraser, region of interest."""
