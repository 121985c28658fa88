"""What is shown of one moment, whatever shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np

from nndepth_core.calibrated import ImageDepth, PairDepth
from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.clouds import CloudSettings, filtered_points
from nndepth_core.visualization import colorize, value_range

ALL_POINTS = CloudSettings(voxel_size=0)
"""Every pixel whose depth is known gives a point."""
_CLIPPED = 2.0
"""Per cent of the values that lie outside of the colours at each end."""
_FAR = 4.0
"""How many times as far as the median the last colour of a depth is at most."""
_FOLLOWED = 0.1
"""The share by which the colours of a stream follow the range of a new map."""
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class Frame:
    """What is shown of one moment.

    Attributes:
        image: the image, or the left one of a pair, rectified, uint8 RGB (H, W, 3).
        right: the right image of a pair.
        values: the map of the model where it is not in metres, float32 (H, W).
        output: what `values` hold: 'disparity' in pixels, or 'inverse_depth' or 'relative_depth'
            without a scale.
        depth: float32 (H, W) in metres, not finite where it is not known.
        confidence: float32 (H, W), 0..1.
        camera: the camera of `image` at its size, from which depth becomes points.
        right_camera: the camera of `right`.
        cloud: which points of the depth are shown.
        stamp: the time of the image in nanoseconds; None if it has none.
        milliseconds: the time of each stage.
        range: the ends of the colours of `values`.
        depth_range: the ends of the colours of the depth, metres.
    """

    image: np.ndarray
    right: np.ndarray | None = None
    values: np.ndarray | None = None
    output: str = 'depth'
    depth: np.ndarray | None = None
    confidence: np.ndarray | None = None
    camera: PinholeCamera | None = None
    right_camera: PinholeCamera | None = None
    cloud: CloudSettings = ALL_POINTS
    stamp: int | None = None
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    range: tuple[float, float] = (0.0, 1.0)
    depth_range: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of_pair(cls, known: PairDepth, cloud: CloudSettings, stamp: int | None) -> Frame:
        """Show a pair: its disparity, and the depth where it is calibrated."""
        return cls(
            known.left,
            known.right,
            known.result.disparity,
            'disparity',
            known.depth,
            known.result.confidence,
            known.camera.left if known.camera else None,
            right_of(known.camera) if known.camera else None,
            cloud,
            stamp,
            known.result.milliseconds,
        )

    @classmethod
    def of_image(cls, known: ImageDepth, cloud: CloudSettings, stamp: int | None) -> Frame:
        """Show a single image: its depth, or the map of a model without metres."""
        result = known.result
        metric = result.output == 'depth'
        return cls(
            known.image,
            None,
            None if metric else result.depth,
            result.output,
            result.depth if metric else None,
            result.confidence,
            known.camera,
            None,
            cloud,
            stamp,
            result.milliseconds,
        )

    @property
    def density(self) -> float:
        """The share of pixels that are known, 0..1."""
        values = self.values if self.depth is None else self.depth
        return 0.0 if values is None else float(np.isfinite(values).mean())

    @property
    def has_points(self) -> bool:
        """Whether depth and camera are known, so that there are points."""
        return self.depth is not None and self.camera is not None

    def colored(self) -> np.ndarray:
        """The picture of `values`, uint8 RGB (H, W, 3): near is red, unknown black."""
        assert self.values is not None
        low, high = self.range
        far, near = (high, low) if self.output == 'relative_depth' else (low, high)
        return colorize(self.values, far, near)

    @cached_property
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) in metres and their colours, uint8 RGB (N, 3), if there are any.

        They are in the frame from which the camera projects: x right, y down, z forward.
        """
        assert self.depth is not None
        assert self.camera is not None
        points = filtered_points(self.depth, self.image, self.camera, self.cloud)
        bgr = np.ascontiguousarray(points[:, 3]).view(np.uint8).reshape(-1, 4)
        return np.ascontiguousarray(points[:, :3]), np.ascontiguousarray(bgr[:, 2::-1])


class Coloring:
    """Gives frames the ranges of their colours.

    In a stream a range follows slowly, so that colours do not flicker; images without a time have
    nothing to do with each other, and each has its own.
    """

    def __init__(self) -> None:
        self._ranges: dict[str, tuple[float, float]] = {}

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame with the ranges of its colours."""
        streams = frame.stamp is not None
        return replace(
            frame,
            range=self._followed('range', frame.values, _range, streams),
            depth_range=self._followed('depth', frame.depth, _depth_range, streams),
        )

    def _followed(
        self,
        name: str,
        values: np.ndarray | None,
        measure: Callable[[np.ndarray], tuple[float, float]],
        streams: bool,
    ) -> tuple[float, float]:
        before = self._ranges.get(name, (0.0, 1.0))
        if values is None or not np.isfinite(values).any():
            return before
        low, high = measure(values)
        if streams and name in self._ranges:
            low = before[0] + _FOLLOWED * (low - before[0])
            high = before[1] + _FOLLOWED * (high - before[1])
        self._ranges[name] = low, high
        return low, high


def _range(values: np.ndarray) -> tuple[float, float]:
    return value_range(values, _CLIPPED)


def _depth_range(depth: np.ndarray) -> tuple[float, float]:
    """The range of a depth, without a background that would leave one colour to all the rest."""
    near, far = value_range(depth, _CLIPPED)
    return near, min(far, _FAR * float(np.median(depth[np.isfinite(depth)])))


def right_of(camera: StereoCamera) -> PinholeCamera:
    """The right camera of a pair, in the frame of the left one."""
    x, y, z = camera.left.position
    return replace(camera.left, cx=camera.cx_right, position=(x + camera.baseline, y, z))


def jpeg(rgb: np.ndarray) -> bytes:
    """Encode a picture, uint8 RGB (H, W, 3), as JPEG; a stream of raw ones would fill memory."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode('.jpg', bgr, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))[1].tobytes()


def gray(confidence: np.ndarray) -> np.ndarray:
    """Draw a confidence (H, W) of 0..1 as uint8 (H, W), white where it is 1."""
    return np.rint(255 * np.nan_to_num(confidence)).astype(np.uint8)
