"""Passes that make a network faster for inference; training never sees them."""
