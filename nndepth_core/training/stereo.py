"""Training of stereo networks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from accelerate.utils import gather_object
from torch import Tensor, nn

from nndepth_core.data.inspect import examine_dataset
from nndepth_core.data.loader import Batch, StereoData
from nndepth_core.data.sample import StereoSample
from nndepth_core.engines.torch import ModuleEngine
from nndepth_core.estimator import StereoEstimator
from nndepth_core.evaluation.metrics import stereo_metrics
from nndepth_core.models.base import StereoNetwork
from nndepth_core.models.nano_stereo import NanoStereo
from nndepth_core.training import TrainingError
from nndepth_core.training.losses import MultiScaleLoss, SequenceLoss, StereoLoss
from nndepth_core.training.nano_loss import NanoLoss
from nndepth_core.training.trainer import BaseTrainer
from nndepth_core.visualization import colorize, error_map, panel, value_range

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class StereoTrainer(BaseTrainer):
    """Trains stereo networks on pairs with disparity.

    Args:
        loss: what is minimised; none takes SequenceLoss for iterative networks, NanoLoss for
            NanoStereo and MultiScaleLoss for others.
        iterations: of an iterative network in training; 0 takes its own number, as validation
            does.
    """

    loss: StereoLoss | None = None
    iterations: int = 0

    @cached_property
    def criterion(self) -> StereoLoss:
        """The loss, or that of the network's kind."""
        if self.loss is not None:
            return self.loss
        if isinstance(self.network, NanoStereo):
            return NanoLoss()
        return SequenceLoss() if self.network.spec.iterations else MultiScaleLoss()

    def start(self, network: StereoNetwork, data: StereoData, config: str) -> None:
        """Warn of truth that does not fit its images, before time is spent on it."""
        super().start(network, data, config)
        if not self.accelerator.is_main_process:
            return
        for kind, dataset in (('training', data.train), ('validation', data.validation)):
            for name, finding in examine_dataset(dataset) if dataset else ():
                _log.warning('%s sample %s: %s', kind, name, finding.text)

    def count_targets(self, batch: Batch) -> int:
        """Number of pixels that count."""
        return int(self.criterion.counts(batch['disparity']).sum())

    def run_network(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        """What the network says in train mode."""
        return network(batch['left'].float(), batch['right'].float(), self.iterations or None)

    def compute_loss(self, batch: Batch) -> Tensor:
        """Loss summed over the pixels that count."""
        return self.criterion(self.run_network(self.model, batch), batch['disparity'])

    def validate(self, data: StereoData) -> dict[str, float]:
        """Means over the samples of what `stereo_metrics` gives; pictures of the first samples."""
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        rows: list[dict[str, float]] = []
        pictures: dict[str, np.ndarray] = {}
        for sample in data.validation_samples(self.validation_limit, rank, ranks):
            disparity = self.predict(sample)
            if len(pictures) < self.pictures:
                pictures[f'validation_{len(pictures)}'] = _picture(sample, disparity)
            if np.isfinite(sample.disparity).any():
                rows.append(stereo_metrics(disparity, sample.disparity))
        self.log_pictures(pictures)
        rows = gather_object(rows)
        if not rows:
            raise TrainingError('no validation sample can be read and has known disparities')
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def predict(self, sample: StereoSample) -> np.ndarray:
        """Disparity of a sample, float32 (H, W), by the weights that are validated."""
        engine = ModuleEngine(self.evaluated, self.network.spec, str(self.accelerator.device))
        return StereoEstimator(engine)(sample.left, sample.right).disparity


def _picture(sample: StereoSample, disparity: np.ndarray) -> np.ndarray:
    low, high = value_range(sample.disparity)
    return panel(
        {
            'left': sample.left,
            'truth': colorize(sample.disparity, low, high),
            'prediction': colorize(disparity, low, high),
            'error, 0 to 4 px': error_map(disparity, sample.disparity),
        }
    )
