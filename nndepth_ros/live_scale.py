"""Brings the results of networks without metres to metres, with depths that come on other topics.

The topics are `scale/depth`, `scale/points` and `scale/disparity`; which of them are used depends
on the source. Depths may come later than their images and less often: see `ScaleTracker`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nndepth_core.camera import CalibrationError, PinholeCamera
from nndepth_core.estimator import DepthResult
from nndepth_core.files.values import choice, number
from nndepth_core.scale import (
    Scale,
    ScaledResult,
    ScaleError,
    ScaleTracker,
    TrackerSettings,
    fit_ground,
    fit_scale,
    project_points,
)
from nndepth_core.scale.ground import LARGEST_PITCH
from nndepth_core.scale.tracker import MAPS
from nndepth_core.spec import ModelSpec, Output
from nndepth_ros.conversions import stamp_ns
from nndepth_ros.encodings import ConversionError
from nndepth_ros.known_depths import depth_of_disparity, depth_of_image, points_of_cloud

if TYPE_CHECKING:
    from nndepth_ros.mono_pipeline import MonoInput

SCALE_DEPTH, SCALE_POINTS, SCALE_DISPARITY = 'scale/depth', 'scale/points', 'scale/disparity'
SCALE_INPUTS: Mapping[str, str] = {
    SCALE_DEPTH: 'image',
    SCALE_POINTS: 'point_cloud',
    SCALE_DISPARITY: 'disparity_image',
}
"""The topics of known depths, each with the name of its class in MessageTypes."""
NONE, SPARSE, STEREO, HEIGHT = 'none', 'sparse_depth', 'stereo', 'camera_height'
SOURCES: Mapping[str, tuple[str, ...]] = {
    NONE: (),
    SPARSE: (SCALE_DEPTH, SCALE_POINTS),
    STEREO: (SCALE_DEPTH, SCALE_DISPARITY),
    HEIGHT: (),
}
"""What may tell the scale, and the topics on which it comes; one of them is enough."""
HIGHEST = 1000.0
"""The largest height of a camera, metres."""
_ASPECT = 0.02
"""The share by which aspect ratios of a depth image and of the images may differ."""


@dataclass(frozen=True)
class ScaleSettings:
    """What tells the scale of a network without metres.

    Attributes:
        source: one of SOURCES.
        camera_height: metres above the ground, for the source of this name.
        camera_pitch: degrees by which the camera looks down, for the same source.
        following: how the scale is followed over time.
    """

    source: str = NONE
    camera_height: float = 0.0
    camera_pitch: float = 0.0
    following: TrackerSettings = field(default_factory=TrackerSettings)

    def __post_init__(self) -> None:
        choice('scale_source', self.source, SOURCES)
        number('camera_height', self.camera_height, 0, HIGHEST)
        number('camera_pitch', self.camera_pitch, -LARGEST_PITCH, LARGEST_PITCH)
        if self.source == HEIGHT and not self.camera_height:
            raise ValueError(
                'camera_height is 0; set it to the metres of the camera above the ground, or '
                'choose another scale_source'
            )

    def applies_to(self, spec: ModelSpec) -> bool:
        """Whether the results of a model are to be scaled."""
        return self.source != NONE and spec.output != 'depth'


class _Seen(NamedTuple):
    """The map of an image, without the image, since several wait for their depths.

    Attributes:
        values: float32 (H, W), what the network gave.
        output: what that holds.
        frame_id: the frame of the image.
        size: (width, height) of the image.
        camera: the camera at the size of the map, or why it is not known.
    """

    values: np.ndarray
    output: Output
    frame_id: str
    size: tuple[int, int]
    camera: PinholeCamera | CalibrationError

    @classmethod
    def of(cls, frame: MonoInput, result: DepthResult) -> _Seen:
        """Take what is needed of an image and its result."""
        height, width = result.depth.shape
        camera: PinholeCamera | CalibrationError
        try:
            camera = frame.camera.resized(width, height)
        except CalibrationError as error:
            camera = error
        return cls(result.depth, result.output, frame.header.frame_id, frame.size, camera)

    def known_camera(self) -> PinholeCamera:
        """Return the camera; CalibrationError if it is not known."""
        if isinstance(self.camera, CalibrationError):
            raise self.camera
        return self.camera


class _Known(NamedTuple):
    """A message with known depths; the topic is empty where the height of the camera is known."""

    topic: str
    message: Any


class LiveScale:
    """Follows the scale of one stream.

    Messages are offered by the executor's thread; all else happens in the worker's thread.

    Attributes:
        settings: what tells the scale.
        names: what those of SCALE_INPUTS that are used are called in messages to the user; their
            own names if it is empty.
    """

    def __init__(self) -> None:
        self.settings = ScaleSettings()
        self.names: Mapping[str, str] = {}
        self._spec: ModelSpec | None = None
        self._tracker = self._new_tracker()

    def configure(self, settings: ScaleSettings) -> None:
        """Take other settings; what was known is forgotten if they differ."""
        if settings != self.settings:
            self.settings = settings
            self._tracker = self._new_tracker()

    @property
    def topics(self) -> list[str]:
        """What the topics that tell the scale are called."""
        inputs = SOURCES[self.settings.source]
        return [self.names.get(name, name) for name in inputs if name in (self.names or inputs)]

    def offer(self, topic: str, message: Any) -> None:
        """Take a message of one of SCALE_INPUTS."""
        self._tracker.offer(stamp_ns(message.header.stamp), _Known(topic, message))

    def scaled(self, frame: MonoInput, result: DepthResult, spec: ModelSpec) -> ScaledResult:
        """Bring a result to metres.

        Raises:
            ScaleError: the scale is not known; the message says why.
        """
        tracker, stamp = self._tracker, stamp_ns(frame.header.stamp)
        if spec is not self._spec:
            self._spec = spec
            tracker.forget()
        if self.settings.source == HEIGHT:
            tracker.offer(stamp, _Known('', None))
        tracker.update(stamp, _Seen.of(frame, result))
        return ScaledResult.of(result, tracker.current(stamp))

    def _new_tracker(self) -> ScaleTracker[_Seen, _Known]:
        maps = 1 if self.settings.source == HEIGHT else MAPS
        return ScaleTracker(self.settings.following, self._measure, maps)

    def _measure(self, seen: _Seen, known: _Known) -> Scale:
        settings = self.settings
        try:
            if not known.topic:
                height, pitch = settings.camera_height, settings.camera_pitch
                return fit_ground(seen.values, seen.known_camera(), height, pitch, seen.output)
            _check_frame(seen, known)
            return fit_scale(seen.values, _depth(seen, known), seen.output)
        except ScaleError as refusal:
            raise ScaleError(refusal.code, self._said(known, refusal)) from refusal
        except CalibrationError as error:
            raise ScaleError('scale_camera', self._said(known, error)) from error
        except ConversionError as error:
            raise ScaleError('scale_message', self._said(known, error)) from error

    def _said(self, known: _Known, error: Exception) -> str:
        name = self.names.get(known.topic, known.topic)
        return f'{name}: {error}' if name else str(error)


def _check_frame(seen: _Seen, known: _Known) -> None:
    """Raise ScaleError unless known depths are in the frame of the images."""
    here, there = seen.frame_id, known.message.header.frame_id
    if here != there:
        raise ScaleError(
            'scale_frame',
            f'it is in frame {there!r} and the images in {here!r}; it must be in the frame of the '
            'images: register a depth image (depth_image_proc), transform a cloud by tf',
        )


def _depth(seen: _Seen, known: _Known) -> np.ndarray:
    """Return the known depths as a map (H, W) of the view of the camera, in metres.

    Raises:
        ScaleError: a map is of another aspect ratio than the images.
        ConversionError, CalibrationError: a message or the camera cannot be used.
    """
    if known.topic == SCALE_POINTS:
        return project_points(points_of_cloud(known.message), seen.known_camera())
    if known.topic == SCALE_DISPARITY:
        depth = depth_of_disparity(known.message)
    else:
        depth = depth_of_image(known.message)
    (height, width), (columns, rows) = depth.shape, seen.size
    if abs(width * rows - height * columns) > _ASPECT * height * columns:
        raise ScaleError(
            'scale_size',
            f'it is {width}x{height} and the images are {columns}x{rows}; both must show the same '
            'view (register the depth to the camera)',
        )
    return depth
