"""Where the figures and pictures of a run go: plain files, and the trackers of accelerate."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from accelerate.tracking import GeneralTracker, on_main_process

from nndepth_core.files.writing import write_at_once
from nndepth_core.io import write_image
from nndepth_core.training import TrainingError

TrackerName = Literal['tensorboard', 'wandb']


class PlainTracker(GeneralTracker):
    """Writes figures as lines of JSON and pictures as PNG files.

    Args:
        folder: The folder for `metrics.jsonl` and `pictures/`.
        step: The step from which the run goes on. Figures of later steps are removed, since they
            will be written again.
    """

    name = 'plain'
    requires_logging_directory = False

    def __init__(self, folder: Path, step: int = 0) -> None:
        super().__init__()
        self.folder = folder
        self.path = folder / 'metrics.jsonl'
        self.first_step = step

    @property
    def tracker(self) -> Path:
        """The file of figures."""
        return self.path

    @on_main_process
    def store_init_configuration(self, values: dict) -> None:
        """Begin the file, or go on with it."""
        lines = self.path.read_text('utf-8').splitlines() if self.path.exists() else []
        kept = [line for line in lines if _step(line) <= self.first_step]
        write_at_once(self.path, ''.join(f'{line}\n' for line in kept))

    @on_main_process
    def log(self, values: dict, step: int | None = None, **kwargs: Any) -> None:
        """Append a line."""
        with self.path.open('a', encoding='utf-8') as file:
            file.write(json.dumps({'step': step, **values}) + '\n')

    @on_main_process
    def log_images(self, values: dict, step: int | None = None, **kwargs: Any) -> None:
        """Write the picture of each name as `pictures/NAME_STEP.png`."""
        folder = self.folder / 'pictures'
        folder.mkdir(exist_ok=True)
        for name, (picture,) in values.items():
            write_image(folder / f'{name}_{step:08d}.png', picture)


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Refuse trackers whose package is not installed, which accelerate would leave out silently.

    Raises:
        TrainingError: A package is missing; the message names it.
    """
    for name in names:
        if find_spec(name) is None:
            raise TrainingError(
                f'tracker {name} is not installed; pip install {name}, or take it off '
                'trainer.trackers'
            )


def log_pictures(
    trackers: Sequence[GeneralTracker], pictures: Mapping[str, np.ndarray], step: int
) -> None:
    """Give pictures, uint8 RGB (H, W, 3), with their names to every tracker."""
    values = {name: picture[None] for name, picture in pictures.items()}
    for tracker in trackers:
        layout = {'dataformats': 'NHWC'} if tracker.name == 'tensorboard' else {}
        tracker.log_images(values, step=step, **layout)


def flat_settings(config: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """The settings by their dotted names, in types that every tracker takes."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f'{prefix}{key}.')
        else:
            flat[f'{prefix}{key}'] = value if isinstance(value, bool | int | float) else str(value)
    return flat


def changes(before: Mapping[str, Any], now: Mapping[str, Any], part: str) -> list[str]:
    """What differs between two configurations where names begin so, in words."""
    old, new = flat_settings(before), flat_settings(now)
    return [
        f'{name} was {old.get(name, "not set")} and is {new.get(name, "not set")}'
        for name in sorted(old | new)
        if name.startswith(part) and old.get(name) != new.get(name)
    ]


def _step(line: str) -> float:
    """The step of a line of figures; infinite for a line that was cut short."""
    try:
        return json.loads(line)['step']
    except ValueError:
        return math.inf
