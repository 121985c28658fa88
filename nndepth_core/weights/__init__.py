"""Weights: safe reading of checkpoint files, the catalogue, the user's store. Imports no torch."""

from nndepth_core.weights.checkpoint import CheckpointError, read_checkpoint
from nndepth_core.weights.find import find_weights
from nndepth_core.weights.importing import import_weights
from nndepth_core.weights.loading import load_official, load_weights, matching_models
from nndepth_core.weights.store import stored_weights

__all__ = [
    'CheckpointError',
    'find_weights',
    'import_weights',
    'load_official',
    'load_weights',
    'matching_models',
    'read_checkpoint',
    'stored_weights',
]
