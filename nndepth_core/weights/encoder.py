"""Loading the encoder of a pre-trained network into another one, strictly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from nndepth_core.weights.checkpoint import CheckpointError, read_checkpoint, some

if TYPE_CHECKING:
    from nndepth_core.models.base import Network

_PREFIXES = ('encoder.', 'vit_model.')
"""What stands before the names of an encoder that is a part of a network."""
_DECODER = r'decoder[._]|mask_token$|loss_fnc\.|patch_embed\.'
"""What a pre-training needs beside an encoder, or names a second time."""
_MARKS = 'views'
"""Learned from pairs only; after pre-training on single images it begins at random."""


def load_encoder(network: Network, path: str | Path) -> None:
    """Load the encoder of a checkpoint into a network, whose other parts stay as they are.

    Args:
        network: has a `VisionTransformer` as its `encoder`.
        path: a checkpoint of MAE of single images, or of a StereoMAE, ours or the authors', after
            pre-training or fine-tuning.

    Raises:
        CheckpointError: the network has no such encoder, or that of the file differs from it.
    """
    from nndepth_core.models.base import substitute

    encoder = getattr(network, 'encoder', None)
    if encoder is None or not hasattr(encoder, 'patch'):
        raise CheckpointError(
            f'{network.spec.name} has no encoder that can be pre-trained; take stereo_mae, or '
            'give the weights of the whole network in trainer.weights'
        )
    state = read_checkpoint(path)
    own = encoder.state_dict()
    names = {substitute(name, encoder.official_rules): name for name in own} | {n: n for n in own}
    prefix = next((p for p in _PREFIXES if any(name.startswith(p) for name in state)), '')
    entries = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    unknown = [n for n in entries if n not in names and (prefix or not re.match(_DECODER, n))]
    entries = {names[name]: value for name, value in entries.items() if name in names}
    try:
        entries = dict(network.refitted(entries))
    except ValueError as error:
        raise CheckpointError(f'{path}: {error}') from None
    differing = {
        'missing': [n for n in own if n not in entries and n != _MARKS],
        'unexpected': unknown,
        'of another shape': [n for n in entries if entries[n].shape != own[n].shape],
    }
    if any(differing.values()):
        parts = (f'{len(n)} {kind} ({some(n)})' for kind, n in differing.items() if n)
        cure = (
            '; it was trained to see both views, so set joint to true' if _MARKS in unknown else ''
        )
        raise CheckpointError(
            f'{path} does not hold the encoder of {network.spec.title}: {", ".join(parts)}{cure}'
        )
    encoder.load_state_dict({**own, **entries})
