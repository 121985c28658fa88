"""Measures speed and memory of models, also in comparison with the code of their authors."""
