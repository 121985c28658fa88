"""Measures how far two images are from being rectified."""
