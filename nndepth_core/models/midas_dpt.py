"""MiDaS 3.1 through the transformers library: transformers with a dense prediction head (DPT).

Birkl, Wofk and Mueller, "MiDaS v3.1 - A Model Zoo for Robust Monocular Relative Depth
Estimation", arXiv 2307.14460; the head is that of Ranftl et al., ICCV 2021, arXiv 2103.13413.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor

from nndepth_core.models.library_network import BEIT_NAMES, LibraryNetwork, beit_settings
from nndepth_core.models.midas_names import MIDAS_ALIASES, MIDAS_UNUSED, split_timm_attention
from nndepth_core.spec import ModelSpec, Preferred

Backbone = Literal['beit', 'swin2']

_STEP = 32
_BEIT_BASE = {'width': 768, 'depths': (12,), 'heads': (12,), 'neck': (96, 192, 384, 768)}
_SWIN2_384 = {
    'backbone': 'swin2',
    'side': 384,
    'depths': (2, 2, 18, 2),
    'window': 24,
    'pretrained': (12, 12, 12, 6),
}
_BEIT_LARGE = {'width': 1024, 'depths': (24,), 'heads': (16,), 'neck': (256, 512, 1024, 1024)}


class MidasDpt(LibraryNetwork):
    """A vision transformer, BEiT or Swin V2, with a dense prediction head.

    BEiT takes any size; Swin V2 takes the square that it was trained with, to which the images
    are resized without regard to their aspect ratio, as the authors do.

    Args:
        backbone: 'beit' or 'swin2'.
        side: the side of the square of the training, in pixels.
        width: channels of the transformer, of its first stage with Swin V2.
        depths: layers of the stages; BEiT has one stage.
        heads: attention heads of the stages.
        neck: channels of the four maps that the head takes.
        window: side of the windows of Swin V2, in tokens.
        pretrained: sides of the windows of the pre-training of Swin V2, 0 where they are the same.
        fusion: channels of the head.
    """

    spec = ModelSpec(
        'midas_dpt',
        inputs=('image',),
        output='inverse_depth',
        value_range=None,
        multiple=_STEP,
        minimum=(_STEP, _STEP),
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'swin2_tiny': {
            'backbone': 'swin2',
            'side': 256,
            'width': 96,
            'depths': (2, 2, 6, 2),
            'heads': (3, 6, 12, 24),
            'neck': (96, 192, 384, 768),
            'window': 16,
        },
        'swin2_base': {
            **_SWIN2_384,
            'width': 128,
            'heads': (4, 8, 16, 32),
            'neck': (128, 256, 512, 1024),
        },
        'swin2_large': {
            **_SWIN2_384,
            'width': 192,
            'heads': (6, 12, 24, 48),
            'neck': (192, 384, 768, 1536),
        },
        'beit_base': {'backbone': 'beit', 'side': 384, **_BEIT_BASE},
        'beit_large': {'backbone': 'beit', 'side': 384, **_BEIT_LARGE},
        'beit_large_512': {'backbone': 'beit', 'side': 512, **_BEIT_LARGE},
    }
    ranges: ClassVar[dict[str, tuple[float, float]]] = {'window': (0, 64), 'fusion': (8, 1024)}
    stable_names = BEIT_NAMES
    official_aliases = (*MIDAS_ALIASES, (r'^scratch\.output_conv\.', 'head.head.'))
    official_unused = MIDAS_UNUSED

    def __init__(
        self,
        backbone: Backbone,
        side: int,
        width: int,
        depths: Sequence[int],
        heads: Sequence[int],
        neck: Sequence[int],
        window: int = 0,
        pretrained: Sequence[int] = (0, 0, 0, 0),
        fusion: int = 256,
    ) -> None:
        super().__init__()
        if backbone not in ('beit', 'swin2'):
            raise ValueError(f'backbone is {backbone!r}; choose beit or swin2')
        if backbone == 'swin2' and not window:
            raise ValueError('window is 0, which has no patches; give the one of the weights')
        if backbone == 'beit':
            self.specify(preferred=Preferred(side, 'closest'))
            (layers,), (count,) = depths, heads
            settings = beit_settings(side, width, layers, count)
        else:
            self.specify(fixed_size=(side, side))
            settings = _swin2(side, width, depths, heads, window, pretrained)
        head = {
            'hidden_size': neck[-1],
            'neck_hidden_sizes': list(neck),
            'fusion_hidden_size': fusion,
            'add_projection': False,
        }
        self.adopt(
            lambda library: library.DPTForDepthEstimation(
                library.DPTConfig(backbone_config=library.AutoConfig.for_model(**settings), **head)
            )
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, 3, H, W) to its inverse depth, (N, 1, H, W)."""
        self.check_images(image)
        return self.network(image * (2 / 255) - 1).predicted_depth.unsqueeze(1)

    def unified(self, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Network`; splits what the authors' files hold as one matrix."""
        return super().unified(split_timm_attention(official))


def _swin2(
    side: int,
    width: int,
    depths: Sequence[int],
    heads: Sequence[int],
    window: int,
    pretrained: Sequence[int],
) -> dict[str, Any]:
    """The library's settings of Swin V2, whose stages are the four taps."""
    return {
        'model_type': 'swinv2',
        'image_size': side,
        'embed_dim': width,
        'depths': list(depths),
        'num_heads': list(heads),
        'window_size': window,
        'pretrained_window_sizes': list(pretrained),
        'out_features': [f'stage{stage}' for stage in (1, 2, 3, 4)],
    }
