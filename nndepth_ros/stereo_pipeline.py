"""The way of a rectified pair from messages to messages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from nndepth_core.camera import StereoCamera
from nndepth_core.estimator import StereoEstimator, StereoResult
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_core.filters import View
from nndepth_core.plausibility import (
    BaselineLimits,
    Finding,
    Level,
    UsedBits,
    density,
    examine_estimate,
)
from nndepth_core.rectification.alignment import examine_pair
from nndepth_core.rectification.rectifier import Rectifier, clear_uncovered, rectified
from nndepth_core.rectification.rows import RowAligner
from nndepth_core.spec import ModelSpec
from nndepth_core.uncertainty import depth_sigma, is_calibrated
from nndepth_ros import conversions, doctor
from nndepth_ros.outputs import (
    CLOUDS,
    COLOR,
    CONFIDENCE,
    DEPTH_INFO,
    DISPARITY,
    OF_DEPTH,
    POINTS_FILTERED,
    SIGMA,
    STEREO_OUTPUTS,
    OutputSettings,
    depth_messages,
)
from nndepth_ros.pipeline import Moment, Pipeline
from nndepth_ros.synchronizer import SIDES

T = TypeVar('T')


@dataclass(frozen=True)
class StereoInput:
    """One rectified pair with what is known of its cameras.

    Attributes:
        left: uint8 RGB (H, W, 3).
        right: uint8 RGB (H, W, 3).
        left_info: the left CameraInfo, of the rectified image.
        camera: the stereo camera at the size of the images.
        header: the header of the left image; every output has it too.
        rectifiers: what rectified the images; none if they came so.
    """

    left: np.ndarray
    right: np.ndarray
    left_info: Any
    camera: StereoCamera
    header: Any
    rectifiers: tuple[Rectifier, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the images."""
        return self.left.shape[1], self.left.shape[0]

    @classmethod
    def from_messages(
        cls,
        left: Any,
        right: Any,
        left_info: Any,
        right_info: Any,
        *,
        max_pixels: int = MAX_PIXELS,
        used_bits: UsedBits | None = None,
        rectifiers: tuple[Rectifier, ...] = (),
    ) -> StereoInput:
        """Decode two images and their CameraInfo, and rectify the images if they are raw.

        Sizes are compared before anything is decoded.

        Args:
            left: the left Image or CompressedImage.
            right: the right Image or CompressedImage.
            left_info: the CameraInfo of the left image, rectified.
            right_info: the CameraInfo of the right image, rectified.
            max_pixels: larger images are refused.
            used_bits: the bits that the stream uses, by which 16-bit values are scaled; None
                means all 16.
            rectifiers: those of the left and the right image, none if these are rectified.

        Raises:
            ValueError: an image cannot be decoded, the sizes differ, or the calibration cannot be
                used; the message names the side.
        """
        images = {'left': left, 'right': right}
        sizes = _by_side(images, conversions.image_size)
        (width, height), other = sizes.values()
        if (width, height) != other:
            raise ValueError(
                f'left is {width}x{height} and right {other[0]}x{other[1]}; the images of a pair '
                'must have one size'
            )
        for side, rectifier in zip(SIDES, rectifiers, strict=False):  # there may be none
            rectifier.check(*other, side)
            width, height = rectifier.size
        camera = conversions.stereo_camera(left_info, right_info, width, height)
        decode = partial(conversions.to_rgb, max_pixels=max_pixels, used_bits=used_bits)
        bits = used_bits and used_bits.bits
        rgb = _by_side(images, decode)
        if used_bits is not None and used_bits.bits != bits:
            rgb = _by_side(images, decode)  # again, to scale both by the same number of bits
        left_rgb, right_rgb = rectified(rectifiers, tuple(rgb.values()))
        return cls(left_rgb, right_rgb, left_info, camera, left.header, rectifiers)


def _by_side(images: Mapping[str, Any], convert: Callable[[Any], T]) -> dict[str, T]:
    converted = {}
    for side, message in images.items():
        try:
            converted[side] = convert(message)
        except conversions.ConversionError as error:
            raise conversions.ConversionError(f'{side} image: {error}') from error
    return converted


def wants_sigma(wanted: Collection[str], settings: OutputSettings) -> bool:
    """Whether a wanted topic tells sigma."""
    if settings.cloud_sigma and not CLOUDS.isdisjoint(wanted):
        return True
    return SIGMA in wanted or (settings.cloud.voxel_sigmas > 0 and POINTS_FILTERED in wanted)


def sigma_source(spec: ModelSpec, settings: OutputSettings) -> str:
    """What tells sigma: 'disparity_sigma', the parameter; 'confidence', or '' for nothing."""
    if settings.disparity_sigma:
        return 'disparity_sigma'
    return CONFIDENCE if is_calibrated(spec) else ''


def row_fields(result: StereoResult) -> dict[str, Any]:
    """Fields of InferenceStats: how far rows of the right image were off."""
    return {'row_offset': result.row_offset.largest}


class StereoPipeline(Pipeline):
    """The steps of a rectified pair."""

    sides = SIDES
    outputs = STEREO_OUTPUTS

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.rows = RowAligner()
        self._camera: StereoCamera | None = None

    def decode(self, moment: Moment, max_pixels: int) -> StereoInput:
        """Decode both images and read the stereo camera; see `StereoInput.from_messages`."""
        rectifiers = self.cameras.rectifiers(moment.infos)
        return StereoInput.from_messages(
            *moment.images,
            *self.cameras.rectified_infos(moment.infos),
            max_pixels=max_pixels,
            used_bits=self.used_bits,
            rectifiers=rectifiers,
        )

    def infer(
        self, estimator: StereoEstimator, frame: StereoInput, confidence: bool
    ) -> StereoResult:
        """Estimate the disparity, where the raw image shows something."""
        if not estimator.align_rows or frame.camera != self._camera:
            self.rows, self._camera = RowAligner(), frame.camera
        result = estimator(frame.left, frame.right, confidence, self.rows)
        clear_uncovered(result.disparity, frame.rectifiers)
        return result

    def needs_confidence(
        self, wanted: Collection[str], spec: ModelSpec, settings: OutputSettings
    ) -> bool:
        """Whether confidence or sigma is wanted, if that follows from the confidence."""
        of_sigma = wants_sigma(wanted, settings) and sigma_source(spec, settings) == CONFIDENCE
        return of_sigma or super().needs_confidence(wanted, spec, settings)

    def filtered(
        self, frame: StereoInput, result: StereoResult, settings: OutputSettings
    ) -> StereoResult:
        """Let the filters clean the disparity."""
        height, width = result.disparity.shape
        camera = frame.camera.resized(width, height)
        view = View(frame.left, camera, conversions.stamp_ns(frame.header.stamp))
        return self.filters.disparity(result, settings.filters, view)

    def values(self, result: StereoResult) -> np.ndarray:
        """The disparity."""
        return result.disparity

    def messages(
        self,
        wanted: Collection[str],
        frame: StereoInput,
        result: StereoResult,
        spec: ModelSpec,
        settings: OutputSettings,
    ) -> dict[str, Any]:
        """Make the messages of the wanted topics; the spec is in pixels of the processing size."""
        height, width = result.disparity.shape
        types, header = self.types, frame.header
        camera = frame.camera.resized(width, height)
        low, high = (end * result.scale for end in spec.bounds)
        step = spec.resolution * result.scale
        messages: dict[str, Any] = {}
        if DISPARITY in wanted:
            messages[DISPARITY] = conversions.disparity_message(
                types, header, result.disparity, camera, (low, high), step
            )
        if COLOR in wanted:
            start, end = settings.color_range if any(settings.color_range) else (low, high)
            messages[COLOR] = conversions.color_message(
                types, header, result.disparity, start, end
            )
        if DEPTH_INFO in wanted:
            messages[DEPTH_INFO] = conversions.depth_camera_info(
                types, header, frame.left_info, frame.camera.left, width, height
            )
        if CONFIDENCE in wanted and result.confidence is not None:
            messages[CONFIDENCE] = conversions.image_message(
                types, header, result.confidence, '32FC1'
            )
        if (OF_DEPTH | {SIGMA}).intersection(wanted):
            depth = camera.disparity_to_depth(result.disparity, *settings.depth_limits)
            sigma = self._sigma(wanted, depth, camera, result, spec, settings)
            wanted, heights = self.heights(wanted, header, settings)
            messages |= depth_messages(
                types, wanted, header, depth, frame.left, camera.left, settings, sigma, heights
            )
            if SIGMA in wanted and sigma is not None:
                messages[SIGMA] = conversions.image_message(types, header, sigma, '32FC1')
        return messages

    def _sigma(
        self,
        wanted: Collection[str],
        depth: np.ndarray,
        camera: StereoCamera,
        result: StereoResult,
        spec: ModelSpec,
        settings: OutputSettings,
    ) -> np.ndarray | None:
        """The sigma of a depth, None if it is not wanted or, which is reported, not known."""
        asked, source = wants_sigma(wanted, settings), sigma_source(spec, settings)
        self._report('sigma', [_no_sigma(spec)] if asked and not source else [])
        if not asked or not source:
            return None
        return depth_sigma(depth, result, camera, settings.disparity_sigma)

    def density(self, frame: StereoInput, result: StereoResult, settings: OutputSettings) -> float:
        """The share of pixels with a finite depth inside the limits, 0..1."""
        height, width = result.disparity.shape
        camera = frame.camera.resized(width, height)
        return density(result.disparity, camera, settings.depth_limits)

    def examine_images(self, frame: StereoInput) -> list[Finding]:
        """Check that the images show something, that rows agree, and that left is left."""
        return examine_pair(frame.left, frame.right, frame.camera.cx_offset)

    def examine_result(
        self,
        frame: StereoInput,
        result: StereoResult,
        spec: ModelSpec,
        settings: OutputSettings,
    ) -> list[Finding]:
        """Check whether the disparities can be true."""
        return examine_estimate(
            frame.left,
            frame.right,
            result.disparity,
            frame.camera,
            spec.bounds[1] * result.scale,
            settings.depth_limits,
        )

    def examine_infos(self, *infos: Any, baseline: BaselineLimits | None = None) -> list[Finding]:
        """Check that both camera_info make a stereo camera."""
        left, right = infos
        return doctor.examine_calibration(left, right, baseline=baseline)


def _no_sigma(spec: ModelSpec) -> Finding:
    """Tell that nothing says how precise the disparities of a model are."""
    text = (
        f'{SIGMA} and the sigma of points and voxels are not known: {spec.title} has no '
        'confidence that is calibrated in pixels; set disparity_sigma to the standard deviation '
        'of its disparities in pixels, or model to one that has (nano_stereo)'
    )
    return Finding('no_sigma', Level.WARN, text)
