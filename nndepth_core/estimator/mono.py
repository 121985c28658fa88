"""Depth of single images, in metres where the model or the camera tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nndepth_core.camera import PinholeCamera
from nndepth_core.engines import Engine
from nndepth_core.estimator.base import Estimator
from nndepth_core.estimator.images import check_image
from nndepth_core.estimator.results import DepthResult, StageClock
from nndepth_core.point_maps import metric_depth


class MonoEstimator(Estimator):
    """Estimates the depth of single images; see `Estimator` for its arguments.

    Raises:
        ValueError: a confidence threshold was given for a model without confidence.
    """

    task = 'mono'

    def __init__(self, engine: Engine, *settings: Any, **named_settings: Any) -> None:
        super().__init__(engine, *settings, **named_settings)
        if self.confidence_threshold > 0 and engine.spec.confidence is None:
            raise ValueError(
                f'confidence_threshold is {self.confidence_threshold} and {engine.spec.title} has '
                'no confidence; set confidence_threshold to 0'
            )

    def __call__(
        self, image: np.ndarray, camera: PinholeCamera | None = None, confidence: bool = False
    ) -> DepthResult:
        """Estimate the depth of an image, uint8 RGB (H, W, 3).

        Args:
            image: the image.
            camera: the camera, at the size of the image; only some networks need it. Those that
                give points up to a shift find a better one with its focal length.
            confidence: whether to return the confidence too, if the model has one.

        Raises:
            ValueError: the image has the wrong type or size, the model needs the camera, or the
                camera is for another size.
        """
        check_image('image', image)
        clock = StageClock()
        spec = self.engine.spec
        height, width = image.shape[:2]
        seen = self._seen_by(camera, width, height)
        numbers = {}
        if seen is not None and 'intrinsics' in spec.inputs:
            above, _, left, _ = spec.margins(seen.height, seen.width)
            numbers['intrinsics'] = np.array(
                [[seen.fx, 0, seen.cx + left], [0, seen.fy, seen.cy + above], [0, 0, 1]],
                np.float32,
            )
        maps, size = self._run({'image': image}, clock, numbers, confidence)
        if spec.output == 'depth':
            maps[spec.output] = self._metres(maps, seen.fx if seen else None)
        maps = self._resized(maps, width, height)
        clock.lap('postprocess')
        shown = maps.get('confidence') if confidence else None
        return DepthResult(maps[spec.output], shown, spec.output, size, clock.milliseconds)

    def _seen_by(
        self, camera: PinholeCamera | None, width: int, height: int
    ) -> PinholeCamera | None:
        """Return the camera at the size at which its images are processed.

        Raises:
            ValueError: the model needs it, or it is for another size.
        """
        if camera is None:
            if self.engine.spec.needs_camera:
                raise ValueError(
                    f'{self.engine.spec.title} needs the camera to tell metres; give its '
                    'camera_info or calibration'
                )
            return None
        if (camera.width, camera.height) != (width, height):
            raise ValueError(
                f'the camera is for images of {camera.width}x{camera.height} and the image is '
                f'{width}x{height}; give the camera at the size of the image'
            )
        return camera.resized(*self.processed_size(width, height))

    def _metres(self, maps: Mapping[str, np.ndarray], focal: float | None) -> np.ndarray:
        """Turn what the model gives into metres, +inf where they are beyond its range.

        Args:
            maps: what the model gave, (H, W) each.
            focal: the focal length in pixels of these maps; None if it is not known.
        """
        spec = self.engine.spec
        depth = maps['depth']
        if spec.affine_points:
            depth = metric_depth(maps['x'], maps['y'], depth, focal)
        beyond = depth >= spec.bounds[1] if spec.saturates else np.zeros(depth.shape, bool)
        if focal is not None and spec.canonical_focal is not None:
            depth = depth * np.float32(focal / spec.canonical_focal)
        if spec.max_depth is not None:
            beyond |= depth >= spec.max_depth
        return np.where(beyond, np.float32(np.inf), depth)
