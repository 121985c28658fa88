"""Keeps rows of the right image where the left image has them.

Temperature and knocks move the cameras of a rig after its calibration, so that the right one sees
a point a part of a pixel higher or lower. Matching takes that for disparity wherever edges are
slanted. Once the disparity is roughly known, the images tell the offset of the rows: in a small
window, brightness constancy (Lucas and Kanade, IJCAI 1981) gives both the remaining disparity and
the offset; over the image, the offset of a slightly turned camera changes linearly.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

WIDEST = 1024
"""Larger images are measured at this width; the pixels below are those of this size."""
LEAST = 0.15
"""Offsets of no corner larger than this, in pixels, are left alone, for they could be noise."""
_AREA = 640 * 480
"""Smaller images, in pixels, have fewer windows and more noise."""
LARGEST = 8.0
"""Offsets of a corner beyond this are not believed; the pair is not rectified at all."""
_LEVELS = (0.5, 2), (1.0, 1)
"""The scales of the images, and the rounds at each."""
_WINDOW = 9
"""Side of the windows in which the offset is constant, in pixels."""
_STRIDE = 4
"""Pixels between the centres of windows."""
_SURROUNDINGS = 15
"""Side of the area whose mean and contrast brightness is relative to, in pixels."""
_LEAST_CONTRAST = 4.0
"""Keeps the noise of plain areas from being amplified; in the unit of 0..255."""
_NOISE = 0.002, 0.03
"""Information, that is, mean squared gradients, that noise alone has along rows and columns."""
_SPREAD = 0.25
"""Windows whose offset differs by this from that of all, in pixels, count half."""
_LARGEST_STEP = 2.0
"""Windows that tell a larger step, in pixels, show something else."""
_ENOUGH = 0.03, 0.33
"""The least share of windows that show texture, and of those the least share that agree."""
_PRIOR = 1e-3
"""The weight, as a share of all windows, of there being no offset."""


class RowOffset(NamedTuple):
    """How much lower a point is seen in the right image than in the left one, in pixels.

    Attributes:
        middle: in the middle of the image.
        across: how much it grows from there to the right border.
        down: how much it grows from the middle to the lower border.
    """

    middle: float = 0.0
    across: float = 0.0
    down: float = 0.0

    @property
    def largest(self) -> float:
        """The largest offset of a corner, without its sign."""
        return abs(self.middle) + abs(self.across) + abs(self.down)

    def plus(self, other: RowOffset, factor: float = 1.0) -> RowOffset:
        """The sum of this offset and a multiple of another one."""
        return RowOffset(*(a + factor * b for a, b in zip(self, other, strict=True)))

    def straightened(self, right: np.ndarray) -> np.ndarray:
        """Move the rows of a right image (H, W, 3) to where the left image has them."""
        height, width = right.shape[:2]
        across, down = 2 * self.across / max(1, width - 1), 2 * self.down / max(1, height - 1)
        rows = [across, 1 + down, self.middle - self.across - self.down]
        return cv2.warpAffine(
            right,
            np.array([[1, 0, 0], rows]),
            (width, height),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )


LEFT_ALONE = RowOffset()


class RowAligner:
    """Learns from results how far the rows of a rig are off, and moves them back.

    The first results count most. Later ones, of which one in ten is measured, follow slow changes.
    After a jump that two measurements agree on, as after a knock, and after three that tell
    nothing, it begins anew.

    Attributes:
        offset: what is known of the rig, in pixels of its images.
    """

    def __init__(self) -> None:
        self._begin((0, 0))

    def _begin(self, size: tuple[int, ...]) -> None:
        """Forget everything, for images (height, width) of a rig that is not known yet."""
        self.offset = LEFT_ALONE
        self._size = size
        self._results = self._measured = self._failed = 0
        self._moved = False
        self._jumped: RowOffset | None = None

    def straightened(self, right: np.ndarray) -> np.ndarray:
        """Move the rows of a right image by what is `applied`."""
        if right.shape[:2] != self._size:  # other cameras, or another mode of theirs
            self._begin(right.shape[:2])
        applied = self.applied
        return right if applied == LEFT_ALONE else applied.straightened(right)

    @property
    def applied(self) -> RowOffset:
        """The offset that is made good: what is known of the rig, nothing if it could be noise."""
        return self.offset if self._moved else LEFT_ALONE

    def learn(self, left: np.ndarray, right: np.ndarray, disparity: np.ndarray) -> bool:
        """Measure the rows of a pair, as it came, by its disparity, which may be smaller.

        Returns:
            Whether they are so far from where they were taken to be that the disparity should be
            estimated again.
        """
        self._results += 1
        if self._results > 5 and self._results % 10:
            return False
        found, before = measure_rows(left, right, disparity, self.offset), self.applied
        if found is None:
            self._fail()
            return False
        self._failed = 0
        if self._jumps(found):
            return False
        self._measured += 1
        share = max(1 / self._measured, 0.1)
        self.offset = self.offset.plus(found.plus(self.offset, -1), share)
        least = _least(*self._size)
        # what is moved once stays moved a little below that, lest results jump to and fro
        self._moved = self.offset.largest > (least / 2 if self._moved else least)
        return self._moved and self.applied.plus(before, -1).largest > least

    def _fail(self) -> None:
        """Forget what may be wrong by now: from there, what is right may be out of reach."""
        self._failed += 1
        if self._failed == 3 and self._moved:
            self._begin(self._size)

    def _jumps(self, found: RowOffset) -> bool:
        """Whether to wait for the next result, which tells if the rows have really jumped."""
        far = 3 * _least(*self._size)
        if not self._measured or found.plus(self.offset, -1).largest <= far:
            self._jumped = None
            return False
        if self._jumped is not None and found.plus(self._jumped, -1).largest <= far:
            self._begin(self._size)
            return False
        self._jumped, self._results = found, 0
        return True


def _least(height: int, width: int) -> float:
    """The offset of a corner, in pixels of images of a size, that could be noise."""
    return LEAST * max(1, width / WIDEST, (_AREA / max(1, height * width)) ** 0.5)


def measure_rows(
    left: np.ndarray, right: np.ndarray, disparity: np.ndarray, start: RowOffset = LEFT_ALONE
) -> RowOffset | None:
    """Measure how far the rows of a pair are off.

    Args:
        left: uint8 RGB (H, W, 3).
        right: uint8 RGB (H, W, 3).
        disparity: float32, in its own pixels, of this size or a smaller one, roughly right; NaN
            where unknown.
        start: an offset close to that of the pair.

    Returns:
        The offset in pixels of the images; None if too little texture tells it, if the windows
        disagree, or if it is too large to be believed. At 512x320, 0.02 px is a usual error, and
        offsets up to about 3 px are found.
    """
    height, width = left.shape[:2]
    offset = np.array(start)
    for scale, rounds in _LEVELS:
        scale = scale * min(1, WIDEST / width)
        size = round(width * scale), round(height * scale)
        if min(size) < 2 * _SURROUNDINGS:
            continue
        factor = height / size[1]
        pair = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (left, right)]
        shown = cv2.resize(disparity, size, interpolation=cv2.INTER_NEAREST)
        shown = shown * np.float32(size[0] / disparity.shape[1])
        scene = _Scene(_contrast(pair[0]), _contrast(pair[1]), shown)
        for _ in range(rounds):
            step = scene.step(offset / factor)
            if step is None:
                return None
            offset += step * factor
    found = RowOffset(*offset.tolist())
    return found if found.largest <= LARGEST * max(1, width / WIDEST) else None


class _Scene:
    """A pair at one size, by its contrast, float32 (H, W), and its disparity."""

    def __init__(self, left: np.ndarray, right: np.ndarray, disparity: np.ndarray) -> None:
        height, width = left.shape
        self.left, self.right = left, right
        columns, self.rows = np.meshgrid(
            np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        )
        self.match = columns - np.where(np.isfinite(disparity), disparity, np.float32(0))
        seen = np.isfinite(disparity) & (self.match >= 2) & (self.match < width - 2)
        self.seen = seen.astype(np.float32)
        across, down = self.match * (2 / (width - 1)) - 1, self.rows * (2 / (height - 1)) - 1
        self.basis = np.stack((np.ones_like(across), across, down))

    def step(self, offset: np.ndarray) -> np.ndarray | None:
        """How much (middle, across, down) are to change; None if nothing tells it surely."""
        lower = self.rows + np.tensordot(offset.astype(np.float32), self.basis, 1)
        right = cv2.remap(
            self.right, self.match, lower, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        difference, mean = right - self.left, (right + self.left) / 2
        across = cv2.Sobel(mean, -1, 1, 0, ksize=1, scale=0.5)
        down = cv2.Sobel(mean, -1, 0, 1, ksize=1, scale=0.5)
        xx, xy, yy, xe, ye = (
            self._windows(product)
            for product in (
                across * across,
                across * down,
                down * down,
                across * difference,
                down * difference,
            )
        )
        # least squares of both unknowns of a window, solved for the one along the columns
        information = np.maximum(yy - xy * xy / (xx + _NOISE[0]), 0)
        steps = (xy * xe / (xx + _NOISE[0]) - ye) / (information + 1e-4)
        textured = information / (information + _NOISE[1])
        return _fit(steps, textured, self.basis[:, ::_STRIDE, ::_STRIDE].reshape(3, -1))

    def _windows(self, values: np.ndarray) -> np.ndarray:
        """Means over windows that count only what both images see, as one row, float64."""
        means = cv2.blur(values * self.seen, (_WINDOW, _WINDOW))
        return means[::_STRIDE, ::_STRIDE].ravel().astype(np.float64)


def _fit(steps: np.ndarray, weights: np.ndarray, basis: np.ndarray) -> np.ndarray | None:
    """Fit (middle, across, down) to the steps of windows, those that disagree count little."""
    weights = weights * (np.abs(steps) < _LARGEST_STEP)
    prior = _PRIOR * len(steps) * np.eye(3)
    fitted = np.zeros(3)
    agreeing = weights
    for _ in range(8):
        agreeing = weights / (1 + ((steps - fitted @ basis) / _SPREAD) ** 2)
        fitted = np.linalg.solve((basis * agreeing) @ basis.T + prior, (basis * agreeing) @ steps)
    enough = weights.sum() >= _ENOUGH[0] * len(steps)
    agree = agreeing.sum() >= _ENOUGH[1] * weights.sum()
    return fitted if enough and agree else None


def _contrast(image: np.ndarray) -> np.ndarray:
    """Smooth brightness relative to its surroundings, float32 (H, W), which gains leave alone."""
    sharp = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gray = cv2.GaussianBlur(sharp, (5, 5), 0)
    mean, square = (cv2.blur(x, (_SURROUNDINGS, _SURROUNDINGS)) for x in (gray, gray * gray))
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    return (gray - mean) / (deviation + _LEAST_CONTRAST)
