"""The settings of every training, whatever is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nndepth_core.training import TrainingError
from nndepth_core.training.schedules import ScheduleName
from nndepth_core.training.tracking import TrackerName


@dataclass(kw_only=True)
class TrainerSettings:
    """How a network is trained.

    Args:
        folder: The folder of the run.
        resume: Whether to go on with the run in the folder; the run begins where there is none.
        weights: A checkpoint file to begin with, for fine-tuning. Without one the weights begin
            at random.
        encoder: A checkpoint of a pre-training whose encoder the network begins with, in place of
            `weights`.
        freeze: Dotted names of parts of the network that do not learn, such as encoder.
        layer_decay: The factor by which the learning rate of each layer of the encoder is smaller
            than that of the layer behind it; 1 gives all the same.
        max_steps: The number of optimiser steps of the run.
        learning_rate: The largest learning rate.
        schedule: How the learning rate changes over the run.
        warmup: The part of the steps in which the learning rate rises.
        weight_decay: The weight decay of AdamW.
        betas: The decays of AdamW's running averages.
        accumulation: The number of passes of data.batch_size samples that make one step.
        clip_norm: The largest norm of the gradient; 0 sets no limit.
        clip_value: The largest absolute value in the gradient; 0 sets no limit.
        precision: The precision of the network's arithmetic. bf16 and fp16 are mixed with fp32;
            auto is bf16 where the CPU or GPU computes in it, and fp32 elsewhere.
        compile: Whether torch compiles the network. This takes some minutes at the start and
            makes every step faster.
        batch_norm: train uses and learns the statistics of each process, synchronized those of
            all processes (GPUs only), and frozen keeps the statistics as they are.
        norm_batches: The number of training batches on which the statistics of batch norms are
            measured before weights are validated or saved for use; 0 keeps those of training.
        ema_decay: The decay of a running average of the weights, e.g. 0.999. The average is
            validated and saved in place of the weights; 0 makes none.
        seed: The seed of everything that is random.
        device: auto takes the GPU if there is one.
        log_every: The number of steps between two lines of figures.
        validate_every: The number of steps between two validations.
        validation_limit: The number of samples to validate on; 0 takes all.
        pictures: The number of validation samples to draw.
        metric: The figure of the validation that decides which weights are best; less is better.
        save_every: The number of steps between two checkpoints.
        keep_checkpoints: How many of the latest checkpoints are kept.
        keep_best: How many weights of the best validations are kept.
        trackers: Where figures and pictures go besides the folder.
    """

    folder: Path = Path('runs/train')
    resume: bool = False
    weights: Path | None = None
    encoder: Path | None = None
    freeze: Sequence[str] = ()
    layer_decay: float = 1.0
    max_steps: int = 100_000
    learning_rate: float = 2e-4
    schedule: ScheduleName = 'one_cycle'
    warmup: float = 0.01
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    accumulation: int = 1
    clip_norm: float = 1.0
    clip_value: float = 0.0
    precision: Literal['auto', 'fp32', 'bf16', 'fp16'] = 'auto'
    compile: bool = False
    batch_norm: Literal['train', 'synchronized', 'frozen'] = 'train'
    norm_batches: int = 0
    ema_decay: float = 0.0
    seed: int = 0
    device: Literal['auto', 'cpu'] = 'auto'
    log_every: int = 10
    validate_every: int = 5000
    validation_limit: int = 0
    pictures: int = 4
    metric: str = 'epe'
    save_every: int = 1000
    keep_checkpoints: int = 2
    keep_best: int = 3
    trackers: Sequence[TrackerName] = ()

    def __post_init__(self) -> None:
        counts = ('max_steps', 'accumulation', 'log_every', 'validate_every', 'save_every')
        for name in (*counts, 'keep_checkpoints'):
            if getattr(self, name) < 1:
                raise TrainingError(f'{name} is {getattr(self, name)}; give at least 1')
        for name in ('warmup', 'ema_decay'):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f'{name} is {getattr(self, name)}; give 0 or more, below 1')
        if not 0 < self.layer_decay <= 1:
            raise TrainingError(f'layer_decay is {self.layer_decay}; give more than 0, at most 1')
        if self.weights and self.encoder:
            raise TrainingError('weights and encoder are both given; give one of them')
