"""Converts images to the inputs of an ONNX graph and its outputs to maps, as its contract says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, get_args

import cv2
import numpy as np

from nndepth_core.engines.base import EngineError
from nndepth_core.engines.contract import PIXEL_RANGE, Contract
from nndepth_core.spec import Output

_TYPES: dict[str, type[np.generic]] = {
    'tensor(uint8)': np.uint8,
    'tensor(float)': np.float32,
    'tensor(float16)': np.float16,
    'tensor(double)': np.float64,
}
_KNOWN_OUTPUTS = (*get_args(Output), 'reference_output_disparity', 'next_output', 'disp')
"""Names by which the map is found among several outputs, the most certain first."""


class Argument(Protocol):
    """An input or output of a graph, as ONNX Runtime describes it."""

    name: str
    type: str
    shape: list[int | str | None]


class ImageTensor(NamedTuple):
    """One input of the graph.

    Attributes:
        name: the name of the tensor.
        dtype: the type of its values.
        channels_last: whether it is (N, H, W, C) instead of (N, C, H, W).
        axes: batch, height and width: a name for a free dimension, a size for a fixed one.
        sides: the images that it takes, stacked along the channels: 0 is left, 1 is right.
        shrink: it takes the images at their size divided by this.
        channels: 'rgb', 'bgr' or 'grey'.
        gain: float32 (C,), the factor for the pixels; None takes pixels as they are.
        offset: float32 (C,), what is added afterwards.
    """

    name: str
    dtype: type[np.generic]
    channels_last: bool
    axes: tuple[int | str | None, ...]
    sides: tuple[int, ...] = (0,)
    shrink: int = 1
    channels: str = 'rgb'
    gain: np.ndarray | None = None
    offset: np.ndarray | None = None

    def __str__(self) -> str:
        order = '(N, H, W, C)' if self.channels_last else '(N, C, H, W)'
        sides = ' and '.join(('left', 'right')[side] for side in self.sides)
        size = f', 1/{self.shrink} of their size' if self.shrink > 1 else ''
        return f'{self.name}: {sides}, {self.channels} {order}{size}'

    @classmethod
    def of(
        cls, argument: Argument, contract: Contract, sides: tuple[int, ...], shrink: int
    ) -> ImageTensor:
        """Read type and layout from an input, as far as the contract leaves them open.

        Raises:
            EngineError: the input cannot hold the images, or its layout cannot be told.
        """
        name, shape = argument.name, argument.shape
        what = f'input {name} is {argument.type} {shape}'
        grey, coloured = len(sides), 3 * len(sides)
        if len(shape) != 4 or argument.type not in _TYPES:
            raise EngineError(
                f'{what}; an image must be uint8 or float, (N, H, W, C) or (N, C, H, W)'
            )
        places = {'nchw': (1,), 'nhwc': (3,), 'auto': (1, 3)}[contract.layout]
        fitting = [axis for axis in places if shape[axis] in (grey, coloured)]
        if contract.layout != 'auto' and not isinstance(shape[places[0]], int):
            fitting = [places[0]]
        if not fitting:
            taken = 'the pair' if len(sides) == 2 else 'one image'
            raise EngineError(
                f'{what}, of which no dimension of channels is {coloured} or {grey}, as for '
                f'{taken} in colour or grey; say what it is by the option layout, or export it so'
            )
        if len(fitting) == 2:
            raise EngineError(f'{what}; say by the option layout whether it is nchw or nhwc')
        (axis,) = fitting
        channels = _channels(what, shape[axis] == grey, contract)
        gain, offset = _mapping(what, channels, contract)
        dtype = _TYPES[argument.type]
        if gain is not None and dtype is np.uint8:
            raise EngineError(f'{what}, which holds pixels as they are; leave input_range out')
        axes = tuple(shape[:3]) if axis == 3 else (shape[0], *shape[2:])
        return cls(name, dtype, axis == 3, axes, sides, shrink, channels, gain, offset)

    def convert(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Convert left and right, uint8 RGB (N, H, W, 3), to what the tensor takes."""
        parts = [self._part(images[side]) for side in self.sides]
        stacked = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=3)
        if self.gain is not None and self.offset is not None:
            repeats = len(self.sides)
            stacked = stacked * np.tile(self.gain, repeats) + np.tile(self.offset, repeats)
        laid_out = stacked if self.channels_last else stacked.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(laid_out, self.dtype)

    def _part(self, batch: np.ndarray) -> np.ndarray:
        if self.shrink > 1:
            size = batch.shape[2] // self.shrink, batch.shape[1] // self.shrink
            batch = np.stack([cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in batch])
        if self.channels == 'grey':
            return np.stack([cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None] for x in batch])
        return batch[..., ::-1] if self.channels == 'bgr' else batch


def find_inputs(
    arguments: Sequence[Argument], contract: Contract, images: int = 2
) -> list[ImageTensor]:
    """Tell which image each input takes: by the contract, or else by names, sizes and order.

    Args:
        arguments: all inputs of the graph.
        contract: what is declared.
        images: the number of images that the model takes.

    Raises:
        EngineError: an input does not take an image, or the inputs are no stereo pair.
    """
    known = {argument.name: argument for argument in arguments}
    names = contract.inputs or _in_order(known)
    _refuse_unknown(names, known)
    if images == 2 and len(known) == 1 and _takes_one_image(known[names[0]]):
        raise EngineError(
            f'input {names[0]} is {known[names[0]].shape}, a single image; a file that `nndepth '
            'export` did not write must be of a stereo model. Export the network of single images '
            'by `nndepth export`, or give a file that takes a pair'
        )
    if len(known) not in (1, 2, 4) or set(names) != set(known):
        listed = ', '.join(f'{name} {argument.shape}' for name, argument in known.items())
        raise EngineError(
            f'its inputs are {listed}; a stereo model takes a left and a right image, one of '
            'both stacked, or the pair at half and at full size (CREStereo). An initial flow, a '
            'state or further images cannot be given: export it without, or as one graph'
        )
    sides: tuple[tuple[int, ...], ...] = ((0,),)
    if images == 2:
        sides = {1: ((0, 1),), 2: ((0,), (1,)), 4: ((0,), (1,), (0,), (1,))}[len(names)]
    shrinks = (2, 2, 1, 1) if len(names) == 4 else (1, 1)
    tensors = [
        ImageTensor.of(known[name], contract, taken, shrink)
        for name, taken, shrink in zip(names, sides, shrinks, strict=False)
    ]
    for tensor in tensors:
        wanted = [x // tensor.shrink if isinstance(x, int) else x for x in tensors[-1].axes[1:]]
        if any(
            isinstance(x, int) and x != y for x, y in zip(tensor.axes[1:], wanted, strict=True)
        ):
            listed = ', '.join(f'{x.name} {list(x.axes[1:])}' for x in tensors)
            raise EngineError(
                f'heights and widths of its inputs are {listed}; they must be equal, or for four '
                'inputs those of the first two half of the others'
            )
    return tensors


def find_outputs(
    arguments: Sequence[Argument], contract: Contract, size: tuple[int, int] | None
) -> list[str]:
    """Tell which outputs are disparity and confidence: by the contract, else by names and sizes.

    Args:
        arguments: all outputs of the graph.
        contract: what is declared.
        size: (height, width) of the images, None if it is free.

    Raises:
        EngineError: this cannot be told.
    """
    known = {argument.name: argument for argument in arguments}
    _refuse_unknown(contract.outputs, known)
    if contract.outputs:
        return list(contract.outputs)
    for name in _KNOWN_OUTPUTS:
        if name in known:
            return [name, 'confidence'] if 'confidence' in known else [name]
    whole = [name for name, x in known.items() if size and tuple(x.shape[2:4]) == size]
    single = [name for name, x in known.items() if len(x.shape) == 4 and x.shape[1] == 1]
    for candidates in (list(known), whole, single):
        if len(candidates) == 1:
            return candidates
    listed = ', '.join(f'{name} {argument.shape}' for name, argument in known.items())
    raise EngineError(
        f'its outputs are {listed}; say by the option outputs which is the disparity'
    )


def read_map(values: np.ndarray, batch: Sequence[int]) -> np.ndarray:
    """Bring an output to (N, H, W); of two channels, as optical flow has, the first is taken.

    Args:
        values: (N, H, W), (N, 1 or 2, H, W), (N, H, W, 1 or 2), or for N = 1 (H, W). A smaller
            map of the same aspect ratio is enlarged; its values stay.
        batch: N, H, W of the images.

    Raises:
        EngineError: the output has another shape.
    """
    count, height, width = batch
    array = np.asarray(values, np.float32)
    candidates = [array[None] if array.ndim == 2 else array]
    if array.ndim == 4:
        candidates = [np.take(array, 0, axis) for axis in (1, 3) if array.shape[axis] in (1, 2)]
    for maps in candidates:
        if maps.ndim != 3 or 0 in maps.shape or len(maps) != count:
            continue
        if maps.shape[1] * width == maps.shape[2] * height:
            if maps.shape[1:] == (height, width):
                return maps
            return np.stack([cv2.resize(x, (width, height)) for x in maps])
    raise EngineError(
        f'its output is {list(array.shape)} for images of {list(batch)}; a disparity must be '
        '(N, H, W), (N, 1, H, W) or (N, H, W, 1), of the size of the images or smaller in both '
        'dimensions alike: choose another one by the option outputs'
    )


def _in_order(known: Mapping[str, Argument]) -> tuple[str, ...]:
    """List the inputs in the order of the graph; names that say right and left are swapped."""
    names = tuple(known)
    if len(names) == 2 and 'right' in names[0].lower() and 'left' in names[1].lower():
        return names[::-1]
    return names


def _takes_one_image(argument: Argument) -> bool:
    """Whether an input has the channels of one image in colour or grey, and none of a pair."""
    channels = {argument.shape[axis] for axis in (1, 3)} if len(argument.shape) == 4 else set()
    return bool(channels & {1, 3}) and not channels & {2, 6}


def _refuse_unknown(names: Sequence[str], known: Mapping[str, Argument]) -> None:
    for name in names:
        if name not in known:
            raise EngineError(f'it has no tensor {name!r} there; it has {", ".join(known)}')


def _channels(what: str, grey: bool, contract: Contract) -> str:
    """Tell what the channels of an image hold, which are one or three."""
    if contract.channels == 'auto':
        return 'grey' if grey else 'rgb'
    if grey != (contract.channels == 'grey'):
        raise EngineError(
            f'{what}, an image in {"grey" if grey else "colour"}; leave channels '
            f'{contract.channels} out'
        )
    return contract.channels


def _mapping(
    what: str, channels: str, contract: Contract
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Gain and offset of each channel; None if pixels are taken as they are."""
    count = 1 if channels == 'grey' else 3
    if contract.normalize is not None:
        mean, deviation = (np.array(x, np.float32) for x in contract.normalize)
        if len(mean) > count:
            raise EngineError(
                f'{what}, an image in grey; give one mean and deviation to normalize'
            )
        return np.resize(1 / (255 * deviation), count), np.resize(-mean / deviation, count)
    low, high = contract.input_range or PIXEL_RANGE
    if (low, high) == PIXEL_RANGE:
        return None, None
    return np.full(count, (high - low) / 255, np.float32), np.full(count, low, np.float32)
