"""A network, a data set and a trainer for the tests of training; run as a program it trains.

`python tiny_training.py FOLDER JSON`: JSON holds settings of the trainer, the number of samples to
validate on as 'validation', and with 'die_in_step' or 'die_in_save' the step in which the process
ends by SIGKILL, half-way through.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nndepth_core.data.datasets.base import DatasetError
from nndepth_core.data.sample import MonoSample, StereoSample
from nndepth_core.models.base import MonoNetwork, StereoNetwork
from nndepth_core.spec import ModelSpec
from nndepth_core.training import checkpoints
from nndepth_core.training.stereo import StereoData, StereoTrainer

HEIGHT, WIDTH = 16, 24


class TinyStereo(StereoNetwork):
    """Three convolutions and a batch norm, and a head that the loss leaves out."""

    spec = ModelSpec('tiny', 'base', multiple=4, minimum=(8, 8), placement='centre')
    variants = {'base': {}}  # noqa: RUF012

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(6, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 1, 3, padding=1),
        )
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, left, right, iterations=None, confidence=False):
        self.check_images(left, right)
        disparity = self.layers(torch.cat([left, right], 1) / 255)
        return [0.5 * disparity, disparity] if self.training else disparity


class TinyMono(MonoNetwork):
    """One convolution."""

    spec = ModelSpec('tiny_mono', inputs=('image',), output='depth')
    variants = {'base': {}}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, image):
        self.check_images(image)
        return self.layer(image / 255)


class TinyPairs:
    """Random pictures whose disparity is the brightness of the left one over 100.

    Samples whose index is in `broken` cannot be read; every fifth pixel is unknown.
    """

    name = 'tiny'

    def __init__(self, length: int = 12, broken: tuple[int, ...] = ()) -> None:
        self.length = length
        self.broken = broken

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> StereoSample:
        if index in self.broken:
            raise DatasetError(f'tiny, sample {index}: cut short')
        rng = np.random.default_rng(index)
        left, right = rng.integers(0, 255, (2, HEIGHT, WIDTH, 3), np.uint8)
        disparity = left.mean(2).astype(np.float32) / 100
        disparity.flat[:: 5 + index % 3] = np.nan
        return StereoSample(left, right, disparity, name=f'pair{index}')


class TinyImages:
    """Random pictures whose depth is their brightness over 100; every fifth pixel is unknown."""

    name = 'tiny images'

    def __init__(self, length: int = 12) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> MonoSample:
        image = np.random.default_rng(index).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        depth = image.mean(2).astype(np.float32) / 100
        depth.flat[::5] = np.nan
        return MonoSample(image, depth, name=f'image{index}')


class DyingTrainer(StereoTrainer):
    """Ends the process in the middle of a step, after its gradients are computed."""

    die_in_step = -1

    def train_step(self, passes):
        self.accelerator.clip_grad_value_ = self.die
        self.clip_value = 1e9
        return super().train_step(passes)

    def die(self, *_):
        if self.step == self.die_in_step:
            os.kill(os.getpid(), signal.SIGKILL)


def network() -> TinyStereo:
    torch.manual_seed(1)
    return TinyStereo()


def make_data(**settings: Any) -> StereoData:
    return StereoData(**{'train': TinyPairs(), 'batch_size': 2, 'workers': 0, **settings})


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a short run on the CPU."""
    return {
        'folder': folder,
        'max_steps': 8,
        'learning_rate': 1e-2,
        'save_every': 3,
        'validate_every': 4,
        'log_every': 2,
        'device': 'cpu',
        'precision': 'fp32',
        **changes,
    }


def main() -> None:
    torch.set_num_threads(1)
    changes = json.loads(sys.argv[2])
    data = make_data(validation=TinyPairs(changes.pop('validation')))
    die_in_step, die_in_save = changes.pop('die_in_step', -1), changes.pop('die_in_save', -1)
    config = json.dumps({'trainer': {'folder': sys.argv[1], **changes}})
    trainer = DyingTrainer(**settings(Path(sys.argv[1]), **changes))
    trainer.die_in_step = die_in_step
    write = checkpoints._write

    def write_and_die(path, content):
        if trainer.step == die_in_save and path.name == 'state.pt':
            write(path, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, content)

    checkpoints._write = write_and_die
    trainer.train(network(), data, config)


if __name__ == '__main__':
    main()
