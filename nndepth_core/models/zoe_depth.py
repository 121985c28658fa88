"""ZoeDepth through the transformers library: metres from one image, by bins that adapt to it.

Bhat, Birkl, Wofk, Wonka and Mueller, "ZoeDepth: Zero-shot Transfer by Combining Relative and
Metric Depth", arXiv 2302.12288.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from nndepth_core.models.library_network import (
    BEIT_NAMES,
    LibraryNetwork,
    beit_settings,
    split_projections,
)
from nndepth_core.models.midas_names import MIDAS_ALIASES, MIDAS_UNUSED, split_timm_attention
from nndepth_core.spec import ModelSpec, Preferred

_NEAREST = 1e-3
"""The smallest depth in metres."""
_BEIT_LARGE = {
    'width': 1024,
    'layers': 24,
    'heads': 16,
    'neck': (256, 512, 1024, 1024),
    'fusion': 256,
}
_IN_ROUTER = r'(patch_transformer\..+\.self_attn)\.in_proj_(weight|bias)'


class ZoeDepth(LibraryNetwork):
    """MiDaS with BEiT, whose decoder's maps lead the centres of bins of depth to the image.

    A network of two domains has a head for each one. It decides which head an image needs for
    that image alone, where the authors decide once for a batch; for single images that is the
    same. Both heads are computed, so that an ONNX file decides too.

    Args:
        domains: the largest depth in metres by the name of a data set of the training.
        bounded: whether the bins end at the largest depth, which other bins may exceed. It scales
            their depth then: 80 for k, as in its training, where the file for the transformers
            library and the authors' torch.hub say 10 and give an eighth of the metres.
        columns: width in pixels of the images of the training, whose height is 384.
        width: of the transformer.
        layers: its depth, a multiple of four.
        heads: of its attention.
        neck: channels of the four maps that the decoder takes.
        fusion: channels of the decoder.

    Raises:
        MissingPackageError: transformers is not installed.
        ValueError: bounded bins are asked for in two domains.
    """

    spec = ModelSpec(
        'zoe_depth',
        inputs=('image',),
        output='depth',
        value_range=(0.0, 80.0),
        multiple=32,
        minimum=(32, 32),
        mirrored=3.0,
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'nk': {
            'domains': {'nyu': 10.0, 'kitti': 80.0},
            'bounded': False,
            'columns': 512,
            **_BEIT_LARGE,
        },
        'n': {'domains': {'nyu': 10.0}, 'bounded': False, 'columns': 512, **_BEIT_LARGE},
        'k': {'domains': {'kitti': 80.0}, 'bounded': True, 'columns': 768, **_BEIT_LARGE},
    }
    one_size_graph = True
    stable_names = BEIT_NAMES
    official_aliases = (  # the names of the authors' own files
        (r'^core\.core\.', ''),
        *MIDAS_ALIASES,
        *((rf'^scratch\.output_conv\.{2 * i}', f'relative_head.conv{i + 1}') for i in range(3)),
        (
            r'^(?=(conv2|seed_\w+|projectors|attractors|conditional_log_binomial'
            r'|patch_transformer|mlp_classifier)\.)',
            'metric_head.',
        ),
        (r'\._net\.0\.', '.conv1.'),
        (r'\._net\.2\.', '.conv2.'),
        (r'\.mlp_classifier\.0\.', '.mlp_classifier.linear1.'),
        (r'\.mlp_classifier\.2\.', '.mlp_classifier.linear2.'),
        (r'\.transformer_encoder\.layers\.', '.transformer_encoder.'),
    )
    official_unused = (*MIDAS_UNUSED, r'.+\.log_binomial_transform\.')

    def __init__(
        self,
        domains: Mapping[str, float],
        bounded: bool,
        columns: int,
        width: int,
        layers: int,
        heads: int,
        neck: Sequence[int],
        fusion: int,
    ) -> None:
        super().__init__()
        if bounded and len(domains) > 1:
            raise ValueError(f'bounded bins are of one domain; domains are {", ".join(domains)}')
        self.specify(
            value_range=(0.0, max(domains.values())),
            preferred=Preferred(384, 'closest', width=columns),
        )
        backbone = beit_settings(384, width, layers, heads)
        head = {
            'neck_hidden_sizes': list(neck),
            'fusion_hidden_size': fusion,
            'bottleneck_features': fusion,
            'bin_centers_type': 'normed' if bounded else 'softplus',
            'bin_configurations': [
                {'name': name, 'n_bins': 64, 'min_depth': _NEAREST, 'max_depth': largest}
                for name, largest in domains.items()
            ],
            'num_patch_transformer_layers': 4,
            'patch_transformer_hidden_size': 128,
            'patch_transformer_intermediate_size': 1024,
            'patch_transformer_num_attention_heads': 4,
        }
        self.adopt(
            lambda library: library.ZoeDepthForDepthEstimation(
                library.ZoeDepthConfig(
                    backbone_config=library.AutoConfig.for_model(**backbone), **head
                )
            )
        )
        stage = self.network.neck.reassemble_stage
        stage.forward = MethodType(_reassembled, stage)
        if len(domains) > 1:
            router = self.network.metric_head
            router.forward = MethodType(_routed, router)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, 3, H, W) to its depth in metres, (N, 1, H, W)."""
        self.check_images(image)
        return self.network(image * (2 / 255) - 1).predicted_depth.unsqueeze(1)

    def unified(self, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Network`; splits what the authors' files hold as one matrix."""
        split = split_projections(split_timm_attention(official), _IN_ROUTER, r'\1.{part}.\2')
        return super().unified(split)


def _reassembled(self: Any, tokens: Sequence[Tensor], rows: int, columns: int) -> list[Tensor]:
    """Turn the tokens of four layers into maps, one layer after the other.

    The library stacks the layers along the batch, which binds an exported graph to one batch size.

    Args:
        self: the stage of the library.
        tokens: (N, 1 + rows * columns, width) each, the class token first.
        rows: of patches.
        columns: of patches.
    """
    maps = []
    for values, project, layer in zip(tokens, self.readout_projects, self.layers, strict=True):
        patches = values[:, 1:]
        whole = torch.cat((patches, values[:, :1].expand_as(patches)), -1)
        maps.append(layer(project(whole).transpose(1, 2).unflatten(2, (rows, columns))))
    return maps


def _routed(
    self: Any,
    outconv_activation: Tensor,
    bottleneck: Tensor,
    feature_blocks: Sequence[Tensor],
    relative_depth: Tensor,
) -> tuple[Tensor, Tensor]:
    """Compute the depth by the head of each domain, and take that of each image's own.

    Takes and returns what the library's heads of several domains do, which sum the votes of a
    batch and choose the head in Python, where the exporter cannot see it.
    """
    x = self.conv2(bottleneck)
    votes = self.mlp_classifier(self.patch_transformer(x)[:, 0])
    projected = (
        project(block) for project, block in zip(self.projectors, feature_blocks, strict=True)
    )
    embeddings = [self.seed_projector(x), *projected]
    first, second = (
        _depth(self, name, x, embeddings, outconv_activation) for name in self.seed_bin_regressors
    )
    is_first = votes[:, 0] >= votes[:, 1]
    return torch.where(is_first[:, None, None, None], first, second), votes


def _depth(
    head: Any, domain: str, x: Tensor, embeddings: Sequence[Tensor], features: Tensor
) -> Tensor:
    """Compute the depth by the bins of one domain, (N, 1, H, W)."""
    centres = head.seed_bin_regressors[domain](x)[1]
    steps = zip(head.attractors[domain], embeddings, embeddings[1:], strict=False)
    for attract, before, embedding in steps:
        centres = attract(embedding, centres, before)[0]
    centres, embedding = (
        F.interpolate(values, features.shape[-2:], mode='bilinear', align_corners=True)
        for values in (centres, embeddings[-1])
    )
    shares = head.conditional_log_binomial[domain](features, embedding)
    return (shares * centres).sum(1, keepdim=True)
