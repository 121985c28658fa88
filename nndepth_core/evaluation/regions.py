"""The parts of an image in which stereo is hard or easy.

Source of the definitions and their figures: Scharstein and Szeliski, A Taxonomy and Evaluation of
Dense Two-Frame Stereo Correspondence Algorithms, IJCV 2002, section 5.1.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

ALL, VISIBLE, EDGES, TEXTURELESS = REGIONS = ('all', 'noc', 'edges', 'textureless')

_REACHES = (0, 2, 4, 8)  # pixels from an edge
EDGE_BANDS = tuple(f'{along}_{reach}' for along in ('rows', 'columns') for reach in _REACHES)
"""See `edge_bands`."""

_EDGE_STEP = 2.0  # pixels of disparity between neighbours
_EDGE_WINDOW = 9  # pixels
_GRADIENT = 4.0  # grey values, of 255
_TEXTURE_WINDOW = 3  # pixels


def stereo_regions(
    left: np.ndarray, truth: np.ndarray, occluded: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Find the regions of a left image; they hold only pixels whose truth is known.

    Args:
        left: uint8 RGB (H, W, 3).
        truth: true disparity (H, W), pixels, NaN where unknown.
        occluded: bool (H, W), pixels that the right image does not show; None: not known.

    Returns:
        Name -> bool (H, W):
        all: every such pixel;
        noc: those that both images show; missing where that is not known;
        edges: those near a step of the true disparity;
        textureless: those in parts that vary little along the rows.
    """
    known = np.isfinite(truth)
    regions = {ALL: known}
    if occluded is not None:
        regions[VISIBLE] = known & ~occluded
    regions[EDGES] = known & near_edges(truth)
    regions[TEXTURELESS] = known & textureless(left)
    return regions


def near_edges(
    disparity: np.ndarray, step: float = _EDGE_STEP, window: int = _EDGE_WINDOW
) -> np.ndarray:
    """Find where a square window of `window` pixels holds a discontinuity.

    A pixel is one if it differs from one of its four neighbours by more than `step`. Truth from
    laser scanners is sparse: a neighbour is the next known pixel in the row or column, if it is
    no farther than `window`, and each unknown pixel in between allows for one pixel more, the
    steepest slope that both eyes of a person see as one surface (Burt and Julesz, Science 1980).

    Args:
        disparity: float (H, W), pixels, NaN where unknown.
        step: pixels of disparity.
        window: odd, pixels.

    Returns:
        bool (H, W).
    """
    edges = _steps(disparity, step, window) | _steps(disparity.T, step, window).T
    return cv2.dilate(edges.astype(np.uint8), np.ones((window, window), np.uint8)).astype(bool)


def edge_bands(disparity: np.ndarray) -> dict[str, np.ndarray]:
    """Find bands along discontinuities, separately for those along the rows and the columns.

    Along a row matching cannot say where an edge lies that runs along it, so that networks may do
    worse there. A pixel belongs to the direction whose edges are nearer, and to none if both are
    equally near; edges are those of `near_edges`.

    Args:
        disparity: true one (H, W), pixels, NaN where unknown.

    Returns:
        Name -> bool (H, W) of known pixels. rows_0: at an edge that runs along the rows; rows_2,
        rows_4, rows_8: farther than the band before, up to so many pixels; columns_0 .. columns_8
        the same of edges that run along the columns.
    """
    steps = {
        'rows': _steps(disparity.T, _EDGE_STEP, _EDGE_WINDOW).T,
        'columns': _steps(disparity, _EDGE_STEP, _EDGE_WINDOW),
    }
    distances = {
        along: cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        if edges.any()
        else np.full(disparity.shape, np.inf, np.float32)
        for along, edges in steps.items()
    }
    known = np.isfinite(disparity)
    bands = {}
    for along, other in (('rows', 'columns'), ('columns', 'rows')):
        nearer, distance = known & (distances[along] < distances[other]), distances[along]
        for low, high in pairwise((-1, *_REACHES)):
            bands[f'{along}_{high}'] = nearer & (distance > low) & (distance <= high)
    return bands


def _steps(disparity: np.ndarray, step: float, farthest: int) -> np.ndarray:
    """Find the pixels at either side of a discontinuity in their row."""
    edges = np.zeros(disparity.shape, bool)
    rows, columns = np.nonzero(np.isfinite(disparity))
    values = disparity[rows, columns]
    distance = np.diff(columns)
    found = (np.diff(rows) == 0) & (distance <= farthest)
    found &= np.abs(np.diff(values)) > step + distance - 1
    for end in (slice(None, -1), slice(1, None)):
        edges[rows[end][found], columns[end][found]] = True
    return edges


def textureless(
    image: np.ndarray, threshold: float = _GRADIENT, window: int = _TEXTURE_WINDOW
) -> np.ndarray:
    """Find where the squared horizontal gradient, averaged over a square window, is small.

    The squared gradient of a pixel is the mean of the squared differences to its two neighbours
    in the row, so that a pattern of single columns counts as texture.

    Args:
        image: uint8 RGB (H, W, 3).
        threshold: root of the average below which a pixel has no texture, grey values of 255.
        window: odd, pixels.

    Returns:
        bool (H, W).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    squares = np.square(np.diff(grey, axis=1))
    squares = np.pad(squares, ((0, 0), (1, 1)), 'edge' if squares.size else 'constant')
    average = cv2.blur((squares[:, 1:] + squares[:, :-1]) / 2, (window, window))
    return average < threshold**2
