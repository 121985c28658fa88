"""Rectification: measuring what is left of misalignment between two images."""
