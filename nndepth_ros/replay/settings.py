"""What a replay reads of a bag, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from nndepth_core.calibration import AnyCalibration
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_core.plausibility import BaselineLimits
from nndepth_ros.bag_topics import Topics
from nndepth_ros.live_scale import ScaleSettings
from nndepth_ros.outputs import OutputSettings


@dataclass(frozen=True)
class ReplaySettings:
    """What to read and what to write.

    Attributes:
        topics: the input topics, of the task of the model; those that are empty, or all if it is
            None, are to be found.
        outputs: names from STEREO_OUTPUTS or MONO_OUTPUTS; none stands for all that the model
            gives.
        messages: how estimates become messages.
        sync_tolerance: the largest difference between the stamps of a pair, in seconds.
        start: how much of the beginning of the bag to leave out, in seconds.
        duration: how much to process after that, in seconds.
        copy_inputs: whether to write the input messages too.
        max_pixels: images with a larger width times height are refused.
        baseline: the baselines of a pair that are plausible, which are not reported.
        calibration: a calibration to use instead of the bag's camera_info.
        rectify: whether images are raw and are to be rectified.
        scale: what tells the metres of a network of single images that gives none.
        wording: turns parameters that messages name into what the user has for them.
    """

    topics: Topics | None = None
    outputs: tuple[str, ...] = ()
    messages: OutputSettings = field(default_factory=OutputSettings)
    sync_tolerance: float = 0.0
    start: float = 0.0
    duration: float = math.inf
    copy_inputs: bool = False
    max_pixels: int = MAX_PIXELS
    baseline: BaselineLimits = field(default_factory=BaselineLimits)
    calibration: AnyCalibration | None = None
    rectify: bool = False
    scale: ScaleSettings = field(default_factory=ScaleSettings)
    wording: Callable[[str], str] = str

    def __post_init__(self) -> None:
        for name in ('sync_tolerance', 'start'):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f'{name} is {value}; it must be at least 0 seconds')
        if not self.duration > 0:
            raise ValueError(f'duration is {self.duration}; it must be positive')
