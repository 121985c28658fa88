"""What the page does with images: from files to a map, pictures, a cloud and files; no Gradio."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nndepth_core import calibration, io, visualization
from nndepth_core.calibrated import NO_LIMITS, CalibratedImages, CalibratedPairs
from nndepth_core.calibration import Calibration
from nndepth_core.camera import PinholeCamera
from nndepth_core.cli import explain
from nndepth_core.clouds import CloudSettings, filtered_points
from nndepth_core.engines import AUTO
from nndepth_core.estimator import MonoEstimator, StereoEstimator, check_pair
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_core.plausibility import BaselineLimits, Finding, Level
from nndepth_core.plausibility.findings import RANGE_SETTINGS
from nndepth_core.rectification.alignment import examine_pair
from nndepth_core.spec import Output, title_of
from nndepth_core.weights.catalogue import catalogue
from nndepth_core.weights.store import list_stored

MOST_POINTS = 150_000
"""The most points of the cloud on the page; the file holds all."""
_FAR = 3  # times the median depth, beyond which the page's cloud ends, to show the rest larger

_CURES = {
    'set a larger processing_size': 'give larger images',
    'set a smaller processing_size.*': 'give smaller images',
    rf'lower processing_size, or .* \({RANGE_SETTINGS}\)': 'give smaller images',
    r' \(for raw images set rectify\)': '',
    'set rectify if the images are not rectified, or else the': 'give rectified images and the',
}
"""Cures that messages name, as patterns, and what a visitor of the page can do instead."""

AnyEstimator = StereoEstimator | MonoEstimator


@dataclass(frozen=True)
class Request:
    """What a visitor asks for.

    Attributes:
        left: the left image, or the only one.
        right: the right image, None for a model of single images.
        model: its name.
        focal: the focal length in pixels, None if it is not known.
        baseline: the distance between the cameras in metres, None if it is not known.
        calibration: files of a calibration in place of both numbers.
        confidence: whether to show it.
        max_pixels: larger images are refused before they are decoded.
    """

    left: Path | None
    right: Path | None = None
    model: str = AUTO
    focal: float | None = None
    baseline: float | None = None
    calibration: Sequence[Path] = ()
    confidence: bool = True
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class Answer:
    """What the page shows.

    Attributes:
        pictures: title -> uint8 RGB (H, W, 3) of disparity and depth, as far as they are known.
        confidence: uint8 (H, W), None if it was not asked for or the model has none.
        cloud: a PLY for the page, None where metres are not known.
        files: to download.
        notes: what the visitor should know, one sentence each.
    """

    pictures: dict[str, np.ndarray]
    confidence: np.ndarray | None
    cloud: Path | None
    files: list[Path]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Estimate:
    """Maps of one request: what the model gives, metres where they are known, and the camera."""

    image: np.ndarray
    values: np.ndarray
    output: Output
    depth: np.ndarray | None
    confidence: np.ndarray | None
    camera: PinholeCamera | None
    findings: list[Finding]


def model_choices() -> list[tuple[str, str]]:
    """Label and name of every model: first the default, then those at hand, then the others."""
    stored = [entry.description for entry in list_stored()]
    at_hand = {title_of(entry.model, variant) for entry in stored for variant in entry.variants}
    ready, missing = [], []
    for network in catalogue().values():
        takes = 'pairs' if network.task == 'stereo' else 'single images'
        for variant in network.variants or ('',):
            name = title_of(network.name, variant)
            if name in at_hand or not network.variants:
                ready.append((f'{name} ({takes})', name))
            else:
                missing.append((f'{name} ({takes}; weights not at hand)', name))
    return [('default (pairs)', AUTO), *ready, *missing]


def answer(request: Request, load: Callable[[str], AnyEstimator], folder: Path) -> Answer:
    """Estimate what was asked for and write the files into a folder.

    Args:
        request: what was asked for.
        load: gives the estimator of a model by its name.
        folder: an existing folder.

    Raises:
        ValueError: something is missing or wrong; the message says what to change on the page.
        EngineError: the model cannot be run.
    """
    if request.left is None:
        raise ValueError('the left image is missing; drop one there, also if it is the only one')
    estimator = load(request.model)
    try:
        if isinstance(estimator, StereoEstimator):
            estimate = _of_pair(request, estimator)
        else:
            estimate = _of_image(request, estimator)
    except (ValueError, OSError) as error:
        raise ValueError(_with_names(error, request)) from error
    notes = [finding.text for finding in estimate.findings]
    if request.confidence and estimate.confidence is None:
        notes.append(f'{estimator.engine.spec.title} has no confidence')
    if estimate.depth is None and estimate.output == 'disparity':
        notes.append('depth in metres and the cloud need the focal length and the baseline')
    elif estimate.depth is None:
        notes.append(f'{estimator.engine.spec.title} gives no metres, so there is no cloud')
    elif estimate.camera is None:
        notes.append('the cloud needs the focal length')
    return _written(estimate, folder, [_for_the_page(note) for note in notes])


def _of_pair(request: Request, estimator: StereoEstimator) -> _Estimate:
    title = estimator.engine.spec.title
    if request.left is None or request.right is None:
        raise ValueError(
            f'{title} takes pairs and the right image is missing; drop one there, or choose a '
            'model of single images'
        )
    left, right = io.read_pair(request.left, request.right, request.max_pixels)
    check_pair(left, right)
    size = left.shape[1], left.shape[0]
    source = _calibration(request, size)
    camera = source.camera(size) if source else None
    findings = _harmless(examine_pair(left, right, camera.cx_offset if camera else 0.0))
    known = CalibratedPairs(estimator, source)(left, right, request.confidence)
    findings += _harmless(known.examine_disparity(estimator.engine.spec.bounds[1], NO_LIMITS))
    if camera is not None and camera.baseline not in (limits := BaselineLimits()):
        text = (
            f'the baseline is {camera.baseline:g} m and those of most rigs are {limits.low:g} to '
            f'{limits.high:g} m; is it in metres?'
        )
        findings.append(Finding('baseline', Level.WARN, text))
    return _Estimate(
        left,
        known.result.disparity,
        'disparity',
        known.depth,
        known.result.confidence,
        camera.left if camera else None,
        findings,
    )


def _of_image(request: Request, estimator: MonoEstimator) -> _Estimate:
    spec = estimator.engine.spec
    if request.left is None or request.right is not None:
        raise ValueError(
            f'{spec.title} takes single images and two are given; remove the right one, or choose '
            'a model of pairs'
        )
    (image,) = io.read_images(request.left, max_pixels=request.max_pixels)
    size = image.shape[1], image.shape[0]
    source = _calibration(request, size, single=True)
    camera = source.left_camera(size) if source else None
    if camera is None and spec.needs_camera:
        raise ValueError(f'{spec.title} needs the camera to tell metres; give the focal length')
    known = CalibratedImages(estimator, source)(image, request.confidence)
    result, findings = known.result, _harmless(known.examine(NO_LIMITS))
    depth = result.depth if result.output == 'depth' else None
    return _Estimate(
        image, result.depth, result.output, depth, result.confidence, camera, findings
    )


def _calibration(
    request: Request, size: tuple[int, int], single: bool = False
) -> Calibration | None:
    """Read the calibration from files or numbers; None where nothing tells metres."""
    numbers = {'focal length': request.focal, 'baseline': request.baseline}
    given = {name: value for name, value in numbers.items() if value is not None}
    if given and request.calibration:
        raise ValueError(
            f'the {" and ".join(given)} and files of a calibration are given; leave one of both '
            'empty'
        )
    for name, value in given.items():
        if not 0 < value < math.inf:
            raise ValueError(f'the {name} is {value:g}; give a number larger than 0')
    if request.calibration:
        files = ','.join(map(str, sorted(request.calibration)))
        return calibration.parse_single(files) if single else calibration.parse(files)
    if request.focal is None and (single or request.baseline is None):
        return None
    if not single and len(given) < 2:
        missing = next(name for name in numbers if name not in given)
        raise ValueError(
            f'the {missing} is missing; give both numbers, or none for disparity only'
        )
    focal, (cx, cy) = request.focal or 0.0, ((length - 1) / 2 for length in size)
    baseline = 0.0 if single else request.baseline or 0.0
    return Calibration.of_one_focal_length('the page', (focal, focal, cx, cy), baseline, 0.0)


def _harmless(findings: list[Finding]) -> list[Finding]:
    """Return the findings; one of them that is an error is raised."""
    for finding in findings:
        if finding.level == Level.ERROR:
            raise ValueError(finding.text)
    return findings


def _written(estimate: _Estimate, folder: Path, notes: list[str]) -> Answer:
    """Write the files, and make the pictures."""
    pictures = dict([visualization.titled_map(estimate.values, estimate.output)])
    files = [folder / f'{estimate.output}.pfm']
    io.write_map(files[0], estimate.values)
    if estimate.output == 'disparity':
        try:
            io.write_disparity(folder / 'disparity.png', estimate.values)
            files.append(folder / 'disparity.png')
        except ValueError as error:
            notes.append(f'there is no disparity.png: {error}')
    cloud = None
    if estimate.depth is not None:
        if estimate.output != 'depth':
            pictures |= dict([visualization.titled_map(estimate.depth, 'depth')])
        files.append(folder / 'depth.png')
        io.write_depth(files[-1], estimate.depth)
        if estimate.camera is not None:
            files.append(folder / 'cloud.ply')
            io.write_ply(files[-1], estimate.camera.points(estimate.depth), estimate.image)
            cloud = folder / 'page.ply'
            _write_page_cloud(cloud, estimate.depth, estimate.image, estimate.camera)
    confidence = estimate.confidence
    if confidence is not None:
        confidence = np.rint(255 * confidence).astype(np.uint8)
    return Answer(pictures, confidence, cloud, files, notes)


def _write_page_cloud(
    path: Path, depth: np.ndarray, image: np.ndarray, camera: PinholeCamera
) -> None:
    """Write fewer points, with y up and z towards the viewer, as viewers of 3D models expect."""
    finite = depth[np.isfinite(depth)]
    far = _FAR * np.median(finite) if finite.size else 0.0
    near = np.where(depth <= far, depth, np.nan)
    stride = math.ceil(math.sqrt(np.isfinite(near).sum() / MOST_POINTS)) or 1
    points = filtered_points(near, image, camera, CloudSettings(stride, voxel_size=0.0))
    rgb = points[:, 3:].copy().view(np.uint8)[:, 2::-1]
    io.write_ply(path, points[:, :3] * np.array([1, -1, -1], np.float32), rgb)


def _with_names(error: Exception, request: Request) -> str:
    """Tell an error by the names that the visitor's files have, not by their places here."""
    text = _for_the_page(explain(error)).replace('max_pixels', '--max-pixels of the command')
    for path in (request.left, request.right, *request.calibration):
        text = text.replace(str(path), path.name) if path else text
    return text


def _for_the_page(text: str) -> str:
    """Name cures that the page has."""
    for cure, here in _CURES.items():
        text = re.sub(cure, here, text)
    return text
