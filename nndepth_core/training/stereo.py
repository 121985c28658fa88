"""Training of stereo networks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from nndepth_core.data.augment import StereoAugmentation
from nndepth_core.data.datasets.base import StereoSource
from nndepth_core.data.inspect import examine_dataset
from nndepth_core.data.loader import Batch, TrainingData
from nndepth_core.data.sample import StereoSample
from nndepth_core.engines import DEFAULT_NETWORK
from nndepth_core.engines.torch import ModuleEngine
from nndepth_core.estimator import StereoEstimator
from nndepth_core.evaluation.metrics import stereo_metrics
from nndepth_core.models.base import Network
from nndepth_core.training import TrainingError
from nndepth_core.training.losses import SequenceLoss, StereoLoss
from nndepth_core.training.trainer import BaseTrainer
from nndepth_core.visualization import colorize, error_map, panel, value_range

_log = logging.getLogger(__name__)


@dataclass
class StereoData(TrainingData):
    """The pairs that a stereo network is trained and validated on."""

    train: StereoSource
    validation: StereoSource | None = None
    augmentation: StereoAugmentation | None = None


@dataclass(kw_only=True)
class StereoTrainer(BaseTrainer):
    """Trains stereo networks on pairs with disparity.

    Args:
        loss: What is minimised; null takes SequenceLoss.
        iterations: The iterations of an iterative network in training; 0 takes the network's own
            number, as validation does.
    """

    loss: StereoLoss | None = None
    iterations: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.criterion = SequenceLoss() if self.loss is None else self.loss

    def start(self, network: Network, data: TrainingData, config: str) -> None:
        """Warn of a disparity that does not fit its images before time is spent on it.

        Raises:
            TrainingError: The network is not for stereo pairs.
        """
        if network.spec.task != 'stereo':
            raise TrainingError(
                f'{network.spec.name} is a {network.spec.task} network, which StereoTrainer '
                f'cannot train; choose one for stereo pairs, such as {DEFAULT_NETWORK}'
            )
        super().start(network, data, config)
        if not self.accelerator.is_main_process:
            return
        for kind, dataset in (('training', data.train), ('validation', data.validation)):
            for name, finding in examine_dataset(dataset) if dataset else ():
                _log.warning('%s sample %s: %s', kind, name, finding.text)

    def count_targets(self, batch: Batch) -> int:
        """See `BaseTrainer`: the number of valid pixels."""
        return int(self.criterion.valid(batch['disparity']).sum())

    def run_network(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        """See `BaseTrainer`."""
        maps = network(batch['left'].float(), batch['right'].float(), self.iterations or None)
        if not isinstance(maps, list | tuple):
            raise TrainingError(
                f'{self.network.spec.title} returns a {type(maps).__name__} in train mode; it '
                'must return the list of tensors that its loss takes, such as [disparity]'
            )
        return maps

    def compute_loss(self, batch: Batch) -> Tensor:
        """See `BaseTrainer`."""
        return self.criterion(self.run_network(self.model, batch), batch['disparity'])

    def measure(self, prediction: np.ndarray, sample: StereoSample) -> dict[str, float]:
        """See `BaseTrainer`: EPE and what else `stereo_metrics` gives."""
        known = np.isfinite(sample.disparity).any()
        return stereo_metrics(prediction, sample.disparity) if known else {}

    def draw(self, prediction: np.ndarray, sample: StereoSample) -> np.ndarray:
        """See `BaseTrainer`."""
        low, high = value_range(sample.disparity)
        return panel(
            {
                'left': sample.left,
                'ground truth': colorize(sample.disparity, low, high),
                'prediction': colorize(prediction, low, high),
                'error, 0 to 4 px': error_map(prediction, sample.disparity),
            }
        )

    def predict(self, sample: StereoSample) -> np.ndarray:
        """See `BaseTrainer`: the disparity, float32 (H, W)."""
        engine = ModuleEngine(self.evaluated, self.network.spec, str(self.accelerator.device))
        return StereoEstimator(engine)(sample.left, sample.right).disparity
