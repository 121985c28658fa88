"""Random changes of training samples: colour, erased rectangles, scale, crop and flips.

All random numbers come from the generator that the caller gives, so the sample and the seed of
the generator decide the result. The defaults are those of RAFT-Stereo
(https://github.com/princeton-vl/RAFT-Stereo); `PRESETS` has those of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from nndepth_core.data.sample import MonoSample, StereoSample
from nndepth_core.data.window import Window, draw_window, fill_crop

_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True)
class ColorJitter:
    """Changes colours at random, in the same way in all images of one call.

    Brightness, contrast and saturation form one affine map of the colours. Nothing is clipped
    between them, so their order does not matter.

    Args:
        brightness: The largest difference of the factor of the brightness from 1.
        contrast: The largest difference of the factor of the contrast from 1.
        saturation: The range of the factor of the saturation; 0 is grey.
        hue: The largest turn of the hue, in parts of a full circle.
        gamma: The range of the exponent.
        gain: The range of the factor after the exponent.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: tuple[float, float] = (0.6, 1.4)
    hue: float = 0.159
    gamma: tuple[float, float] = (1.0, 1.0)
    gain: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        for name, most in (('brightness', 1.0), ('contrast', 1.0), ('hue', 0.5)):
            _check_within(name, getattr(self, name), most)
        for name in ('saturation', 'gamma', 'gain'):
            _check_range(name, getattr(self, name), 0.0)

    def __call__(self, images: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """Change uint8 (H, W, 3) RGB images in one and the same way."""
        brightness, contrast = (
            1 + most * rng.uniform(-1, 1) for most in (self.brightness, self.contrast)
        )
        saturation = rng.uniform(*self.saturation)
        turn = round(256 * rng.uniform(-self.hue, self.hue)) % 256
        gamma, gain = rng.uniform(*self.gamma), rng.uniform(*self.gain)
        mean = np.mean([cv2.mean(image)[:3] for image in images], axis=0) @ _GREY
        colors = saturation * np.eye(3) + (1 - saturation) * _GREY
        offset = np.full((3, 1), brightness * (1 - contrast) * mean)
        affine = np.hstack([brightness * contrast * colors, offset])
        levels = 255 * gain * (np.arange(256) / 255) ** gamma
        curve = levels.clip(0, 255).round().astype(np.uint8)
        changed = [_turn_hue(cv2.transform(image, affine), turn) for image in images]
        if (gamma, gain) == (1, 1):
            return changed
        return [cv2.LUT(image, curve) for image in changed]


@dataclass(frozen=True)
class StereoAugmentation:
    """Augmentation of rectified pairs, as RAFT-Stereo is trained.

    The steps come in this order: the views are swapped; rectangles of the right image are erased;
    both images are resized, turned upside down and cropped in one resampling; colours are changed.
    An image that is smaller than the crop is enlarged to fill it, but by 2**scale[1] at most. The
    rest is filled with the border of the image, and its disparity is unknown.

    Args:
        crop: The height and width of the result.
        scale: The range of log2 of the factor by which both sides are resized.
        scale_probability: The probability of resizing at all.
        stretch: The largest log2 of a further factor for each side alone.
        stretch_probability: The probability of a further factor for each side.
        sparse: Whether every known disparity moves to its nearest pixel, instead of interpolating
            between neighbours. This is for ground truth with holes, such as that of a lidar.
        color: The changes of colour; null leaves colours alone.
        asymmetric: The probability that each image gets its own change of colour.
        eraser: The probability that rectangles of the right image are erased.
        eraser_size: The range of the sides of such a rectangle, in pixels of the sample.
        y_jitter: The largest number of rows by which the right crop is higher or lower than the
            left one.
        swap: The probability of mirroring the pair, which swaps its views. The new left view has
            the disparities that the old one had of the same surfaces, and holes elsewhere.
        vertical_flip: The probability of turning both images upside down.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (-0.2, 0.4)
    scale_probability: float = 1.0
    stretch: float = 0.2
    stretch_probability: float = 0.8
    sparse: bool = False
    color: ColorJitter | None = field(default_factory=ColorJitter)
    asymmetric: float = 0.2
    eraser: float = 0.5
    eraser_size: tuple[int, int] = (50, 100)
    y_jitter: int = 2
    swap: float = 0.0
    vertical_flip: float = 0.0

    def __post_init__(self) -> None:
        _check_crop(self.crop)
        _check_range('scale', self.scale)
        _check_range('eraser_size', self.eraser_size, 1)
        for name in (
            'scale_probability', 'stretch_probability', 'asymmetric', 'eraser', 'swap',
            'vertical_flip',
        ):  # fmt: skip
            _check_within(name, getattr(self, name), 1.0)

    def __call__(self, sample: StereoSample, rng: np.random.Generator) -> StereoSample:
        """Change a sample at random; the result has the size of the crop.

        The mask of occluded pixels and the camera are changed with it, where the sample has them.
        """
        if rng.random() < self.swap:
            sample = swap_views(sample)
        right = self._erase(sample.right, rng)
        window = self._draw_window(sample.left, rng)
        shift = int(rng.integers(-self.y_jitter, self.y_jitter + 1))
        left, right = self._recolor(window.cut(sample.left), window.cut(right, shift), rng)
        disparity = (
            window.scatter(sample.disparity) if self.sparse else window.cut(sample.disparity)
        )
        disparity *= np.float32(window.scale_x)
        occluded = None
        if sample.occluded is not None:
            hidden = window.cut(sample.occluded.astype(np.uint8), nearest=True) > 0
            occluded = hidden | window.leaves(disparity)
        camera = sample.camera and window.camera(sample.camera)
        return replace(
            sample, left=left, right=right, disparity=disparity, occluded=occluded, camera=camera
        )

    def _erase(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Fill one or two rectangles with the mean colour."""
        if rng.random() >= self.eraser:
            return image
        erased, mean = image.copy(), np.rint(cv2.mean(image)[:3])
        for _ in range(rng.integers(1, 3)):
            y, x = rng.integers(image.shape[:2])
            height, width = rng.integers(*self.eraser_size, size=2, endpoint=True)
            erased[y : y + height, x : x + width] = mean
        return erased

    def _draw_window(self, image: np.ndarray, rng: np.random.Generator) -> Window:
        scales = np.ones(2)
        if rng.random() < self.scale_probability:
            scales = scales * 2 ** rng.uniform(*self.scale)
            if rng.random() < self.stretch_probability:
                scales = scales * 2 ** rng.uniform(-self.stretch, self.stretch, size=2)
            scales = fill_crop(scales, image, self.crop, self.scale)
        return draw_window(image, scales, self.crop, rng, 0.0, self.vertical_flip)

    def _recolor(
        self, left: np.ndarray, right: np.ndarray, rng: np.random.Generator
    ) -> list[np.ndarray]:
        if self.color is None:
            return [left, right]
        if rng.random() < self.asymmetric:
            return [*self.color([left], rng), *self.color([right], rng)]
        return self.color([left, right], rng)


@dataclass(frozen=True)
class MonoAugmentation:
    """Augmentation of images with depth.

    The depth keeps its values when the image is resized; each pixel takes that of the nearest one.
    An image that is smaller than the crop is treated as in StereoAugmentation.

    Args:
        crop: The height and width of the result.
        scale: The range of log2 of the factor by which both sides are resized.
        flip: The probability of mirroring.
        color: The changes of colour; null leaves colours alone.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.0, 0.5)
    flip: float = 0.5
    color: ColorJitter | None = field(default_factory=ColorJitter)

    def __post_init__(self) -> None:
        _check_crop(self.crop)
        _check_range('scale', self.scale)
        _check_within('flip', self.flip, 1.0)

    def __call__(self, sample: MonoSample, rng: np.random.Generator) -> MonoSample:
        """Change a sample at random; the result has the size of the crop."""
        scales = np.full(2, 2 ** rng.uniform(*self.scale))
        scales = fill_crop(scales, sample.image, self.crop, self.scale)
        window = draw_window(sample.image, scales, self.crop, rng, self.flip, 0.0)
        image = window.cut(sample.image)
        if self.color is not None:
            [image] = self.color([image], rng)
        return replace(
            sample,
            image=image,
            depth=window.cut(sample.depth, nearest=True),
            camera=sample.camera and window.pinhole(sample.camera),
        )


def swap_views(sample: StereoSample) -> StereoSample:
    """Mirror a pair; its mirrored right view becomes the left one.

    Every known disparity moves to the pixel of the right view that shows its surface. Surfaces
    that only the right view shows are NaN. The mask of occluded pixels is dropped, since every
    disparity that remains belongs to a surface that both views show.
    """
    height, width = sample.disparity.shape
    known = np.isfinite(sample.disparity)
    if sample.occluded is not None:
        known &= ~sample.occluded
    columns = np.floor(np.arange(0.5, width, dtype=np.float32) - sample.disparity)
    known &= (columns >= 0) & (columns < width)
    columns = np.where(known, columns, width).astype(np.intp)
    disparity = np.full((height, width + 1), np.nan, np.float32)
    # Of the surfaces along one ray of the right view, the nearest stands rightmost in the left
    # view, so it comes last and stays.
    np.put_along_axis(disparity, columns, sample.disparity, axis=1)
    disparity = disparity[:, :width]
    _close_gaps(disparity)
    camera = sample.camera
    if camera is not None:
        left = replace(camera.left, cx=width - 1 - camera.cx_right)
        camera = replace(camera, left=left, cx_right=width - 1 - camera.left.cx)
    return replace(
        sample,
        left=cv2.flip(sample.right, 1),
        right=cv2.flip(sample.left, 1),
        disparity=cv2.flip(disparity, 1),
        occluded=None,
        camera=camera,
    )


def _close_gaps(disparity: np.ndarray) -> None:
    """Close the gaps of one pixel that rounding leaves in surfaces, where others show through."""
    before, middle, after = disparity[:, :-2], disparity[:, 1:-1], disparity[:, 2:]
    gap = np.isnan(middle) | (middle < np.minimum(before, after) - 1)
    left, right = before[gap], after[gap]
    middle[gap] = np.where(np.abs(left - right) <= 1, (left + right) / 2, np.nan)


def _turn_hue(image: np.ndarray, turn: int) -> np.ndarray:
    """Turn the hue by so many 256ths of a circle."""
    if turn == 0:
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(turn)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def _check_crop(crop: tuple[int, int]) -> None:
    if min(crop) < 1:
        raise ValueError(f'crop is {crop[0]}, {crop[1]}; give height and width, at least 1 each')


def _check_within(name: str, value: float, most: float) -> None:
    if not 0 <= value <= most:
        raise ValueError(f'{name} is {value}; give 0 to {most:g}')


def _check_range(name: str, values: Sequence[float], least: float = -np.inf) -> None:
    low, high = values
    if not least <= low <= high:
        at_least = '' if least == -np.inf else f', at least {least:g}'
        raise ValueError(f'{name} is {low}, {high}; give the lower value first{at_least}')


_RAFT_STEREO = StereoAugmentation((320, 720), color=ColorJitter(saturation=(0.0, 1.4)))
_RAFT_STEREO_SPARSE = StereoAugmentation(
    (320, 720),
    scale_probability=0.8,
    stretch=0.0,
    sparse=True,
    color=ColorJitter(brightness=0.3, contrast=0.3, saturation=(0.0, 1.4), hue=0.0955),
    asymmetric=0.0,
    y_jitter=0,
)

PRESETS = {
    'raft-stereo': _RAFT_STEREO,
    'raft-stereo-middlebury': replace(_RAFT_STEREO, crop=(384, 1000)),
    'raft-stereo-sparse': _RAFT_STEREO_SPARSE,
    'igev-stereo': replace(_RAFT_STEREO, crop=(320, 736)),
    'igev-stereo-sparse': replace(_RAFT_STEREO_SPARSE, crop=(320, 736)),
    'light-stereo': StereoAugmentation(
        (320, 736), scale_probability=0.0, color=None, eraser=0.0, y_jitter=0
    ),
}
"""Published settings: RAFT-Stereo on SceneFlow, fine-tuned on Middlebury 2014, and on KITTI's
sparse truth; IGEV-Stereo likewise; LightStereo on SceneFlow, which only crops (OpenStereo's
cfgs/lightstereo)."""
