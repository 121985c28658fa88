"""`nndepth infer` for pairs: disparity, and depth where they are calibrated."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nndepth_core import io, plausibility, visualization
from nndepth_core.camera import StereoCamera, depth_limits
from nndepth_core.cli import options
from nndepth_core.cli.infer_files import OutputFiles, depth_picture
from nndepth_core.data.image_files import ImagePairs
from nndepth_core.data.sample import StereoSample
from nndepth_core.estimator import StereoEstimator, StereoResult, load_estimator
from nndepth_core.evaluation.metrics import stereo_metrics
from nndepth_core.files.values import number
from nndepth_core.filters import DepthFilters, View
from nndepth_core.plausibility import Finding
from nndepth_core.plausibility.projections import examine_projections
from nndepth_core.rectification.alignment import examine_pair
from nndepth_core.rectification.rectifier import clear_uncovered, rectified
from nndepth_core.uncertainty import LARGEST_SIGMA, depth_sigma, is_calibrated

CALIBRATED_FORMATS = ('depth', 'ply', 'cloud', 'sigma')


class StereoInference:
    """Estimates the disparity of each pair.

    Attributes:
        images: the pairs.
        formats: the formats of the files that are written.
        estimator: what runs the model; it is there after `load`.
    """

    noun = 'pair'
    note = ''
    columns: ClassVar[dict[str, str]] = {
        'epe': 'EPE', 'bad_1': 'bad-1', 'bad_2': 'bad-2', 'bad_3': 'bad-3', 'd1_all': 'D1-all',
    }  # fmt: skip
    estimator: StereoEstimator

    def __init__(self, args: argparse.Namespace) -> None:
        left, right = args.images
        self.images = ImagePairs(left, right, args.truth, args.truth_scale, args.max_pixels)
        self.source = options.calibration_of(args)
        self.formats = args.formats or ('pfm', 'color') + ('depth',) * bool(self.source)
        if self.source is None and (wanted := sorted({*self.formats} & {*CALIBRATED_FORMATS})):
            raise ValueError(f'{" and ".join(wanted)} cannot be written without --calibration')
        self.cloud = options.cloud_settings(args, self.formats)
        self.limits = options.baseline_limits(args)
        self.confidence = args.confidence
        self.depth_limits = depth_limits(args.min_depth, args.max_depth)
        self.filters = options.filter_settings(args, streams=False)
        self.sigma = number('--disparity-sigma', args.disparity_sigma, 0, LARGEST_SIGMA)

    def load(self, args: argparse.Namespace) -> None:
        """Make the estimator; a model of single images is refused."""
        estimator = options.load_estimator(args, load_estimator)
        if not isinstance(estimator, StereoEstimator):
            raise ValueError(
                f'{estimator.engine.spec.title} takes single images and a pair is given; give one '
                'IMAGE (a folder or a quoted glob stands for several), or choose a stereo model '
                'by --model'
            )
        spec = estimator.engine.spec
        if self.needs_sigma and not (self.sigma or is_calibrated(spec)):
            raise ValueError(
                f'sigma is not known, for {spec.title} has no confidence that is calibrated in '
                'pixels; give the standard deviation of its disparities by --disparity-sigma'
            )
        self.estimator = estimator

    @property
    def needs_sigma(self) -> bool:
        """Whether sigma is written, or decides what is."""
        return 'sigma' in self.formats or self.cloud.voxel_sigmas > 0

    def __call__(self, index: int) -> StereoPicture:
        """Read one pair and estimate its disparity."""
        sample = self.images[index]
        size = sample.left.shape[1], sample.left.shape[0]
        camera = self.source.camera(size) if self.source else None
        rectifiers = self.source.rectifiers(size) if self.source else ()
        left, right = rectified(rectifiers, (sample.left, sample.right))
        sample = replace(sample, left=left, right=right)
        confidence = self.confidence or (self.needs_sigma and not self.sigma)
        estimate = self.estimator(left, right, confidence)
        clear_uncovered(estimate.disparity, rectifiers)
        result = DepthFilters().disparity(estimate, self.filters, View(left, camera))
        depth = None
        if camera is not None:
            depth = camera.disparity_to_depth(result.disparity, *self.depth_limits)
        projections = self.source.projections(size) if self.source else None
        files = self.images.files[index]
        return StereoPicture(self, files, sample, estimate, result, camera, projections, depth)


@dataclass(frozen=True)
class StereoPicture:
    """What is known of one pair once it is through the estimator."""

    inference: StereoInference
    files: tuple[Path, ...]
    sample: StereoSample
    estimate: StereoResult
    result: StereoResult
    camera: StereoCamera | None
    projections: Sequence[Sequence[float]] | None
    depth: np.ndarray | None

    @property
    def truth(self) -> np.ndarray | None:
        """Return the true disparity if it was given."""
        return self.sample.disparity if len(self.files) > 2 else None

    def record(self) -> dict[str, Any]:
        """Figures for results.json."""
        disparity, limits = self.result.disparity, self.inference.depth_limits
        record: dict[str, Any] = {
            'name': self.sample.name,
            'left': str(self.files[0]),
            'right': str(self.files[1]),
            'width': disparity.shape[1],
            'height': disparity.shape[0],
            'milliseconds': self.result.milliseconds,
            'density': 100 * plausibility.density(disparity, self.camera, limits),
        }
        if self.truth is not None:
            record['metrics'] = stereo_metrics(disparity, self.truth)
        return record

    def examine(self) -> list[Finding]:
        """Examine whether images, calibration, truth and disparity can be true."""
        left, right, camera = self.sample.left, self.sample.right, self.camera
        disparity = self.estimate.disparity
        if camera is None or self.projections is None:
            found = plausibility.examine_levels(left, right)
        else:
            found = examine_pair(left, right, camera.cx_offset)
            limits = self.inference.limits
            found += plausibility.examine_baseline(camera.baseline, camera.left.fx, limits)
            size = camera.left.width, camera.left.height
            p_left, p_right = self.projections
            found += examine_projections(p_left, p_right, *size)
        if self.truth is not None and self.truth.shape == disparity.shape:
            found += plausibility.examine_truth(left, right, self.truth)
        largest = self.inference.estimator.engine.spec.bounds[1] * self.result.scale
        return found + plausibility.examine_estimate(
            left, right, disparity, camera, largest, self.inference.depth_limits
        )

    def write(self, folder: Path, formats: Collection[str]) -> list[str]:
        """Write what was asked for and the pictures side by side; return the files' names."""
        files = OutputFiles(folder, self.sample.name)
        pictures = self._pictures()
        for kind, suffix in (('pfm', 'pfm'), ('kitti', 'png'), ('npy', 'npy')):
            if kind in formats:
                io.write_disparity(files.path(f'disparity.{suffix}'), self.result.disparity)
        if 'color' in formats:
            io.write_image(files.path('disparity_color.png'), pictures[1][1])
        if self.camera is not None and self.depth is not None:
            of, sigma = self.inference, None
            if of.needs_sigma:
                sigma = depth_sigma(self.depth, self.result, self.camera, of.sigma)
            image, left = self.sample.left, self.camera.left
            files.write_depth(formats, self.depth, image, left, of.cloud, sigma)
            if 'sigma' in formats and sigma is not None:
                io.write_map(files.path('sigma.npy'), sigma)
        confidence = self.result.confidence if self.inference.confidence else None
        files.write_pictures(dict(pictures), confidence)
        return files.names

    def _pictures(self) -> list[tuple[str, np.ndarray]]:
        """Title and picture of the left image, disparity, depth and error, where there are any."""
        disparity, truth = self.result.disparity, self.truth
        low, high = visualization.value_range(disparity if truth is None else truth)
        pictures = [
            ('left image', self.sample.left),
            (
                f'disparity, {low:.1f} (blue) to {high:.1f} px (red)',
                visualization.colorize(disparity, low, high),
            ),
        ]
        if self.depth is not None:
            pictures.append(depth_picture(self.depth))
        if truth is not None:
            error = visualization.error_map(disparity, truth)
            pictures.append(('error, 0 (blue) to 4 px (red), no estimate white', error))
        return pictures
