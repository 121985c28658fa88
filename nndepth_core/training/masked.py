"""Pre-training of encoders on pairs without ground truth, by filling in what is removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.data.loader import Batch, TrainingData
from nndepth_core.data.sample import StereoSample
from nndepth_core.estimator import check_pair
from nndepth_core.models.base import Network
from nndepth_core.models.masked_stereo import MaskedStereo, Reconstruction
from nndepth_core.models.stereo_mae import patch_grid
from nndepth_core.training import TrainingError
from nndepth_core.training.image_losses import ReconstructionLoss
from nndepth_core.training.trainer import BaseTrainer
from nndepth_core.visualization import reconstruction_panel


@dataclass(kw_only=True)
class MaskedTrainer(BaseTrainer):
    """Trains masked autoencoders on pairs.

    Validation removes the same patches every time.

    Args:
        loss: What is minimised; null takes the squared error of the removed patches.
        metric: See above; mse, the mean squared error of the removed patches.
    """

    loss: ReconstructionLoss | None = None
    metric: str = 'mse'

    def __post_init__(self) -> None:
        super().__post_init__()
        self.criterion = ReconstructionLoss() if self.loss is None else self.loss
        self.criterion.check()

    def start(self, network: Network, data: TrainingData, config: str) -> None:
        """See `BaseTrainer`.

        Raises:
            TrainingError: The network is no masked autoencoder.
        """
        if not isinstance(network, MaskedStereo):
            raise TrainingError(
                f'{network.spec.name} is no masked autoencoder, which MaskedTrainer trains; take '
                'MaskedStereo'
            )
        super().start(network, data, config)

    def count_targets(self, batch: Batch) -> int:
        """See `BaseTrainer`: the number of images."""
        return 2 * len(batch['left'])

    def run_network(self, network: nn.Module, batch: Batch) -> Sequence[Tensor]:
        """See `BaseTrainer`: a `Reconstruction`."""
        return network(batch['left'].float(), batch['right'].float())

    def compute_loss(self, batch: Batch) -> Tensor:
        """See `BaseTrainer`."""
        result = cast(Reconstruction, self.run_network(self.model, batch))
        network = cast(MaskedStereo, self.network)
        left, right = network.fitting(batch['left'].float(), batch['right'].float())
        return (
            self.criterion(result.left, left / 255, result.left_removed).sum()
            + self.criterion(result.right, right / 255, result.right_removed).sum()
        )

    def predict(self, sample: StereoSample) -> np.ndarray:
        """See `BaseTrainer`: what `fill_in` gives."""
        network = cast(MaskedStereo, self.evaluated)
        return fill_in(network, sample.left, sample.right, str(self.accelerator.device))

    def measure(self, prediction: np.ndarray, sample: StereoSample) -> dict[str, float]:
        """See `BaseTrainer`: the mean squared error of the removed patches."""
        pair = np.stack((sample.left, sample.right)) / 255
        errors = np.square(prediction[..., :3] - pair).mean(-1)
        return {'mse': float(errors[prediction[..., 3] > 0].mean())}

    def draw(self, prediction: np.ndarray, sample: StereoSample) -> np.ndarray:
        """See `BaseTrainer`: the left view above the right one."""
        return draw_pair(prediction, sample.left, sample.right)


@torch.no_grad()
def fill_in(
    network: MaskedStereo, left: np.ndarray, right: np.ndarray, device: str = 'cpu', seed: int = 0
) -> np.ndarray:
    """Remove patches of a pair and let a masked autoencoder fill them in.

    Args:
        network: In eval mode.
        left: uint8 RGB (H, W, 3).
        right: The other view.
        device: That of the network.
        seed: Decides which patches are removed.

    Returns:
        For each view RGB around 0..1, and 1 where a pixel was removed, float32 (2, H, W, 4).

    Raises:
        ValueError: The images do not fit the network.
    """
    check_pair(left, right)
    pair = [torch.from_numpy(x.transpose(2, 0, 1)[None]).float().to(device) for x in (left, right)]
    height, width = network.fitting(*pair)[0].shape[-2:]
    grid = patch_grid((height, width), network.encoder.patch)
    generator = torch.Generator().manual_seed(seed)
    noise = network.noise(1, grid, torch.device('cpu'), generator)
    result = network(*pair, [values.to(device) for values in noise])
    size = left.shape[:2]
    views = [
        torch.cat(
            (F.interpolate(image, size, mode='bilinear'), F.interpolate(removed.float(), size)), 1
        )
        for image, removed in zip(result[:2], result[2:], strict=True)
    ]
    return torch.cat(views).permute(0, 2, 3, 1).float().cpu().numpy()


def draw_pair(filled: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Draw what `fill_in` gives, the left view above the right one; uint8 RGB."""
    return np.vstack(
        [
            reconstruction_panel(image, view[..., :3], view[..., 3] > 0)
            for image, view in zip((left, right), filled, strict=True)
        ]
    )
