"""Weights: safe reading of checkpoint files, the catalogue, the user's store. Imports no torch."""

from nndepth_core.weights.checkpoint import (
    CheckpointError,
    load_official,
    matching_models,
    read_checkpoint,
)
from nndepth_core.weights.store import load_weights, store_weights, stored_weights

__all__ = [
    'CheckpointError',
    'load_official',
    'load_weights',
    'matching_models',
    'read_checkpoint',
    'store_weights',
    'stored_weights',
]
