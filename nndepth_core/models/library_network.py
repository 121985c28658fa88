"""What the networks have in common that the transformers library implements."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from nndepth_core.models.base import MissingPackageError, MonoNetwork, substitute

ATTENTION_NAMES = (
    (r'\.attention\.q_proj\.', '.attention.attention.query.'),
    (r'\.attention\.k_proj\.', '.attention.attention.key.'),
    (r'\.attention\.v_proj\.', '.attention.attention.value.'),
    (r'\.attention\.o_proj\.', '.attention.output.dense.'),
)
"""Stable names of the attention in vision transformers, see `LibraryNetwork`."""
BEIT_NAMES = (
    (r'^backbone\.beit\.layers\.', 'backbone.encoder.layer.'),
    (r'^backbone\.beit\.', 'backbone.'),
    *ATTENTION_NAMES,
    (r'\.relative_position_bias\.(?=\w+$)', '.attention.attention.relative_position_bias.'),
    (r'(\.layer\.\d+)\.mlp\.fc1\.', r'\1.intermediate.dense.'),
    (r'(\.layer\.\d+)\.mlp\.fc2\.', r'\1.output.dense.'),
)
"""The same of the encoder BEiT."""
FUSION_NAMES = (
    *((rf'^(?:depth_head\.)?scratch\.layer{i + 1}_rn', f'neck.convs.{i}') for i in range(4)),
    *(
        (rf'^(?:depth_head\.)?scratch\.refinenet{4 - i}', f'neck.fusion_stage.layers.{i}')
        for i in range(4)
    ),
    (r'\.out_conv\.', '.projection.'),
    (r'\.resConfUnit(\d)\.conv(\d)', r'.residual_layer\1.convolution\2'),
)
"""Aliases of the fusion blocks in the files of MiDaS and of Depth Anything."""


class LibraryNetwork(MonoNetwork):
    """Base of networks of the library, held as `network`.

    The entries of the state dict are named as in the files on Hugging Face, which stay the same
    while names inside of the library change with its version.

    Attributes:
        stable_names: patterns and replacements from the library's names to those of its files.
    """

    network: Any
    stable_names: ClassVar[Sequence[tuple[str, str]]] = ()

    def adopt(self, make: Callable[[Any], nn.Module]) -> None:
        """Make the library's network with fresh weights, and translate the names of its entries.

        Args:
            make: takes the module `transformers`.

        Raises:
            MissingPackageError: the library is not installed.
        """
        try:
            import transformers

            self.network = make(transformers)
        except ImportError as error:
            raise MissingPackageError(self.spec.name, 'transformers', 'mono') from error
        self.register_state_dict_post_hook(_to_stable)
        self.register_load_state_dict_pre_hook(_from_stable)

    def stable_name(self, name: str) -> str:
        """The name in files of an entry that the library calls `name`."""
        return substitute(name.removeprefix('network.'), self.stable_names)


def beit_settings(side: int, width: int, layers: int, heads: int) -> dict[str, Any]:
    """The library's settings of BEiT as in MiDaS, whose four taps divide its layers evenly.

    Args:
        side: of the square images of the training, in pixels.
        width: of the transformer.
        layers: its depth.
        heads: of its attention.
    """
    return {
        'model_type': 'beit',
        'image_size': side,
        'hidden_size': width,
        'num_hidden_layers': layers,
        'num_attention_heads': heads,
        'intermediate_size': 4 * width,
        'use_relative_position_bias': True,
        'reshape_hidden_states': False,
        'layer_norm_eps': 1e-6,  # the authors'; the library's files say 1e-12
        'out_features': [f'stage{layers * quarter // 4}' for quarter in (1, 2, 3, 4)],
    }


def split_projections(
    official: Mapping[str, Tensor], pattern: str, target: str
) -> dict[str, Tensor]:
    """Split what files hold as one matrix, the projections to queries, keys and values.

    Args:
        official: entries by name.
        pattern: matches the whole names of such matrices, and of their biases.
        target: the name of a part, with the groups of the pattern, and {part} in place of 'query',
            'key' or 'value'.
    """
    split: dict[str, Tensor] = {}
    for name, value in official.items():
        if (match := re.fullmatch(pattern, name)) and value.ndim:
            parts = zip(('query', 'key', 'value'), value.tensor_split(3), strict=True)
            split |= {match.expand(target.format(part=part)): rows for part, rows in parts}
        else:
            split[name] = value
    return split


def _to_stable(
    network: LibraryNetwork, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    """Give the entries of a state dict their stable names, in place."""
    for name in [name for name in state if name.startswith(prefix)]:
        state[prefix + network.stable_name(name.removeprefix(prefix))] = state.pop(name)


def _from_stable(
    network: LibraryNetwork, state: dict[str, Any], prefix: str, *others: Any
) -> None:
    """Give the entries of a state dict the library's names, in place."""
    for name in network.network.state_dict():
        own = f'network.{name}'
        stable = prefix + network.stable_name(own)
        if stable in state:
            state[prefix + own] = state.pop(stable)
