"""`nndepth infer` for pairs: disparity, and depth where they are calibrated."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nndepth_core import io, plausibility, visualization
from nndepth_core.calibrated import CalibratedPairs, PairDepth
from nndepth_core.camera import depth_limits
from nndepth_core.cli import model_options, options
from nndepth_core.cli.infer_files import OutputFiles
from nndepth_core.data.image_files import ImagePairs
from nndepth_core.data.sample import StereoSample
from nndepth_core.estimator import StereoEstimator, load_estimator
from nndepth_core.evaluation.metrics import stereo_metrics
from nndepth_core.files.values import number
from nndepth_core.plausibility import Finding
from nndepth_core.uncertainty import LARGEST_SIGMA, depth_sigma, is_calibrated

CALIBRATED_FORMATS = ('depth', 'ply', 'cloud', 'sigma')


class StereoInference:
    """Estimates the disparity of each pair.

    Attributes:
        images: the pairs.
        formats: the formats of the files that are written.
        estimator: what runs the model; it is there after `load`.
        pairs: what estimates pairs by it; it is there after `load`.
    """

    noun = 'pair'
    note = ''
    columns: ClassVar[dict[str, str]] = {
        'epe': 'EPE', 'bad_1': 'bad-1', 'bad_2': 'bad-2', 'bad_3': 'bad-3', 'd1_all': 'D1-all',
    }  # fmt: skip
    estimator: StereoEstimator
    pairs: CalibratedPairs

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
        estimator = model_options.load_estimator(args, load_estimator)
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
        self.pairs = CalibratedPairs(estimator, self.source, self.filters, self.depth_limits)

    @property
    def needs_sigma(self) -> bool:
        """Whether sigma is written, or decides what is."""
        return 'sigma' in self.formats or self.cloud.voxel_sigmas > 0

    def __call__(self, index: int) -> StereoPicture:
        """Read one pair and estimate its disparity."""
        sample = self.images[index]
        confidence = self.confidence or (self.needs_sigma and not self.sigma)
        known = self.pairs(sample.left, sample.right, confidence)
        sample = replace(sample, left=known.left, right=known.right)
        return StereoPicture(self, self.images.files[index], sample, known)


@dataclass(frozen=True)
class StereoPicture:
    """What is known of one pair once it is through the estimator."""

    inference: StereoInference
    files: tuple[Path, ...]
    sample: StereoSample
    known: PairDepth

    @property
    def truth(self) -> np.ndarray | None:
        """Return the true disparity if it was given."""
        return self.sample.disparity if len(self.files) > 2 else None

    def record(self) -> dict[str, Any]:
        """Figures for results.json."""
        result, limits = self.known.result, self.inference.depth_limits
        disparity = result.disparity
        record: dict[str, Any] = {
            'name': self.sample.name,
            'left': str(self.files[0]),
            'right': str(self.files[1]),
            'width': disparity.shape[1],
            'height': disparity.shape[0],
            'milliseconds': result.milliseconds,
            'row_offset': result.row_offset._asdict(),
            'density': 100 * plausibility.density(disparity, self.known.camera, limits),
        }
        if self.truth is not None:
            record['metrics'] = stereo_metrics(disparity, self.truth)
        return record

    def examine(self) -> list[Finding]:
        """Examine whether images, calibration, truth and disparity can be true."""
        known, inference = self.known, self.inference
        found = known.examine_images(inference.limits)
        truth = self.truth
        if truth is not None and truth.shape == known.estimate.disparity.shape:
            found += plausibility.examine_truth(known.left, known.right, truth)
        largest = inference.estimator.engine.spec.bounds[1]
        return found + known.examine_disparity(largest, inference.depth_limits)

    def write(self, folder: Path, formats: Collection[str]) -> list[str]:
        """Write what was asked for and the pictures side by side; return the files' names."""
        files, known = OutputFiles(folder, self.sample.name), self.known
        pictures = self._pictures()
        for kind, suffix in (('pfm', 'pfm'), ('kitti', 'png'), ('npy', 'npy')):
            if kind in formats:
                io.write_disparity(files.path(f'disparity.{suffix}'), known.result.disparity)
        if 'color' in formats:
            io.write_image(files.path('disparity_color.png'), pictures[1][1])
        if known.camera is not None and known.depth is not None:
            of, sigma = self.inference, None
            if of.needs_sigma:
                sigma = depth_sigma(known.depth, known.result, known.camera, of.sigma)
            left = known.camera.left
            files.write_depth(formats, known.depth, known.left, left, of.cloud, sigma)
            if 'sigma' in formats and sigma is not None:
                io.write_map(files.path('sigma.npy'), sigma)
        confidence = known.result.confidence if self.inference.confidence else None
        files.write_pictures(dict(pictures), confidence)
        return files.names

    def _pictures(self) -> list[tuple[str, np.ndarray]]:
        """Title and picture of the left image, disparity, depth and error, where there are any."""
        disparity, truth = self.known.result.disparity, self.truth
        pictures = [
            ('left image', self.known.left),
            visualization.titled_map(disparity, 'disparity', like=truth),
        ]
        if self.known.depth is not None:
            pictures.append(visualization.titled_map(self.known.depth, 'depth'))
        if truth is not None:
            error = visualization.error_map(disparity, truth)
            pictures.append(('error, 0 (blue) to 4 px (red), no estimate white', error))
        return pictures
