"""Rectifies raw images, and measures how far two images are from being rectified."""
