"""Weights: reading checkpoint files safely and loading official ones. Imports no torch itself."""

from nndepth_core.weights.checkpoint import (
    CheckpointError,
    load_official,
    matching_models,
    read_checkpoint,
)

__all__ = ['CheckpointError', 'load_official', 'matching_models', 'read_checkpoint']
