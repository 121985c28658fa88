"""What every stereo network shares: its description, its contract and its official names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

Prediction = Tensor | tuple[Tensor, Tensor | None] | list[Tensor]


@dataclass(frozen=True)
class Padding:
    """How images are brought to a size the network accepts; done outside of `forward`.

    Attributes:
        multiple: height and width must be multiples of this.
        placement: where the missing rows and columns go; 'centre' puts the smaller half above and
            to the left, 'top_right' all rows above and all columns to the right.

    The border is replicated in every case.
    """

    multiple: int = 32
    placement: Literal['centre', 'top_right', 'bottom_right'] = 'centre'


@dataclass(frozen=True)
class Source:
    """The official checkpoint entries that one entry of ours is made of.

    Attributes:
        names: official entries, joined along dimension 0.
        inputs: the part taken of their dimension 1 (input channels); None takes all.
    """

    names: tuple[str, ...]
    inputs: slice | None = None

    def take(self, official: Mapping[str, Tensor]) -> Tensor:
        """Assemble the entry from official ones."""
        parts = [official[name] for name in self.names]
        if self.inputs is not None:
            parts = [part[:, self.inputs] for part in parts]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class StereoNetwork(nn.Module):
    """Base of the stereo networks.

    `forward(left, right, iterations=None, confidence=False)` takes RGB float32 (N, 3, H, W) in
    0..255 and normalises inside. In eval mode it returns the positive disparity (N, 1, H, W) in
    pixels of its input, with `confidence=True` a pair of it and the confidence (N, 1, H, W) in
    0..1 (None where the network has none). In train mode it returns the list of tensors that its
    loss needs, for most networks disparities (N, 1, H, W); the last one is the result.

    Attributes:
        name: registry name.
        variant: which of `variants` this is, set by `create_model`.
        variants: constructor arguments by variant, the default first.
        padding: how the network wants its images padded.
        minimum_size: smallest (height, width) it accepts.
        iterative: whether `iterations` has an effect.
        output: what the network returns.
        confidence: how its confidence arises; 'left_right' means that it has none of its own and
            leaves it to the left-right check.
    """

    name: ClassVar[str]
    variants: ClassVar[Mapping[str, Mapping[str, Any]]]
    padding: ClassVar[Padding] = Padding()
    iterative: ClassVar[bool] = False
    output: ClassVar[Literal['disparity']] = 'disparity'
    confidence: ClassVar[Literal['left_right', 'softmax_peak', 'residual', 'head']] = 'left_right'

    official_rules: ClassVar[Sequence[tuple[str, str]]] = ()
    """Regular expressions and replacements that turn our entry names into official ones."""
    official_aliases: ClassVar[Sequence[tuple[str, str]]] = ()
    """The same for second names that official checkpoints hold of one tensor."""
    official_unused: ClassVar[Sequence[str]] = ()
    """Regular expressions of official entries that the forward pass never reads."""

    variant: str = ''
    minimum_size: tuple[int, int] = (32, 32)
    iterations: int = 0
    """Steps that `forward` takes where it is not told; 0 where the network has none."""

    def official_sources(self) -> dict[str, Source]:
        """Which official entries each of our state dict's entries comes from."""
        return {
            name: Source((substitute(name, self.official_rules),)) for name in self.state_dict()
        }

    def steps(self, iterations: int | None) -> range:
        """The iterations to take, the network's default where None is asked for.

        Raises:
            ValueError: fewer than one.
        """
        count = self.iterations if iterations is None else iterations
        if count < 1:
            raise ValueError(f'iterations is {count}; give at least 1')
        return range(count)

    def check_images(self, left: Tensor, right: Tensor) -> None:
        """Refuse images that the network cannot process.

        Raises:
            ValueError: shape, size or type do not fit.
        """
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        if left.shape != right.shape or left.ndim != 4 or left.shape[1] != 3:
            raise ValueError(
                f'left is {tuple(left.shape)} and right {tuple(right.shape)}; '
                'give two RGB batches (N, 3, H, W) of one size'
            )
        if not left.is_floating_point() or not right.is_floating_point():
            raise ValueError(
                f'images are {left.dtype} and {right.dtype}; give float32 values in 0..255'
            )
        height, width = left.shape[-2:]
        multiple, (low_height, low_width) = self.padding.multiple, self.minimum_size
        if height % multiple or width % multiple or height < low_height or width < low_width:
            raise ValueError(
                f'images are {width}x{height}; {self.name} needs multiples of {multiple} and at '
                f'least {low_width}x{low_height} (pad or resize them)'
            )


def gru_sources(ours: str, official: str, hidden: int) -> dict[str, Source]:
    """Where the entries of a `ConvGru` come from: official GRUs have one convolution a gate.

    Args:
        ours: entry prefix of our GRU, without the last dot.
        official: the same of the official one.
        hidden: channels of the state, the first ones that official gates look at.
    """
    z, r, q = (f'{official}.conv{gate}' for gate in 'zrq')
    weights = tuple(f'{gate}.weight' for gate in (z, r, q))
    return {
        f'{ours}.from_input.weight': Source(weights, slice(hidden, None)),
        f'{ours}.from_input.bias': Source(tuple(f'{gate}.bias' for gate in (z, r, q))),
        f'{ours}.gates.weight': Source(weights[:2], slice(hidden)),
        f'{ours}.candidate.weight': Source(weights[2:], slice(hidden)),
    }


def substitute(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """Apply (pattern, replacement) rules to an entry name, one after the other."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def scale_to_unit(image: Tensor) -> Tensor:
    """Map an image from 0..255 to -1..1; channels last, which convolutions are faster in."""
    return (image * (2 / 255) - 1).contiguous(memory_format=torch.channels_last)
