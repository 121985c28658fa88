"""The classical reference: OpenCV's semi-global block matching.

Source: Hirschmueller, Stereo Processing by Semiglobal Matching and Mutual Information, TPAMI 2008;
OpenCV's StereoSGBM matches blocks by Birchfield-Tomasi cost instead of mutual information.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from nndepth_core.engines.base import check_inputs
from nndepth_core.engines.reference import Reference, textured_pair
from nndepth_core.files.values import choice, integer
from nndepth_core.spec import ModelSpec

MODES = {
    'sgbm': cv2.STEREO_SGBM_MODE_SGBM,
    'hh': cv2.STEREO_SGBM_MODE_HH,
    'sgbm_3way': cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    'hh4': cv2.STEREO_SGBM_MODE_HH4,
}

RANGES = {
    'min_disparity': {'low': -2048, 'high': 2048},
    'num_disparities': {'low': 16, 'high': 4096, 'step': 16},
    'block_size': {'low': 1, 'high': 51, 'step': 2},
    'pre_filter_cap': {'low': 1, 'high': 63},
    'uniqueness_ratio': {'low': 0, 'high': 100},
    'speckle_window_size': {'low': 0, 'high': 10000},
    'speckle_range': {'low': 0, 'high': 128},
    'disp12_max_diff': {'low': -1, 'high': 128},
}
"""The allowed values of the settings: from low to high, in steps that start at low."""


@dataclass(frozen=True)
class SgbmSettings:
    """Settings of StereoSGBM, with OpenCV's names in lower case.

    Attributes:
        min_disparity: the smallest disparity that is searched, in pixels.
        num_disparities: the number of disparities that are searched, a multiple of 16.
        block_size: the side of the matched block in pixels, an odd number.
        pre_filter_cap: the value at which pre-filtered pixels are clipped.
        uniqueness_ratio: the margin in percent by which the best match must win.
        speckle_window_size: regions with fewer pixels than this are removed; 0 keeps all.
        speckle_range: the largest disparity step inside one region, in pixels.
        disp12_max_diff: the largest left-right difference that is kept, in pixels; -1 switches
            the check off.
        mode: 'sgbm_3way' (fastest), 'sgbm' (5 directions), 'hh' (8), 'hh4' (4).
    """

    min_disparity: int = 0
    num_disparities: int = 128
    block_size: int = 5
    pre_filter_cap: int = 63
    uniqueness_ratio: int = 10
    speckle_window_size: int = 100
    speckle_range: int = 2
    disp12_max_diff: int = 1
    mode: str = 'sgbm_3way'

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            low, step = allowed['low'], allowed.get('step', 1)
            value = integer(name, getattr(self, name), low, allowed['high'])
            if (value - low) % step:
                fitting = 'an odd number' if step == 2 else f'a multiple of {step}'
                raise ValueError(f'{name} is {value}; give {fitting}')
        choice('mode', self.mode, MODES)


class SgbmEngine:
    """StereoSGBM as an engine; it matches grey values and pads both images on the left.

    Without the padding, OpenCV would leave a strip at the left side of the map empty.
    """

    name = 'opencv'
    device = 'cpu'
    iterations = 0

    def __init__(self, settings: SgbmSettings | None = None) -> None:
        self.settings = settings or SgbmSettings()
        low = self.settings.min_disparity
        self._searched = float(low), float(low + self.settings.num_disparities - 1)
        self.spec = ModelSpec(
            'sgbm',
            value_range=self._searched,
            minimum=(8, max(8, 1 - low)),  # with fewer columns OpenCV ends the process
            resolution=1 / 16,
            bytes_per_pixel=20,
        )
        self._matcher = _make_matcher(self.settings)
        self._running = threading.Lock()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Match left with right; see `Engine`."""
        check_inputs(self.spec, inputs)
        pairs = zip(inputs['left'], inputs['right'], strict=True)
        with self._running:  # the matcher has one buffer
            return {'disparity': np.stack([self._match(left, right) for left, right in pairs])}

    def self_test(self) -> None:
        """Match a textured pair whose disparity lies in the range that is searched."""
        low, high = self._searched
        shift = round(min(max(low + 7, 0), high))
        blind = max(shift, -round(low))  # columns at each side that have no partner
        pair = textured_pair(64, 160 + 2 * blind, abs(shift))
        left, right = pair if shift >= 0 else pair[::-1]
        disparity = self.run({'left': left, 'right': right})['disparity'][0]
        disparity = disparity[:, blind : blind + 160]
        truth = np.full(disparity.shape, shift, np.float32)
        Reference.of(truth, tolerance=1).check(self, disparity)

    def _match(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        pad = max(0, self.settings.min_disparity + self.settings.num_disparities)
        grey = [
            cv2.copyMakeBorder(
                cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 0, 0, pad, 0, cv2.BORDER_REPLICATE
            )
            for image in (left, right)
        ]
        sixteenths = self._matcher.compute(*grey)[:, pad:]
        disparity = sixteenths.astype(np.float32) / 16
        disparity[sixteenths < self.settings.min_disparity * 16] = np.nan
        return disparity


def _make_matcher(settings: SgbmSettings) -> cv2.StereoSGBM:
    area = settings.block_size**2
    return cv2.StereoSGBM.create(
        minDisparity=settings.min_disparity,
        numDisparities=settings.num_disparities,
        blockSize=settings.block_size,
        P1=8 * area,
        P2=32 * area,
        disp12MaxDiff=settings.disp12_max_diff,
        preFilterCap=settings.pre_filter_cap,
        uniquenessRatio=settings.uniqueness_ratio,
        speckleWindowSize=settings.speckle_window_size,
        speckleRange=settings.speckle_range,
        mode=MODES[settings.mode],
    )
