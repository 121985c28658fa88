"""What all networks have in common: their contract and the names in official checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nndepth_core.models.declared import chosen
from nndepth_core.spec import ModelSpec

Prediction = Tensor | tuple[Tensor, Tensor | None] | list[Tensor]


@dataclass(frozen=True)
class Source:
    """The entries of an official checkpoint that make one entry of ours.

    Attributes:
        names: the official entries, which are joined along dimension 0.
        inputs: the part of their dimension 1 (input channels) that is taken; None takes all.
    """

    names: tuple[str, ...]
    inputs: slice | None = None

    def take(self, official: Mapping[str, Tensor]) -> Tensor:
        """Make our entry from the official ones."""
        parts = [official[name] for name in self.names]
        if self.inputs is not None:
            parts = [part[:, self.inputs] for part in parts]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class MissingPackageError(ModuleNotFoundError, ValueError):
    """A network cannot be made, because a package that it is built on is not installed."""

    def __init__(self, network: str, package: str, extra: str) -> None:
        text = f'{network} needs {package}; pip install "nndepth[{extra}]"'
        super().__init__(text, name=package)


class Network(nn.Module):
    """Base of all networks: what they take and give, their variants and their official names.

    `forward` takes the inputs that `spec` names, in their order: RGB images float32 (N, 3, H, W)
    in 0..255, which it normalises inside. In eval mode it returns one map (N, 1, H, W).

    Attributes:
        spec: a class has what all variants have in common, a network what is true for itself.
        variants: constructor arguments by variant; the first is the default.
        ranges: the smallest and largest value of each numeric constructor argument that has a
            default, hence that users may set; whole numbers where the bounds are.
        choices: the values of constructor arguments that may have but a few.
    """

    spec: ModelSpec
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {'base': {}}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    choices: ClassVar[Mapping[str, Sequence[Any]]] = {}

    one_size_graph: ClassVar[bool] = False
    """Whether a graph that was traced at one size is wrong at all other sizes."""

    official_rules: ClassVar[Sequence[tuple[str, str]]] = ()
    """Regular expressions and replacements that turn our entry names into official ones."""
    official_aliases: ClassVar[Sequence[tuple[str, str]]] = ()
    """The same for tensors that official checkpoints hold under a second name."""
    official_unused: ClassVar[Sequence[str]] = ()
    """Regular expressions of official entries that the forward pass never reads."""

    def specify(self, **facts: Any) -> None:
        """Set the facts of this network that its class leaves open, as fields of `ModelSpec`."""
        self.spec = replace(self.spec, **facts)

    def official_sources(self) -> dict[str, Source]:
        """Tell, for each entry of our state dict, which official entries it comes from."""
        return {
            name: Source((substitute(name, self.official_rules),)) for name in self.state_dict()
        }

    @classmethod
    def check_ranges(cls, settings: Mapping[str, Any]) -> None:
        """Refuse constructor arguments outside `ranges` and `choices`.

        Raises:
            ValueError: one is; says what is allowed.
        """
        for name in cls.choices.keys() & settings.keys():
            chosen(name, settings[name], cls.choices[name])
        for name in cls.ranges.keys() & settings.keys():
            low, high = cls.ranges[name]
            value, whole = settings[name], isinstance(low, int)
            kinds = int if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                kind = 'a whole number' if whole else 'a number'
                raise ValueError(f'{name} is {value!r}; give {kind} in {low:g}..{high:g}')

    @classmethod
    def settings_from_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Read constructor settings from the config.json of a transformers snapshot."""
        return {}

    @classmethod
    def is_of_config(cls, variant: str, config: Mapping[str, Any]) -> bool:
        """Whether the config.json of a transformers snapshot may be one of a variant.

        It need only tell what the shapes of the entries do not; an empty one may be of any.
        """
        return True

    def unified(self, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert the layouts in which a network's checkpoints are published to one layout.

        Second names of a tensor are dropped; a tensor that has only a second name is renamed.
        """
        first_names = {name: substitute(name, self.official_aliases) for name in official}
        return {
            first: official[name]
            for name, first in first_names.items()
            if name == first or first not in official
        }

    def refitted(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Fit what a checkpoint has for images of another size, such as a table of positions.

        Raises:
            ValueError: an entry cannot be made to fit.
        """
        return state

    def steps(self, iterations: int | None) -> range:
        """The iterations to run; None stands for the network's default.

        Raises:
            ValueError: there are fewer than one.
        """
        count = self.spec.iterations if iterations is None else iterations
        if count < 1:
            raise ValueError(f'iterations is {count}; give at least 1')
        return range(count)

    def check_images(self, *images: Tensor) -> None:
        """Refuse images that the network cannot process.

        Raises:
            ValueError: their shape, size or type does not fit.
        """
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        first = images[0]
        if any(image.shape != first.shape for image in images) or (
            first.ndim,
            *first.shape[1:2],
        ) != (4, 3):
            shapes = ' and '.join(
                f'{name} is {tuple(image.shape)}'
                for name, image in zip(self.spec.images, images, strict=True)
            )
            raise ValueError(f'{shapes}; give RGB batches (N, 3, H, W) of one size')
        if not all(image.is_floating_point() for image in images):
            types = ' and '.join(str(image.dtype) for image in images)
            raise ValueError(f'images are {types}; give float32 values in 0..255')
        self.spec.check_size(*first.shape[-2:])


class StereoNetwork(Network):
    """Base of the stereo networks.

    In eval mode, `forward(left, right, iterations=None, confidence=False)` returns the positive
    disparity (N, 1, H, W) in pixels of its input. With `confidence=True` it returns a pair: the
    disparity and the confidence (N, 1, H, W) in 0..1, which is None if the network has none. In
    train mode it returns the list of tensors that its loss needs. For most networks these are
    disparities (N, 1, H, W), of which the last one is the result.
    """


class MonoNetwork(Network):
    """Base of the networks that take a single image.

    In eval mode, `forward(image)` returns what `spec.output` says, (N, 1, H, W). A network whose
    spec has a confidence takes `confidence=True` and returns the maps that `spec.maps` names then.
    """


def gru_sources(
    ours: str, official: str, hidden: int, *, half: str = '', context: int = 0
) -> dict[str, Source]:
    """Tell where the entries of a `ConvGru` come from; official gates have one convolution each.

    Args:
        ours: the prefix of the entries of our GRU, without the last dot.
        official: the prefix of the official entries, without the last dot.
        hidden: channels of the state, which are the first input channels of official gates.
        half: what official names of the gates end in.
        context: channels of the context, which follow the state and which we convolve apart.
    """
    gates = [f'{official}.conv{gate}{half}' for gate in 'zrq']
    weights = tuple(f'{gate}.weight' for gate in gates)
    return {
        f'{ours}.from_input.weight': Source(weights, slice(hidden + context, None)),
        f'{ours}.from_input.bias': Source(tuple(f'{gate}.bias' for gate in gates)),
        f'{ours}.gates.weight': Source(weights[:2], slice(hidden)),
        f'{ours}.candidate.weight': Source(weights[2:], slice(hidden)),
    }


def separable_gru_sources(official: str, hidden: int, context: int) -> dict[str, Source]:
    """Tell where the two halves of a separable GRU come from, each one a `ConvGru`.

    The official gates take state, context and motion, in this order; ours convolve the context
    apart, once for all steps.

    Args:
        official: the prefix of the official entries, without the last dot.
        hidden: channels of the state.
        context: channels of the context.

    Returns:
        The sources of the entries of 'grus' and 'from_context'.
    """
    sources: dict[str, Source] = {}
    for index, half in enumerate('12'):
        weights = tuple(f'{official}.conv{gate}{half}.weight' for gate in 'zrq')
        of_context = Source(weights, slice(hidden, hidden + context))
        sources[f'from_context.{index}.weight'] = of_context
        sources |= gru_sources(f'grus.{index}', official, hidden, half=half, context=context)
    return sources


def substitute(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """Apply (pattern, replacement) rules to an entry name, one after the other."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def scale_to_unit(image: Tensor) -> Tensor:
    """Map an image from 0..255 to -1..1, channels last, which makes convolutions faster."""
    return (image * (2 / 255) - 1).contiguous(memory_format=torch.channels_last)
