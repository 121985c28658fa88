"""Depth Anything V2 through the transformers library.

Yang et al., "Depth Anything V2", NeurIPS 2024, arXiv 2406.09414.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nndepth_core.blocks.norm import ImageNetNorm
from nndepth_core.models.library_network import (
    ATTENTION_NAMES,
    FUSION_NAMES,
    LibraryNetwork,
    split_projections,
)
from nndepth_core.spec import ModelSpec, Preferred

_PATCH = 14
_GRID = 37
"""Patches along a side of the images of the training, hence of the table of positions."""
_FUSED = r'pretrained\.blocks\.(\d+)\.attn\.qkv\.(\w+)'
_SPLIT = r'backbone.encoder.layer.\1.attention.attention.{part}.\2'
"""The authors' projection to queries, keys and values, which is one matrix; and ours."""


class DepthAnythingV2(LibraryNetwork):
    """A vision transformer (DINOv2) with a dense prediction head (DPT).

    The entries of its state dict are named as those of the files on Hugging Face.

    Args:
        width: of the transformer.
        layers: its depth.
        taps: the four layers whose tokens the head takes, counted from one.
        neck: channels of the four maps that these become.
        fusion: channels of the head.
        output: 'inverse_depth' or 'depth' in metres, as the weights were trained.
        max_depth: of weights for 'depth' alone the largest depth in metres, which they scale with;
            20 for those trained indoors, 80 outdoors. What lies beyond was left out of the
            training: where the sigmoid reaches its end, the estimator gives +inf.

    Raises:
        MissingPackageError: transformers is not installed.
        ValueError: `output` or `max_depth` is none.
    """

    spec = ModelSpec(
        'depth_anything_v2',
        inputs=('image',),
        output='inverse_depth',
        value_range=None,
        multiple=_PATCH,
        minimum=(_PATCH, _PATCH),
        preferred=Preferred(_PATCH * _GRID, 'outside'),
    )
    one_size_graph = True
    stable_names = ATTENTION_NAMES
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'small': {
            'width': 384,
            'layers': 12,
            'taps': (3, 6, 9, 12),
            'neck': (48, 96, 192, 384),
            'fusion': 64,
        },
        'base': {
            'width': 768,
            'layers': 12,
            'taps': (3, 6, 9, 12),
            'neck': (96, 192, 384, 768),
            'fusion': 128,
        },
        'large': {
            'width': 1024,
            'layers': 24,
            'taps': (5, 12, 18, 24),
            'neck': (256, 512, 1024, 1024),
            'fusion': 256,
        },
    }

    official_aliases = (  # the names of the authors' own files
        (r'^pretrained\.(cls_token|mask_token)', r'backbone.embeddings.\1'),
        (r'^pretrained\.pos_embed', 'backbone.embeddings.position_embeddings'),
        (r'^pretrained\.patch_embed\.proj', 'backbone.embeddings.patch_embeddings.projection'),
        (r'^pretrained\.norm', 'backbone.layernorm'),
        (r'^pretrained\.blocks', 'backbone.encoder.layer'),
        (r'\.attn\.proj\.', '.attention.output.dense.'),
        (r'\.ls(\d)\.gamma', r'.layer_scale\1.lambda1'),
        (r'^depth_head\.projects\.(\d)', r'neck.reassemble_stage.layers.\1.projection'),
        (r'^depth_head\.resize_layers\.(\d)', r'neck.reassemble_stage.layers.\1.resize'),
        *FUSION_NAMES,
        (r'^depth_head\.scratch\.output_conv1', 'head.conv1'),
        (r'^depth_head\.scratch\.output_conv2\.0', 'head.conv2'),
        (r'^depth_head\.scratch\.output_conv2\.2', 'head.conv3'),
    )

    def __init__(
        self,
        width: int,
        layers: int,
        taps: Sequence[int],
        neck: Sequence[int],
        fusion: int,
        output: Literal['inverse_depth', 'depth'] = 'inverse_depth',
        max_depth: float | None = None,
    ) -> None:
        super().__init__()
        if output not in ('inverse_depth', 'depth'):
            raise ValueError(f'output is {output!r}; choose inverse_depth or depth')
        metric = output == 'depth'
        if metric and max_depth is None:
            raise ValueError(
                'output is depth and max_depth is missing; add max_depth=20 for weights that were '
                'trained indoors, max_depth=80 outdoors, or leave output out if they give inverse '
                'depth'
            )
        if max_depth is not None and not metric:
            raise ValueError(
                f'max_depth is {max_depth} and output is {output}, which has none; add '
                'output=depth if the weights give metres, or leave max_depth out'
            )
        if max_depth is not None and not 0 < max_depth < math.inf:
            raise ValueError(
                f'max_depth is {max_depth}; give the metres of the weights, 20 for those trained '
                'indoors, 80 outdoors'
            )
        value_range = (0.0, float(max_depth)) if max_depth else None
        self.specify(output=output, value_range=value_range, saturates=metric)
        self.factor = float(max_depth or 1)
        self.normalize = ImageNetNorm()
        backbone = {
            'image_size': _PATCH * _GRID,
            'patch_size': _PATCH,
            'hidden_size': width,
            'num_hidden_layers': layers,
            'num_attention_heads': width // 64,
            'out_indices': list(taps),
            'reshape_hidden_states': False,
        }
        head = {
            'patch_size': _PATCH,
            'reassemble_hidden_size': width,
            'neck_hidden_sizes': list(neck),
            'fusion_hidden_size': fusion,
            'depth_estimation_type': 'metric' if metric else 'relative',
            'max_depth': 1,
        }
        self.adopt(
            lambda library: library.DepthAnythingForDepthEstimation(
                library.DepthAnythingConfig(
                    backbone_config=library.Dinov2Config(**backbone), **head
                )
            )
        )
        embeddings = self.network.backbone.embeddings
        embeddings.interpolate_pos_encoding = MethodType(_positions, embeddings)

    @classmethod
    def settings_from_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Network`; the files of metric weights differ from others in nothing else."""
        if config.get('depth_estimation_type') != 'metric':
            return {}
        max_depth = config.get('max_depth')
        return {'output': 'depth'} | ({'max_depth': float(max_depth)} if max_depth else {})

    @classmethod
    def is_of_config(cls, variant: str, config: Mapping[str, Any]) -> bool:
        """See `Network`; the two versions differ in their taps alone."""
        taps = (config.get('backbone_config') or {}).get('out_indices')
        return taps is None or tuple(taps) == cls.variants[variant]['taps']

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, 3, H, W) to what `spec.output` says, (N, 1, H, W)."""
        self.check_images(image)
        return self.factor * self.network(self.normalize(image)).predicted_depth.unsqueeze(1)

    def unified(self, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Network`; splits what the authors' files hold as one matrix."""
        return super().unified(split_projections(official, _FUSED, _SPLIT))


def _positions(self: Any, tokens: Tensor, height: int, width: int) -> Tensor:
    """Resize the table of positions to the patches of an image of height x width.

    The authors give the interpolation the factor (n + 0.1) / 37, the library the size n, which
    samples the table elsewhere; weights expect the former.

    Returns:
        The class token's position and those of the patches, (1, 1 + patches, width).
    """
    table: Tensor = self.position_embeddings
    sides = int(height) // _PATCH, int(width) // _PATCH
    if sides == (_GRID, _GRID):
        return table
    grid = table[:, 1:].unflatten(1, (_GRID, _GRID)).permute(0, 3, 1, 2)
    factors = [(side + 0.1) / _GRID for side in sides]
    grid = F.interpolate(grid.float(), scale_factor=factors, mode='bicubic').to(table.dtype)
    return torch.cat((table[:, :1], grid.flatten(2).transpose(1, 2)), 1)
