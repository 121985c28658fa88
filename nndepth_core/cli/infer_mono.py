"""`nndepth infer` for single images: depth in metres, or depth without a scale."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nndepth_core import io, visualization
from nndepth_core.calibrated import NO_LIMITS, CalibratedImages, ImageDepth
from nndepth_core.camera import depth_limits
from nndepth_core.cli import model_options, options
from nndepth_core.cli.infer_files import OutputFiles
from nndepth_core.clouds import CloudSettings
from nndepth_core.data.image_files import SingleImages
from nndepth_core.data.sample import MonoSample
from nndepth_core.estimator import DepthResult, MonoEstimator, load_estimator
from nndepth_core.evaluation.mono_metrics import ALIGNMENTS, FITTED, align_depth, mono_metrics
from nndepth_core.filters import FilterSettings
from nndepth_core.plausibility import BaselineLimits, Finding
from nndepth_core.spec import ModelSpec

OF_METRES = ('depth', 'ply', 'cloud')
WORST = 25.0
"""The error in per cent of the truth that pictures show in red."""


def check_single(args: argparse.Namespace) -> None:
    """Refuse arguments that are for pairs."""
    if options.baseline_limits(args) != BaselineLimits():
        raise ValueError('--min-baseline and --max-baseline are for pairs; leave them out')


def check_map(
    spec: ModelSpec, confidence: bool, filters: FilterSettings, limits: tuple[float, float]
) -> None:
    """Refuse a confidence, filters or limits in metres that the maps of a model do not allow."""
    if confidence and spec.confidence is None:
        raise ValueError(f'{spec.title} has no confidence; leave --confidence out')
    if spec.output != 'depth' and (filters.any or limits != NO_LIMITS):
        raise ValueError(
            'filters and limits of depth need metres, and '
            f'{spec.title} gives {spec.output.replace("_", " ")} without a scale; leave '
            '--filter-..., --min-depth and --max-depth out'
        )


class MonoInference:
    """Estimates the depth of each image.

    Attributes:
        images: the images.
        formats: the formats of the files that are written; they are known after `load`.
        estimator: what runs the model; it is there after `load`.
        single: what estimates images by it; it is there after `load`.
    """

    noun = 'image'
    columns: ClassVar[dict[str, str]] = {'abs_rel': 'AbsRel', 'rmse': 'RMSE m', 'delta_1': 'δ1'}
    estimator: MonoEstimator
    single: CalibratedImages

    def __init__(self, args: argparse.Namespace) -> None:
        self.images = SingleImages(args.images[0], args.truth, args.truth_scale, args.max_pixels)
        self.source = options.calibration_of(args, single=True)
        check_single(args)
        self.formats = args.formats or ()
        self.confidence = args.confidence
        self.depth_limits = depth_limits(args.min_depth, args.max_depth)
        self.filters = options.filter_settings(args, streams=False)
        self.cloud = options.cloud_settings(args, self.formats)
        if 'sigma' in self.formats or args.disparity_sigma or self.cloud.voxel_sigmas:
            raise ValueError(
                'sigma is of disparities; leave it, --disparity-sigma and --cloud-voxel-sigmas '
                'out for single images'
            )

    def load(self, args: argparse.Namespace) -> None:
        """Make the estimator; a stereo model, and what the model cannot give, are refused."""
        estimator = model_options.load_estimator(args, load_estimator)
        spec = estimator.engine.spec
        if not isinstance(estimator, MonoEstimator):
            raise ValueError(
                f'{spec.title} takes pairs and one image is given; give LEFT and RIGHT, or choose '
                'a model of single images by --model'
            )
        metric = spec.output == 'depth'
        self.formats = self.formats or ('pfm', 'color') + ('depth',) * metric
        if 'kitti' in self.formats:
            raise ValueError('kitti is a format of disparities; leave it out for single images')
        if not metric and (wanted := sorted({*self.formats} & {*OF_METRES})):
            raise ValueError(
                f'{" and ".join(wanted)} cannot be written, for {spec.title} gives '
                f'{spec.output.replace("_", " ")} without a scale; choose of pfm, npy and color, '
                'or a model that gives metres'
            )
        check_map(spec, self.confidence, self.filters, self.depth_limits)
        if self.source is None and (wanted := sorted({*self.formats} & {'ply', 'cloud'})):
            raise ValueError(f'{" and ".join(wanted)} cannot be written without --calibration')
        self.estimator = estimator
        self.single = CalibratedImages(estimator, self.source, self.filters, self.depth_limits)

    @property
    def note(self) -> str:
        """What the user must know of the figures, '' for nothing."""
        output = self.estimator.engine.spec.output
        fitted = FITTED[ALIGNMENTS[output]]
        return (
            f'{fitted} of each {output.replace("_", " ")} are fitted to the truth before it is '
            'measured'
            if fitted
            else ''
        )

    def __call__(self, index: int) -> MonoPicture:
        """Read one image and estimate its depth."""
        sample = self.images[index]
        known = self.single(sample.image, self.confidence)
        sample = replace(sample, image=known.image)
        files = self.images.files[index]
        return MonoPicture(files, sample, known, self.depth_limits, self.cloud)


@dataclass(frozen=True)
class MonoPicture:
    """What is known of one image once it is through the estimator."""

    files: tuple[Path, ...]
    sample: MonoSample
    known: ImageDepth
    limits: tuple[float, float]
    cloud: CloudSettings

    @property
    def result(self) -> DepthResult:
        """What the filters left of the estimate."""
        return self.known.result

    def record(self) -> dict[str, Any]:
        """Figures for results.json."""
        depth, output = self.result.depth, self.result.output
        record: dict[str, Any] = {
            'name': self.sample.name,
            'image': str(self.files[0]),
            'width': depth.shape[1],
            'height': depth.shape[0],
            'output': output,
            'milliseconds': self.result.milliseconds,
            'density': 100 * float(np.isfinite(depth).mean()),
        }
        if len(self.files) > 1:
            alignment = ALIGNMENTS[output]
            record['metrics'] = mono_metrics(depth, self.sample.depth, output, alignment)
            record['alignment'] = alignment
        return record

    def examine(self) -> list[Finding]:
        """Examine whether image and depth can be true."""
        return self.known.examine(self.limits)

    def write(self, folder: Path, formats: Collection[str]) -> list[str]:
        """Write what was asked for and the pictures side by side; return the files' names."""
        files = OutputFiles(folder, self.sample.name)
        values, output = self.result.depth, self.result.output
        title, picture = visualization.titled_map(values, output)
        if 'pfm' in formats:
            io.write_map(files.path(f'{output}.pfm'), values)
        if 'npy' in formats and 'depth' not in formats:
            io.write_map(files.path(f'{output}.npy'), values)
        if 'color' in formats:
            io.write_image(files.path(f'{output}_color.png'), picture)
        files.write_depth(formats, values, self.sample.image, self.known.camera, self.cloud)
        pictures = {'image': self.sample.image, title: picture}
        if len(self.files) > 1:
            pictures |= self._error()
        files.write_pictures(pictures, self.result.confidence)
        return files.names

    def _error(self) -> dict[str, np.ndarray]:
        """Make the picture of the error, under a title that says what was fitted to the truth."""
        truth, output = self.sample.depth, self.result.output
        alignment = ALIGNMENTS[output]
        depth = align_depth(self.result.depth, truth, output, alignment)
        with np.errstate(divide='ignore', invalid='ignore'):
            picture = visualization.error_map(100 * depth / truth, 100 * truth / truth, WORST)
        fitted = f' after a fit of {FITTED[alignment]}' if FITTED[alignment] else ''
        return {f'error{fitted}, 0 (blue) to {WORST:g} % (red)': picture}
