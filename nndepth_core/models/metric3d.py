"""Metric3D v2: depth in metres and normals from one image, refined in recurrent steps.

Hu, Yin et al., "Metric3D v2: A Versatile Monocular Geometric Foundation Model for Zero-shot Metric
Depth and Surface Normal Estimation", TPAMI 2024, arXiv 2404.15506.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.conv import ResidualBlock
from nndepth_core.blocks.fusion import FusionBlock
from nndepth_core.blocks.norm import ImageNetNorm
from nndepth_core.blocks.update import MultiLevelGru, head
from nndepth_core.blocks.upsample import convex_upsample_coarse
from nndepth_core.encoders.dinov2 import PATCH, Dinov2, Size, patch_map
from nndepth_core.encoders.residual import RESIDUAL_RULES, SHORTCUT_ALIASES
from nndepth_core.models.base import MonoNetwork, Source, gru_sources, substitute
from nndepth_core.spec import ModelSpec, Preferred

_REGISTERS = 4
_FACTOR = 4
"""How much smaller than the image the maps are that the steps refine."""
_NEAREST, _FARTHEST = 0.1, 200.0
"""Limits of the depth in metres of the canonical camera."""
_BINS = 256
_UNIT = 100.0
"""Metres of the canonical camera in one unit of refined depth, which is zero at `_FARTHEST`."""
_ESTIMATE = 6
"""Channels of the estimate: depth, its confidence, a normal and its concentration."""
_GATED_RULES = ((r'\.mlp\.fc1\.', '.mlp.w12.'), (r'\.mlp\.fc2\.', '.mlp.w3.'))
_DECODER = 'depth_model.decoder'
_TOKENS = f'{_DECODER}.token2feature'
_STEP = f'{_DECODER}.update_block'


class Geometry(NamedTuple):
    """What the network sees in N images.

    Attributes:
        depth: (N, 1, H, W), in metres if the focal length were 1000 pixels.
        confidence: (N, 1, H, W), of the depth, as a regression gives it: not limited to 0..1.
        normals: (N, 3, H, W), of unit length, in the axes of the camera.
        concentration: (N, 1, H, W), how little the normals scatter; positive.
    """

    depth: Tensor
    confidence: Tensor
    normals: Tensor
    concentration: Tensor


class Metric3d(MonoNetwork):
    """A DINOv2 with registers, a first estimate by bins of depth, and GRUs that refine it.

    It is trained to give its largest depth, 200 m of a camera of 1000 pixels, for the sky. The
    authors cut depth off at 300 m of the camera at hand. The estimator gives +inf for both.

    Args:
        size: of the transformer; the widths of all other parts follow from its width.
        iterations: the default number of steps.
        taps: the blocks whose tokens the levels are made of, the finest first.
        norm: whether these tokens pass the transformer's last norm.
    """

    spec = ModelSpec(
        'metric3d',
        inputs=('image',),
        output='depth',
        value_range=(_NEAREST, _FARTHEST),
        saturates=True,
        max_depth=300.0,
        confidence='head',
        multiple=2 * PATCH,
        minimum=(2 * PATCH, 2 * PATCH),
        placement='centre',
        border='mean',
        preferred=Preferred(616, 'outside', longest=1064),
        canonical_focal=1000.0,
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'vit_small': {'size': 'small', 'iterations': 4, 'taps': (12,) * 4},
        'vit_large': {'size': 'large', 'iterations': 8, 'taps': (24,) * 4},
        'vit_giant2': {
            'size': 'giant',
            'iterations': 8,
            'taps': (10, 20, 30, 40),
            'norm': False,
        },
    }

    official_rules = (
        *Dinov2.official_rules,
        *RESIDUAL_RULES,
        (r'^encoder\.', 'depth_model.encoder.'),
        (r'\bblocks\.', 'blocks.0.'),
        (r'^readouts\.(\d)\.own\.', rf'{_TOKENS}.read_\1.readoper.project_patch.'),
        (r'^readouts\.(\d)\.common\.', rf'{_TOKENS}.read_\1.readoper.project_learn.'),
        (r'^to_quarter\.', f'{_TOKENS}.read_0.sample.0.'),
        (r'^to_seventh\.', f'{_TOKENS}.read_1.sample.'),
        *((rf'^fuse\.{i}\.', f'{_DECODER}.decoder_mono.upconv_{3 - i}.') for i in range(3)),
        (r'\.refine_skip\.', '.way_branch.'),
        (r'\.refine\.', '.way_trunk.'),
        (r'\.first\.', '.conv1.'),
        (r'\.second\.', '.conv2.'),
        (r'(upconv_\d)\.project\.', r'\1.out_conv.'),
        (r'^bins\.', f'{_DECODER}.depth_regressor.'),
        (r'^normals\.', f'{_DECODER}.normal_predictor.'),
        (r'^context\.to_gates\.', f'{_DECODER}.context_zqr_convs.'),
        *(
            (
                rf'^context\.{kind}_heads\.{level}\.',
                f'{_DECODER}.context_feature_encoder.outputs{scale}.{i}.',
            )
            for level, scale in enumerate(('04', '08', '16'))
            for i, kind in enumerate(('state', 'context'))
        ),
        (r'^depth_head\.0\.', f'{_STEP}.flow_head.conv1d.'),
        (r'^depth_head\.2\.', f'{_STEP}.flow_head.conv2d.'),
        (r'^normal_head\.0\.', f'{_STEP}.flow_head.conv1n.'),
        (r'^normal_head\.2\.', f'{_STEP}.flow_head.conv2n.'),
        (r'^mask_head\.', f'{_STEP}.mask.'),
    )
    official_aliases = SHORTCUT_ALIASES
    official_unused = (r'depth_model\.encoder\.mask_token',)

    anchors: Tensor

    def __init__(
        self, size: Size, iterations: int, taps: Sequence[int], norm: bool = True
    ) -> None:
        super().__init__()
        self.specify(iterations=iterations)
        self.taps = tuple(taps)
        self.norm = norm
        self.gated = size == 'giant'
        self.normalize = ImageNetNorm()
        self.encoder = Dinov2(size, registers=_REGISTERS)
        width = self.encoder.width
        quarter, seventh, hidden = width // 4, width // 2, width // 8
        self.readouts = nn.ModuleList(Readout(width, self.encoder.leading) for _ in taps)
        self.to_quarter = nn.Conv2d(width, quarter, 1)
        self.to_seventh = nn.ConvTranspose2d(width, seventh, 2, 2)
        self.fuse = nn.ModuleList(
            FusionBlock(inputs, outputs, skip=skip, rectified=True)
            for inputs, outputs, skip in (
                (width, width, False),
                (width, seventh, True),
                (seventh, quarter + 2, True),
            )
        )
        self.bins = head(quarter, _BINS, _BINS, kernel=1)
        anchors = torch.linspace(math.log(_NEAREST), math.log(_FARTHEST), _BINS).exp()
        self.register_buffer('anchors', anchors[:, None, None], persistent=False)
        self.normals = _normal_head(quarter, 128)
        self.context = Context((quarter, seventh, width), hidden)
        self.update = MultiLevelGru(3, hidden, motion=_ESTIMATE, halved=False)
        self.depth_head = head(hidden, hidden, 2)
        self.normal_head = head(hidden, hidden, 4)
        self.mask_head = head(hidden, hidden, 9 * _FACTOR**2, kernel=1)

    def forward(
        self, image: Tensor, iterations: int | None = None, confidence: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Map an image (N, 3, H, W) to depth (N, 1, H, W).

        Args:
            image: in 0..255; H and W are multiples of 28.
            iterations: number of steps; None stands for the network's default.
            confidence: whether to return the confidence too, (N, 1, H, W) in 0..1.

        Returns:
            Metres if the focal length were 1000 pixels; with another one they are proportional.
        """
        estimate, logits = self.estimate(image, iterations)
        fine = _enlarged(estimate[:, :2], logits)
        depth = _to_metres(fine[:, :1])
        return (depth, fine[:, 1:].clamp(0, 1)) if confidence else depth

    def geometry(self, image: Tensor, iterations: int | None = None) -> Geometry:
        """Give all that the network knows; see `forward` for the arguments."""
        fine = _enlarged(*self.estimate(image, iterations))
        depth, confidence, normals, concentration = fine.split((1, 1, 3, 1), 1)
        return Geometry(_to_metres(depth), confidence, *_normal(normals, concentration))

    def estimate(self, image: Tensor, iterations: int | None) -> tuple[Tensor, Tensor]:
        """Estimate at a quarter of the size of an image, see `forward`.

        Returns:
            The estimate (N, 6, H / 4, W / 4), and logits (N, 144, H / 4, W / 4) to enlarge it.
        """
        self.check_images(image)
        levels = self.levels(image)
        states, contexts = self.context(levels[:3])
        estimate = self.first_estimate(levels)
        for _ in self.steps(iterations):
            for finest in (2, 1, 0):  # coarse levels do more steps
                states = self.update(states, contexts, estimate, finest)
            step = self.depth_head(states[0]), self.normal_head(states[0])
            estimate = estimate + torch.cat(step, 1)
        return estimate, self.mask_head(states[0]) / 4  # the factor balances gradients

    def levels(self, image: Tensor) -> list[Tensor]:
        """Describe an image at 1/4, 1/7, 1/14 and again 1/14 of its size, see `Metric3d`.

        All but the finest one are behind a ReLU, since the authors' network applies it in place.
        """
        height, width = image.shape[-2:]
        numbers = sorted(set(self.taps))
        tapped = dict(
            zip(numbers, self.encoder(self.normalize(image), numbers, self.norm), strict=True)
        )
        fine, middle, *coarse = (
            patch_map(readout(tapped[tap]), height // PATCH, width // PATCH)
            for readout, tap in zip(self.readouts, self.taps, strict=True)
        )
        quarter = F.interpolate(self.to_quarter(fine), (height // 4, width // 4), mode='nearest')
        return [quarter, *(F.relu(x) for x in (self.to_seventh(middle), *coarse))]

    def first_estimate(self, levels: Sequence[Tensor]) -> Tensor:
        """Fuse the levels from coarse to fine to the estimate (N, 6, h, w) before all steps."""
        quarter, seventh, skip, coarsest = levels
        x = self.fuse[0](coarsest, size=coarsest.shape[-2:])
        x = self.fuse[1](x, skip, seventh.shape[-2:])
        x = self.fuse[2](x, seventh, quarter.shape[-2:])
        features, confidence, concentration = x[:, :-2], x[:, -2:-1], x[:, -1:]
        shares = self.bins(features).softmax(1)
        depth = (shares * self.anchors).sum(1, keepdim=True).clamp(_NEAREST, _FARTHEST)
        normal = _normal(self.normals(features), concentration)
        return torch.cat(((depth - _FARTHEST) / _UNIT, confidence, *normal), 1)

    def official_sources(self) -> dict[str, Source]:
        """Tell, for each of our entries, which official entries it comes from."""
        sources = super().official_sources()
        if self.gated:
            sources = {
                ours: Source((substitute(source.names[0], _GATED_RULES),))
                for ours, source in sources.items()
            }
        hidden = self.encoder.width // 8
        for level, scale in enumerate(('08', '16', '32')):
            official = f'{_STEP}.gru{scale}'
            sources |= gru_sources(f'update.grus.{level}', official, hidden)
        return sources


class Readout(nn.Module):
    """Joins each patch with what the tokens say that have no place in the image (DPT, 3.1).

    Args:
        width: channels of the tokens.
        leading: number of tokens before those of the patches.
    """

    def __init__(self, width: int, leading: int) -> None:
        super().__init__()
        self.count = leading
        self.own = nn.Linear(width, width)
        self.common = nn.Linear(leading * width, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (N, leading + L, width) to those of the patches (N, L, width)."""
        common = self.common(tokens[:, : self.count].flatten(1))
        return F.gelu(self.own(tokens[:, self.count :]) + common[:, None])


class Context(nn.Module):
    """Initial states and contexts of the GRUs, from a map each.

    Args:
        widths: channels of the maps, the finest first.
        hidden: channels of a state.
    """

    def __init__(self, widths: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.state_heads, self.context_heads = (
            nn.ModuleList(
                nn.Sequential(
                    ResidualBlock(width, hidden, norm='channel'),
                    nn.Conv2d(hidden, hidden, 3, padding=1),
                )
                for width in widths
            )
            for _ in range(2)
        )
        self.to_gates = nn.ModuleList(nn.Conv2d(hidden, 3 * hidden, 3, padding=1) for _ in widths)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Map (N, width, h, w) each to states (N, hidden, h, w) and the contexts of the gates.

        The contexts are (N, 3 * hidden, h, w), see `ConvGru`.
        """
        states = [torch.tanh(head(x)) for head, x in zip(self.state_heads, maps, strict=True)]
        contexts = [
            to_gates(F.relu(head(x)))
            for to_gates, head, x in zip(self.to_gates, self.context_heads, maps, strict=True)
        ]
        return states, contexts


def _normal_head(inputs: int, hidden: int) -> nn.Sequential:
    relu = nn.ReLU(inplace=True)
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 3, padding=1),
        relu,
        nn.Conv2d(hidden, hidden, 1),
        relu,
        nn.Conv2d(hidden, hidden, 1),
        relu,
        nn.Conv2d(hidden, 3, 1),
    )


def _normal(direction: Tensor, concentration: Tensor) -> tuple[Tensor, Tensor]:
    """Make normals (N, 3, h, w) of unit length, and their concentration (N, 1, h, w) positive."""
    length = direction.norm(dim=1, keepdim=True)
    return direction / (length + 1e-10), F.elu(concentration) + 1.01


def _enlarged(estimate: Tensor, logits: Tensor) -> Tensor:
    """Enlarge an estimate (N, C, h, w) to the size of the image; its values have no unit there."""
    return convex_upsample_coarse(estimate / _FACTOR, logits, _FACTOR)


def _to_metres(refined: Tensor) -> Tensor:
    """Turn refined depth into metres of the canonical camera."""
    return (_UNIT * refined + _FARTHEST).clamp(_NEAREST, _FARTHEST)
