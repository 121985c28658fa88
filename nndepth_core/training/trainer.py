"""The training loop: steps, checkpoints, resuming and figures, whatever is learned."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nndepth_core.data.loader import Batch, TrainingData, killed_workers_named
from nndepth_core.files.writing import write_at_once
from nndepth_core.files.yaml_mapping import read_mapping
from nndepth_core.models.base import Network
from nndepth_core.training import TrainingError
from nndepth_core.training.batch_norms import batch_norms, measured_anew
from nndepth_core.training.checkpoints import (
    CONFIG,
    WEIGHTS,
    latest_checkpoint,
    load_state,
    save_best,
    save_checkpoint,
    save_weights,
)
from nndepth_core.training.compiled import compile_in_place
from nndepth_core.training.failures import out_of_memory_named, save_failed
from nndepth_core.training.parameters import freeze, parameter_groups
from nndepth_core.training.precision import choose_precision
from nndepth_core.training.processes import (
    lost_process_named,
    refuse_other_settings,
    refuse_sharding,
    state_of_main,
    take_weights_of_main,
)
from nndepth_core.training.progress import Progress, shown
from nndepth_core.training.schedules import learning_rate_factor
from nndepth_core.training.settings import TrainerSettings
from nndepth_core.training.tracking import (
    PlainTracker,
    changes,
    check_trackers,
    flat_settings,
    log_pictures,
)
from nndepth_core.weights.encoder import load_encoder
from nndepth_core.weights.loading import load_entries, load_weights

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class BaseTrainer(TrainerSettings, ABC):
    """Trains a network with AdamW, on one process or many.

    What a step does depends only on the weights before it, on the seed and on the number of the
    step. A run that was killed therefore goes on from its last checkpoint as if nothing had
    happened.

    The folder of a run holds config.yaml, metrics.jsonl, pictures/, checkpoints/ to resume from,
    best/ and weights.safetensors. These are the weights of the best validation, or the latest
    ones where there is no validation set.
    """

    step: int = field(default=0, init=False)
    network: Network = field(init=False, repr=False)
    accelerator: Accelerator = field(init=False, repr=False)
    progress: Progress = field(init=False, repr=False)

    @abstractmethod
    def count_targets(self, batch: Batch) -> int:
        """The number of errors that the loss of a batch sums, e.g. its known pixels."""

    @abstractmethod
    def run_network(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        """Run a network in train mode on a batch."""

    @abstractmethod
    def compute_loss(self, batch: Batch) -> Tensor:
        """Run `self.model` on a batch and sum the loss over what `count_targets` counts."""

    @abstractmethod
    def predict(self, sample: Any) -> np.ndarray:
        """Run `self.evaluated` on a validation sample."""

    @abstractmethod
    def measure(self, prediction: np.ndarray, sample: Any) -> dict[str, float]:
        """Compare a prediction with its ground truth; empty where nothing of that is known."""

    @abstractmethod
    def draw(self, prediction: np.ndarray, sample: Any) -> np.ndarray:
        """Draw a prediction beside its ground truth, as uint8 RGB (H, W, 3)."""

    @property
    def evaluated(self) -> nn.Module:
        """The network to validate and save: the running average if there is one."""
        return self.network if self.ema is None else self.ema.module

    @killed_workers_named()
    @lost_process_named()
    def train(self, network: Network, data: TrainingData, config: str = '') -> Path:
        """Train a network, or go on with training it.

        Args:
            network: The network; its weights are replaced when a run is resumed or fine-tuned.
            data: The data it learns from.
            config: YAML that describes the run and is kept with it.

        Returns:
            The file of the weights to use.

        Raises:
            TrainingError: The run cannot begin, the loss is not finite, or memory runs out.
            CheckpointError: Weights do not fit, or a checkpoint cannot be saved or read.
            DatasetError: Samples cannot be read.
        """
        self.start(network, data, config)
        self.rehearse(data)
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        batches = data.batches(self.seed, self.step * self.accumulation, rank, ranks)
        with (
            shown(
                self.folder.name,
                self.step,
                self.max_steps,
                self.skipped,
                self.accelerator.is_main_process,
            ) as self.progress,
            closing(batches),
        ):
            while self.step < self.max_steps:
                passes = [next(batches) for _ in range(self.accumulation)]
                # after the batches, because loaders draw a number when they begin
                torch.manual_seed(hash((self.seed, self.step, rank)))
                with out_of_memory_named(passes):
                    loss = self.train_step(passes)
                self.step += 1
                self.report(passes, loss)
                if data.validation is not None and self.is_due(self.validate_every):
                    self.run_validation(data)
                if self.is_due(self.save_every):
                    self.save(data)
        # Threads that still tidy up after the last exchange would abort a process that ends now.
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
        return self.folder / WEIGHTS

    def start(self, network: Network, data: TrainingData, config: str) -> None:
        """Prepare everything for the first step."""
        checkpoint = latest_checkpoint(self.folder / 'checkpoints')
        if checkpoint and not self.resume:
            raise TrainingError(
                f'{self.folder} holds a run already ({checkpoint.name}); set trainer.resume to go '
                'on with it, or give another trainer.folder'
            )
        check_trackers(self.trackers)
        self.network = network
        if checkpoint:
            load_weights(network, checkpoint / WEIGHTS)
        elif self.weights:
            load_weights(network, self.weights)
        elif self.encoder:
            load_encoder(network, self.encoder)
        state = load_state(checkpoint) if checkpoint else {}
        self.step = state.get('step', 0)
        self.accelerator = self.make_accelerator()
        settings = yaml.safe_load(config) or {}
        refuse_other_settings(flat_settings(settings))
        state = state_of_main(state)
        self.step, self.skipped = state.get('step', 0), state.get('skipped', 0)
        self.prepare(state)
        if state and state['data'] != self.fingerprint(data):
            _log.warning('the run began with another seed or batch size; its batches will change')
        if self.accelerator.is_main_process and config:
            if checkpoint and (self.folder / CONFIG).is_file():
                for change in changes(read_mapping(self.folder / CONFIG), settings, 'model.'):
                    _log.warning('the run goes on with another network: %s', change)
            write_at_once(self.folder / CONFIG, config)
        self.accelerator.init_trackers(
            'nndepth',
            config=flat_settings(settings),
            init_kwargs={'wandb': {'name': self.folder.name, 'dir': str(self.folder)}},
        )

    def make_accelerator(self) -> Accelerator:
        """Find the device and the other processes."""
        refuse_sharding()
        precision = choose_precision(self.precision, self.device)
        self.folder.mkdir(parents=True, exist_ok=True)
        return Accelerator(
            cpu=self.device == 'cpu',
            mixed_precision='no' if precision == 'fp32' else precision,
            log_with=[*self.trackers, PlainTracker(self.folder, self.step)],
            project_dir=self.folder,
            # a network may have outputs that the loss leaves out
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )

    def prepare(self, state: Mapping[str, Any]) -> None:
        """Make the optimiser and the running average, and restore the state of a checkpoint."""
        if self.batch_norm == 'synchronized' and self.accelerator.device.type == 'cuda':
            self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        self.network.to(self.accelerator.device)
        take_weights_of_main(self.network)
        self.ema: AveragedModel | None = None
        if self.ema_decay:
            average = get_ema_multi_avg_fn(self.ema_decay)
            self.ema = AveragedModel(self.network, multi_avg_fn=average)
            self.ema.n_averaged.fill_(self.step)
        if 'network' in state:
            load_entries(self.network, state['network'], self.folder)
        if self.compile:
            compile_in_place(self.network)
        freeze(self.network, self.freeze)
        groups = parameter_groups(self.network, self.layer_decay)
        optimizer = torch.optim.AdamW(
            groups, lr=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay
        )
        self.model, self.optimizer = self.accelerator.prepare(self.network, optimizer)
        if state:
            self.optimizer.load_state_dict(state['optimizer'])
            if self.accelerator.scaler and state['scaler']:
                self.accelerator.scaler.load_state_dict(state['scaler'])
        self.set_train_mode()

    def set_train_mode(self) -> None:
        """Put the network into train mode, and its batch norms into that of `batch_norm`."""
        self.model.train()
        if self.batch_norm == 'frozen':
            for norm in batch_norms(self.network):
                norm.eval()

    def train_step(self, passes: Sequence[Batch]) -> float:
        """Update the weights by the mean loss over all passes and processes; return it."""
        accelerator = self.accelerator
        rate = self.learning_rate * learning_rate_factor(
            self.schedule, self.step, self.max_steps, self.warmup
        )
        for group in self.optimizer.param_groups:
            group['lr'] = rate * group.get('scale', 1.0)
        self.optimizer.zero_grad()
        count = torch.tensor(
            float(sum(self.count_targets(batch) for batch in passes)), device=accelerator.device
        )
        # the mean over processes, since their gradients are averaged
        count = accelerator.reduce(count, 'mean').clamp(min=1e-9)
        total = torch.zeros((), device=accelerator.device)
        for index, batch in enumerate(passes, 1):
            last = index == len(passes)
            with nullcontext() if last else accelerator.no_sync(self.model):
                loss = self.compute_loss(self.to_device(batch)) / count
                accelerator.backward(loss)
            total += loss.detach()
        mean = accelerator.reduce(total, 'mean').item()
        if not np.isfinite(mean):
            path = self.folder / f'failed_step_{self.step}_{accelerator.process_index}.npz'
            save_failed(path, passes)
            raise TrainingError(
                f'the loss of step {self.step} is {mean}; its batch is in {path}: look at it, or '
                'lower trainer.learning_rate, and resume'
            )
        if self.clip_value:
            accelerator.clip_grad_value_(self.model.parameters(), self.clip_value)
        if self.clip_norm:
            accelerator.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update_parameters(self.network)
        return mean

    def to_device(self, batch: Batch) -> Batch:
        """Move the tensors of a batch to where the network is."""
        device = self.accelerator.device
        return {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }

    def report(self, passes: Sequence[Batch], loss: float) -> None:
        """Show how far the run is, and log its figures when they are due."""
        self.progress.advance(passes, loss)
        if self.is_due(self.log_every):
            rate = self.optimizer.param_groups[0]['lr']
            self.accelerator.log(self.progress.figures(rate), self.step)

    def rehearse(self, data: TrainingData) -> None:
        """Use a validation sample, so that those that do not fit are told before the first step.

        Raises:
            TrainingError: It does not fit the network.
        """
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        self.evaluated.eval()
        with torch.no_grad():
            for sample in data.validation_samples(ranks, rank, ranks):
                try:
                    self.predict(sample)
                except ValueError as error:
                    raise TrainingError(f'a validation sample does not fit: {error}') from error
        self.set_train_mode()

    def run_validation(self, data: TrainingData) -> None:
        """Validate, log the figures and keep the weights if they are among the best."""
        self.measure_batch_norms(data)
        figures = self.validate(data)
        if self.metric not in figures:
            raise TrainingError(
                f'trainer.metric is {self.metric}; validation gives {", ".join(figures) or "none"}'
            )
        self.accelerator.log({f'validation/{k}': v for k, v in figures.items()}, self.step)
        if not self.accelerator.is_main_process:
            return
        _log.info('step %d: %s %.4f', self.step, self.metric, value := figures[self.metric])
        if np.isfinite(value):
            weights, best = self.evaluated.state_dict(), self.folder / 'best'
            if save_best(best, self.metric, value, self.step, weights, self.keep_best):
                save_weights(self.folder / WEIGHTS, weights)

    def validate(self, data: TrainingData) -> dict[str, float]:
        """Measure `self.evaluated` on the validation set, on all processes together.

        Returns:
            The means of the figures over the samples.

        Raises:
            TrainingError: No sample can be read and measured.
        """
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        rows: list[dict[str, float]] = []
        pictures: dict[str, np.ndarray] = {}
        self.evaluated.eval()
        with torch.no_grad():
            for sample in data.validation_samples(self.validation_limit, rank, ranks):
                prediction = self.predict(sample)
                if len(pictures) < self.pictures:
                    pictures[f'validation_{len(pictures)}'] = self.draw(prediction, sample)
                if figures := self.measure(prediction, sample):
                    rows.append(figures)
        self.set_train_mode()
        if self.accelerator.is_main_process:
            log_pictures(self.accelerator.trackers, pictures, self.step)
        rows = gather_object(rows)
        if not rows:
            raise TrainingError(
                'no validation sample can be read and has a pixel whose ground truth is known; '
                'check data.validation with "nndepth data inspect"'
            )
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def measure_batch_norms(self, data: TrainingData) -> None:
        """Measure the statistics of `self.evaluated` on the batches that come next."""
        if not self.norm_batches or self.batch_norm == 'frozen':
            return
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        batches = data.batches(self.seed, self.step * self.accumulation, rank, ranks)
        with closing(batches), measured_anew(self.evaluated) as statistics:
            for batch in islice(batches, self.norm_batches):
                self.run_network(self.evaluated, self.to_device(batch))
            for values in statistics:
                values.copy_(self.accelerator.reduce(values, 'mean'))
        self.set_train_mode()

    def save(self, data: TrainingData) -> None:
        """Write a checkpoint."""
        if data.validation is None:
            self.measure_batch_norms(data)
        if not self.accelerator.is_main_process:
            return
        state: dict[str, Any] = {
            'step': self.step,
            'skipped': self.progress.skipped,
            'data': self.fingerprint(data),
            'optimizer': self.optimizer.state_dict(),
            'scaler': self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
        }
        if self.ema is not None:
            state['network'] = self.network.state_dict()
        weights, checkpoints = self.evaluated.state_dict(), self.folder / 'checkpoints'
        if data.validation is None:
            save_weights(self.folder / WEIGHTS, weights)
        save_checkpoint(checkpoints, self.step, weights, state, self.keep_checkpoints)

    def fingerprint(self, data: TrainingData) -> list[int]:
        """The numbers that decide which samples a step sees."""
        samples = data.batch_size * self.accelerator.num_processes * self.accumulation
        return [self.seed, samples, data.repeats, len(data.train)]

    def is_due(self, every: int) -> bool:
        """Whether something that is done every so many steps is due; after the last step it is."""
        return self.step % every == 0 or self.step == self.max_steps
