"""A registry of images in the twin, and the stand-ins that it serves."""
