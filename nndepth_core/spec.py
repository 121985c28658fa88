"""What one must know of a model to use it: its inputs, output and sizes. Needs no torch.

A network carries its `ModelSpec`, its ONNX file holds it, and every engine hands it out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import cv2
import numpy as np

from nndepth_core.files.values import choice, integer, number, text, tuple_of

Output = Literal['disparity', 'depth', 'relative_depth', 'inverse_depth']
Placement = Literal['centre', 'top_right', 'bottom_right']
Border = Literal['replicate', 'mean']
Confidence = Literal['softmax_peak', 'residual', 'head']
Task = Literal['stereo', 'mono']

IMAGES = ('left', 'right', 'image')
"""Names of inputs that are images; other inputs, such as intrinsics, are numbers."""
_MEAN = (123.675, 116.28, 103.53)
"""The mean colour of ImageNet, RGB."""
_INPUTS: dict[tuple[str, ...], Task] = {
    ('left', 'right'): 'stereo',
    ('image',): 'mono',
    ('image', 'intrinsics'): 'mono',
}


def title_of(name: str, variant: str | None) -> str:
    """A network and its variant in one word, as in raft_stereo-realtime."""
    return f'{name}-{variant}' if variant else name


def split_title(title: str) -> tuple[str, str | None]:
    """Split what `title_of` made into the network and its variant, None where it names none.

    Raises:
        ValueError: nothing follows the hyphen.
    """
    name, hyphen, variant = title.partition('-')
    if hyphen and not variant:
        raise ValueError(f'{title!r} names no variant; write one behind the -, or {name!r}')
    return name, variant or None


@dataclass(frozen=True)
class Preferred:
    """The size at which a network was trained, if its result depends on the size.

    Attributes:
        side: the side of a square, or the height of a rectangle, in pixels.
        fit: 'inside' if images of another aspect ratio must fit into the square, 'outside' if
            their shorter side must be equal to the side of the square, 'closest' if the one of
            their sides is made equal to its own that changes them the least.
        longest: the most that the longer side may have with 'outside', which very wide images are
            made to fit; None if there is no limit.
        width: of a rectangle with 'closest'; None if it is a square.
    """

    side: int
    fit: Literal['inside', 'outside', 'closest']
    longest: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        integer('preferred side', self.side, 1, 16384)
        choice('preferred fit', self.fit, ('inside', 'outside', 'closest'))
        if self.longest is not None:
            integer('longest side', self.longest, self.side, 16384)
        if self.width is not None:
            integer('preferred width', self.width, 1, 16384)
            if self.fit != 'closest':
                raise ValueError(
                    f'preferred width is {self.width} and fit {self.fit}, not closest'
                )


@dataclass(frozen=True)
class ModelSpec:
    """What a model takes and gives.

    Attributes:
        name: the name of the network, e.g. 'raft_stereo'.
        variant: the variant of the network, '' if there is only one.
        inputs: the names of its inputs: left and right; image; or image and intrinsics.
        output: what it gives: 'disparity' in pixels of its input, positive; 'depth' in metres;
            'relative_depth' and 'inverse_depth' up to an unknown scale and shift.
        value_range: the smallest and largest output to expect, in its unit; None if the output
            has no scale. The default is what stereo networks are trained on.
        confidence: how its own confidence is computed; None if it has none.
        iterations: the default number of steps of an iterative network; 0 for others.
        multiple: height and width must be multiples of this.
        placement: where padding goes: 'centre' puts the smaller half above and to the left,
            'top_right' puts all rows above and all columns to the right.
        border: what padding holds: 'replicate' repeats the border of the image, 'mean' has the
            mean colour of ImageNet.
        aspect: the smallest and largest width over height; other images are padded until they fit.
            None if any will do.
        minimum: the smallest (height, width), before padding, with a useful result.
        mirrored: how wide the border is in which images are mirrored before they are resized, and
            which comes off the maps again: the rows, and columns, are this times the root of half
            of their number in the image. Networks that saw frames around images find depth in them
            without one.
        preferred: the size at which it works best; None if that is the size of the images.
        pixels: the smallest and largest number of pixels at which it works well; images with fewer
            or more are best resized. None if it does not matter.
        fixed_size: the only (height, width) that it takes; None if it takes any.
        resolution: the smallest step of the output; 0 if there is none.
        canonical_focal: the focal length in pixels that the network assumes for all images; None
            if it does not assume one.
        saturates: whether the output ends at the upper end of `value_range`, which then means that
            far or farther; it becomes +inf, as REP-117 wants.
        max_depth: metres, for this camera, at which the authors cut depth off; +inf from there on.
        least_confidence: the confidence below which a pixel shows nothing at a finite distance,
            such as sky; its depth is +inf.
        affine_points: whether it gives maps 'x' and 'y' besides 'depth' and 'confidence': where
            the points lie that pixels show, to the right and below the axis of the camera. Its
            depth lacks a shift then, which follows from them (see `nndepth_core.point_maps`).
        refined: whether refinement by the images belongs to a stereo model, since it was measured
            to make its disparities more precise (see `nndepth_core.estimator.variational` and
            `nndepth_core.estimator.depth_edges`).
        bytes_per_pixel: the memory that a run on the CPU needs at least for each pixel
            (nano_stereo, the smallest network, was measured at 286).
    """

    name: str
    variant: str = ''
    inputs: tuple[str, ...] = ('left', 'right')
    output: Output = 'disparity'
    value_range: tuple[float, float] | None = (0.0, 192.0)
    confidence: Confidence | None = None
    iterations: int = 0
    multiple: int = 1
    placement: Placement = 'bottom_right'
    border: Border = 'replicate'
    aspect: tuple[float, float] | None = None
    minimum: tuple[int, int] = (1, 1)
    mirrored: float = 0.0
    preferred: Preferred | None = None
    pixels: tuple[int, int] | None = None
    fixed_size: tuple[int, int] | None = None
    resolution: float = 0.0
    canonical_focal: float | None = None
    saturates: bool = False
    max_depth: float | None = None
    least_confidence: float = 0.0
    affine_points: bool = False
    refined: bool = False
    bytes_per_pixel: int = 150

    def __post_init__(self) -> None:
        text('name', self.name)
        text('variant', self.variant)
        if tuple_of('inputs', self.inputs, (1, 2), text) not in _INPUTS:
            known = ' or '.join(','.join(names) for names in _INPUTS)
            raise ValueError(f'inputs are {",".join(self.inputs)}; they must be {known}')
        choice('output', self.output, get_args(Output))
        if (self.task == 'stereo') != (self.output == 'disparity'):
            raise ValueError(f'a {self.task} model cannot have the output {self.output}')
        integer('iterations', self.iterations, 0, 1000)
        integer('bytes_per_pixel', self.bytes_per_pixel, 0, 10**6)
        self._check_values()
        self._check_sizes()

    def _check_values(self) -> None:
        """Check what is known of the values that the model gives."""
        if self.value_range is not None:
            low, high = tuple_of('value_range', self.value_range, (2,), _value)
            if low >= high:
                raise ValueError(f'value_range is {low:g},{high:g}; the second must be larger')
        number('resolution', self.resolution, 0, 1e3)
        if self.confidence is not None:
            choice('confidence', self.confidence, get_args(Confidence))
        if self.canonical_focal is not None:
            number('canonical_focal', self.canonical_focal, 1, 1e6)
        for name in ('affine_points', 'refined', 'saturates'):
            if getattr(self, name) not in (False, True):
                raise ValueError(f'{name} is {getattr(self, name)!r}; give true or false')
        if self.affine_points and (self.output != 'depth' or self.confidence is None):
            raise ValueError('a model of affine_points has the output depth and a confidence')
        if number('least_confidence', self.least_confidence, 0, 1) and (
            self.output not in ('depth', 'relative_depth') or self.confidence is None
        ):
            raise ValueError('a model of a least_confidence gives depth and a confidence')
        if self.refined and self.task != 'stereo':
            raise ValueError('only disparities are refined; refined must be false')
        if self.saturates and (self.output != 'depth' or self.value_range is None):
            raise ValueError('a model that saturates has the output depth and a value_range')
        if self.max_depth is not None and (
            not number('max_depth', self.max_depth, 0, 1e6) or self.output != 'depth'
        ):
            raise ValueError('a max_depth is positive, and its model has the output depth')

    def _check_sizes(self) -> None:
        """Check what is known of the sizes that the model takes."""
        integer('multiple', self.multiple, 1, 4096)
        choice('placement', self.placement, get_args(Placement))
        choice('border', self.border, get_args(Border))
        for name, size in (('minimum', self.minimum), ('fixed_size', self.fixed_size)):
            if size is not None:
                tuple_of(name, size, (2,), _side)
        if self.pixels is not None:
            fewest, most = tuple_of('pixels', self.pixels, (2,), _count)
            if fewest > most:
                raise ValueError(f'pixels are {fewest},{most}; the second must not be smaller')
            if self.preferred is not None:
                raise ValueError('a model has a preferred size or a number of pixels, not both')
        if self.aspect is not None:
            low, high = tuple_of('aspect', self.aspect, (2,), _aspect)
            if not low <= 1 <= high:
                raise ValueError(f'aspect is {low:g},{high:g}; a square image must fit')
        if number('mirrored', self.mirrored, 0, 100) and (
            self.task == 'stereo' or self.needs_camera
        ):
            raise ValueError('only a model of one image that needs no camera mirrors its border')

    # --- as text in files ------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """Return what differs from the defaults, for JSON and `of`."""
        values = asdict(self)
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in values.items() if value != defaults[name]}

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ModelSpec:
        """Make a spec from what `settings` returned.

        Raises:
            ValueError: an entry is unknown or missing, has a wrong type, or is out of range.
        """
        known = [field.name for field in fields(cls)]
        if unknown := [str(name)[:80] for name in settings if name not in known]:
            raise ValueError(f'{unknown[0]!r} is no part of a model spec')
        if 'name' not in settings:
            raise ValueError('name is missing')
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in settings.items()
        }
        if isinstance(preferred := values.get('preferred'), dict):
            try:
                values['preferred'] = Preferred(**preferred)
            except TypeError as error:
                raise ValueError('preferred must have side and fit') from error
        elif preferred is not None:
            raise ValueError('preferred must have side and fit')
        return cls(**values)

    # --- task and sizes --------------------------------------------------------------------------

    @property
    def task(self) -> Task:
        """The task of the model, which follows from its inputs."""
        return _INPUTS[self.inputs]

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that the model gives, in their order."""
        confidence = ('confidence',) if self.confidence else ()
        return (self.output, *confidence, *(('x', 'y') if self.affine_points else ()))

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and largest output to expect; infinite if it has no scale."""
        return self.value_range or (-math.inf, math.inf)

    @property
    def title(self) -> str:
        """Name and variant, as in raft_stereo-realtime."""
        return title_of(self.name, self.variant)

    @property
    def unit(self) -> str:
        """The unit of the output, '' if it has no scale."""
        return {'disparity': 'px', 'depth': 'm'}.get(self.output, '')

    @property
    def needs_camera(self) -> bool:
        """Whether the model needs the intrinsics of the camera."""
        return 'intrinsics' in self.inputs or self.canonical_focal is not None

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the inputs that are images."""
        return tuple(name for name in self.inputs if name in IMAGES)

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) to which images are best resized, in steps of `multiple`.

        The aspect ratio is kept as well as these steps allow.
        """
        if self.pixels is not None:
            fewest, most = self.pixels
            fitting = self._fitting(width, height)
            area = math.prod(fitting)
            scale = math.sqrt(min(max(area, fewest), most) / area)
            wide, high = (
                max(1, round(side * self._rounded_up(whole * scale) / whole))
                for side, whole in zip((width, height), fitting, strict=True)
            )
            return wide, high
        if self.preferred is None:
            return width, height
        side, step = self.preferred.side, self.multiple
        inside = self.preferred.fit == 'inside'
        longest = self.preferred.longest
        if longest is not None and side * max(width, height) > longest * min(width, height):
            side, inside = longest, True
        closest = self.preferred.fit == 'closest'
        scale = side / (max if inside else min)(width, height)
        if closest:
            scales = side / height, (self.preferred.width or side) / width
            scale = min(scales, key=lambda scale: abs(1 - scale))

        def stepped(length: int) -> int:
            steps = length * scale / step
            count = round(steps)
            if inside and count * step > side:
                count = math.floor(steps)
            if not (inside or closest) and count * step < side:
                count = math.ceil(steps)
            return step * max(1, count)

        return stepped(width), stepped(height)

    def _rounded_up(self, length: float) -> int:
        """The next multiple of `multiple` that is not below the whole part of a length."""
        return self.multiple * max(1, math.ceil(int(length) / self.multiple))

    def _fitting(self, width: int, height: int) -> tuple[int, int]:
        """The smallest (width, height) around an image whose aspect ratio is allowed."""
        low, high = self.aspect or (0.0, math.inf)
        return max(width, int(low * height)), max(height, int(width / high))

    def check_size(self, height: int, width: int) -> None:
        """Refuse a size that the model cannot take without padding.

        Raises:
            ValueError: the size does not fit; the message says which sizes do.
        """
        if self.fixed_size is not None:
            fits = (height, width) == self.fixed_size
            wanted = f'exactly {self.fixed_size[1]}x{self.fixed_size[0]}'
        else:
            low_height, low_width = self.minimum
            fits = height % self.multiple == 0 and width % self.multiple == 0
            fits = fits and height >= low_height and width >= low_width
            wanted = f'multiples of {self.multiple}, at least {low_width}x{low_height}'
        if not fits:
            raise ValueError(
                f'images are {width}x{height}; {self.title} takes {wanted} (pad or resize them)'
            )

    def margins(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Rows above and below, columns left and right, that must be added to fit the model."""
        columns, rows = (
            whole - side + -whole % self.multiple
            for side, whole in zip((width, height), self._fitting(width, height), strict=True)
        )
        if self.placement == 'centre':
            return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2
        if self.placement == 'top_right':
            return rows, 0, 0, columns
        return 0, rows, 0, columns

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) of images with their margins."""
        above, below, left, right = self.margins(height, width)
        return above + height + below, left + width + right

    def border_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows above and below, columns left and right, of the border of height x width images."""
        rows, columns = (int(self.mirrored * math.sqrt(side / 2)) for side in (height, width))
        return rows, columns

    def bordered(self, image: np.ndarray) -> np.ndarray:
        """Surround an image (H, W, 3) with its border, in which it is mirrored."""
        rows, columns = self.border_size(*image.shape[:2])
        if not (rows or columns):
            return image
        return cv2.copyMakeBorder(image, rows, rows, columns, columns, cv2.BORDER_REFLECT_101)

    def pad(self, image: np.ndarray) -> np.ndarray:
        """Add the margins that an image (H, W, 3) needs."""
        margins = self.margins(*image.shape[:2])
        if not any(margins):
            return image
        if self.border == 'mean':
            return cv2.copyMakeBorder(image, *margins, cv2.BORDER_CONSTANT, value=_MEAN)
        return cv2.copyMakeBorder(image, *margins, cv2.BORDER_REPLICATE)

    def crop(self, values: np.ndarray, height: int, width: int) -> np.ndarray:
        """Remove the margins of images of height x width from a map (H, W)."""
        above, _, left, _ = self.margins(height, width)
        return values[above : above + height, left : left + width]


def _value(name: str, value: float) -> float:
    return number(name, value, -1e6, 1e6)


def _aspect(name: str, value: float) -> float:
    return number(name, value, 0.01, 100)


def _count(name: str, value: int) -> int:
    return integer(name, value, 1, 10**9)


def _side(name: str, value: int) -> int:
    return integer(name, value, 1, 10**6)
