"""Training of networks that see one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nndepth_core.data.augment import MonoAugmentation
from nndepth_core.data.datasets.base import MonoSource
from nndepth_core.data.loader import Batch, TrainingData
from nndepth_core.data.sample import MonoSample
from nndepth_core.engines.torch import ModuleEngine
from nndepth_core.estimator import MonoEstimator
from nndepth_core.evaluation.mono_metrics import ALIGNMENTS, DEPTH_RANGE, align_depth, mono_metrics
from nndepth_core.models.base import Network
from nndepth_core.training import TrainingError
from nndepth_core.training.mono_losses import (
    MonoLoss,
    ScaleInvariantLogLoss,
    ScaleShiftInvariantLoss,
)
from nndepth_core.training.trainer import BaseTrainer
from nndepth_core.visualization import colorize, panel, value_range


@dataclass
class MonoData(TrainingData):
    """The images with depth that a network is trained and validated on."""

    train: MonoSource
    validation: MonoSource | None = None
    augmentation: MonoAugmentation | None = None


@dataclass(kw_only=True)
class MonoTrainer(BaseTrainer):
    """Trains networks that see one image on images with depth.

    A network for inverse depth learns from the inverse of metric depth, or from data sets whose
    truth is inverse depth without a scale. A network that assumes a focal length learns the depth
    that a camera of this focal length would see in the same image.

    Args:
        loss: What is minimised; null takes ScaleInvariantLogLoss for depth in metres and
            ScaleShiftInvariantLoss for outputs without a scale.
        depth_range: Metres; pixels whose true depth is beyond it are not learned from.
        metric: See above; abs_rel, rmse and what else `nndepth evaluate` gives.
    """

    loss: MonoLoss | None = None
    depth_range: tuple[float, float] = DEPTH_RANGE
    metric: str = 'abs_rel'

    def start(self, network: Network, data: TrainingData, config: str) -> None:
        """Choose the loss.

        Raises:
            TrainingError: The network does not fit this trainer or the data.
        """
        output = network.spec.output
        if network.spec.inputs != ('image',):
            raise TrainingError(
                f'{network.spec.name} takes {", ".join(network.spec.inputs)}; MonoTrainer trains '
                'networks that take one image, such as midas_small'
            )
        for kind, dataset in (('train', data.train), ('validation', data.validation)):
            meaning = getattr(dataset, 'meaning', 'metric')
            if meaning != 'metric' and (kind == 'validation' or output != 'inverse_depth'):
                raise TrainingError(
                    f'data.{kind}, {dataset.name if dataset else ""}, has {meaning} depth; give '
                    'one of metric depth' + (', or none' if kind == 'validation' else '')
                )
        scaled = output == 'depth'
        default = ScaleInvariantLogLoss() if scaled else ScaleShiftInvariantLoss()
        self.criterion = default if self.loss is None else self.loss
        self.inverse = output == 'inverse_depth' and (
            getattr(data.train, 'meaning', 'metric') == 'metric'
        )
        super().start(network, data, config)

    def target(self, batch: Batch) -> Tensor:
        """The truth of a batch in the network's output, NaN where it is not learned from.

        Raises:
            TrainingError: The batch is one of pairs.
        """
        if 'depth' not in batch:
            raise TrainingError(
                'the samples of data.train have no depth; give a data set of images with depth'
            )
        truth = batch['depth']
        if self.network.spec.output == 'inverse_depth' and not self.inverse:
            return truth
        near, far = self.depth_range
        truth = torch.where((truth >= near) & (truth <= far), truth, torch.nan)
        if (canonical := self.network.spec.canonical_focal) is not None:
            if not batch['focal'].isfinite().all():
                raise TrainingError(
                    f'{self.network.spec.name} learns from images of known cameras, and those of '
                    'data.train lack them; give a data set with cameras, such as ProceduralMono'
                )
            truth = truth * (canonical / batch['focal'])
        return 1 / truth if self.inverse else truth

    def count_targets(self, batch: Batch) -> int:
        """See `BaseTrainer`: the number of valid pixels."""
        return int(self.criterion.valid(self.target(batch)).sum())

    def run_network(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        """See `BaseTrainer`."""
        return [network(batch['image'].float())]

    def compute_loss(self, batch: Batch) -> Tensor:
        """See `BaseTrainer`."""
        [prediction] = self.run_network(self.model, batch)
        return self.criterion(prediction, self.target(batch))

    def measure(self, prediction: np.ndarray, sample: MonoSample) -> dict[str, float]:
        """See `BaseTrainer`: what `mono_metrics` gives, outputs without a scale aligned."""
        near, far = self.depth_range
        if not ((sample.depth >= near) & (sample.depth <= far)).any():
            return {}
        return mono_metrics(prediction, sample.depth, **self.comparison, depth_range=(near, far))

    @property
    def comparison(self) -> dict[str, Any]:
        """How the network's output is compared with metric depth."""
        output = self.network.spec.output
        return {'output': output, 'alignment': ALIGNMENTS[output]}

    def draw(self, prediction: np.ndarray, sample: MonoSample) -> np.ndarray:
        """See `BaseTrainer`; near is red, as in disparities."""
        near, far = self.depth_range
        truth = np.where((sample.depth >= near) & (sample.depth <= far), sample.depth, np.nan)
        aligned = align_depth(prediction, truth, **self.comparison).astype(np.float32)
        low, high = value_range(1 / truth)
        with np.errstate(divide='ignore'):
            pictures = {
                'ground truth': colorize(1 / truth, low, high),
                'prediction': colorize(1 / aligned, low, high),
            }
        return panel({'image': sample.image, **pictures})

    def predict(self, sample: MonoSample) -> np.ndarray:
        """See `BaseTrainer`: the output, float32 (H, W)."""
        engine = ModuleEngine(self.evaluated, self.network.spec, str(self.accelerator.device))
        return MonoEstimator(engine)(sample.image, sample.camera).depth
