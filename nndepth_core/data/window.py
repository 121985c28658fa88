"""Cutting a window of one size out of images of any size, in a single resampling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from nndepth_core.camera import PinholeCamera, StereoCamera


@dataclass(frozen=True)
class Window:
    """A crop of an image that is resized and perhaps flipped.

    Attributes:
        source: The height and width of the image.
        resized: The height and width after resizing.
        size: The height and width of the crop.
        y: The first row of the crop in the resized image; negative where the crop is larger.
        x: The first column of the crop in the resized image, likewise.
        mirrored: Whether left and right are exchanged.
        upside_down: Whether top and bottom are exchanged.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    size: tuple[int, int]
    y: int
    x: int
    mirrored: bool
    upside_down: bool

    @property
    def scale_x(self) -> float:
        """Pixels of the crop per pixel of the image, along a row."""
        return self.resized[1] / self.source[1]

    def cut(self, array: np.ndarray, shift: int = 0, nearest: bool = False) -> np.ndarray:
        """Resample an array.

        Args:
            array: An image (H, W, C) or a map (H, W) of the size of the source.
            shift: The number of rows by which the crop is moved down.
            nearest: Whether values are copied instead of interpolated.

        Returns:
            The crop. Beyond the image it repeats the border; float32 arrays are NaN there.
        """
        matrix = np.zeros((2, 3))
        for axis, (start, flip) in enumerate(
            ((self.x, self.mirrored), (self.y + shift, self.upside_down))
        ):
            source, resized = self.source[1 - axis], self.resized[1 - axis]
            step = source / resized
            first = (start + 0.5) * step - 0.5
            matrix[axis, axis] = -step if flip else step
            matrix[axis, 2] = source - 1 - first if flip else first
        copied = nearest or self.resized == self.source
        window = cv2.warpAffine(
            array,
            matrix,
            self.size[::-1],
            flags=cv2.WARP_INVERSE_MAP | (cv2.INTER_NEAREST if copied else cv2.INTER_LINEAR),
            borderMode=cv2.BORDER_REPLICATE,
        )
        if array.dtype == np.float32:
            window[self._beyond(0)] = np.nan
            window[:, self._beyond(1)] = np.nan
        return window

    def _beyond(self, axis: int) -> np.ndarray:
        """The rows (axis 0) or columns (axis 1) of the crop that lie beyond the image."""
        position = np.arange(self.size[axis]) + (self.y, self.x)[axis]
        return (position < 0) | (position >= self.resized[axis])

    def scatter(self, array: np.ndarray) -> np.ndarray:
        """Move every finite value of an array (H, W) to the nearest pixel; other pixels are NaN.

        Where several values meet in one pixel, the last one in the order of the rows stays.
        """
        known = np.isfinite(array)
        targets = []
        for axis, (start, flip) in enumerate(
            ((self.y, self.upside_down), (self.x, self.mirrored))
        ):
            source, resized = self.source[axis], self.resized[axis]
            position = np.arange(source)[::-1] if flip else np.arange(source)
            target = np.floor((position + 0.5) * (resized / source)).astype(np.intp) - start
            known &= np.expand_dims((target >= 0) & (target < self.size[axis]), 1 - axis)
            targets.append(target)
        rows, columns = np.nonzero(known)
        moved = np.full(self.size, np.nan, np.float32)
        moved[targets[0][rows], targets[1][columns]] = array[rows, columns]
        return moved

    def leaves(self, disparity: np.ndarray) -> np.ndarray:
        """The pixels of the crop that, with these disparities, the right crop does not show."""
        first = max(0, -self.x)
        last = min(self.size[1], self.resized[1] - self.x) - 1
        column = np.arange(self.size[1], dtype=np.float32) - disparity
        return (column < first - 0.5) | (column > last + 0.5)

    def pinhole(self, camera: PinholeCamera) -> PinholeCamera:
        """The camera of the crop."""
        cx = camera.width - 1 - camera.cx if self.mirrored else camera.cx
        cy = camera.height - 1 - camera.cy if self.upside_down else camera.cy
        resized = replace(camera, cx=cx, cy=cy).resized(self.resized[1], self.resized[0])
        return resized.cropped(self.x, self.y, self.size[1], self.size[0])

    def camera(self, camera: StereoCamera) -> StereoCamera:
        """The stereo camera of the crop, which must not be mirrored."""
        resized = camera.resized(self.resized[1], self.resized[0])
        cropped = resized.cropped(self.x, self.y, self.size[1], self.size[0])
        return replace(cropped, left=self.pinhole(camera.left))


def draw_window(
    image: np.ndarray,
    scales: np.ndarray,
    crop: tuple[int, int],
    rng: np.random.Generator,
    mirrored: float,
    upside_down: float,
) -> Window:
    """Draw where to crop an image resized by the factors (y, x), and whether to flip it."""
    height, width = np.maximum(1, np.rint(image.shape[:2] * scales)).astype(int).tolist()
    free = (height - crop[0], width - crop[1])
    y, x = (int(rng.integers(min(0, n), max(0, n), endpoint=True)) for n in free)
    flips = rng.random(2) < (mirrored, upside_down)
    return Window(
        (image.shape[0], image.shape[1]),
        (height, width),
        crop,
        y,
        x,
        bool(flips[0]),
        bool(flips[1]),
    )


def fill_crop(
    scales: np.ndarray, image: np.ndarray, crop: tuple[int, int], log2_range: tuple[float, float]
) -> np.ndarray:
    """Raise factors until the image fills the crop, as far as the range allows."""
    needed = np.max(np.divide(crop, image.shape[:2]))
    return np.maximum(scales, min(needed, 2 ** log2_range[1]))
