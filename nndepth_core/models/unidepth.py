"""UniDepth V2: depth in metres from one image, with the rays of its camera or estimated ones.

Piccinelli et al., "UniDepthV2: Universal Monocular Metric Depth Estimation Made Simpler", arXiv
2502.20110; the prompting with rays is of "UniDepth", CVPR 2024, arXiv 2403.18913.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.fusion import ResidualConvUnit
from nndepth_core.blocks.norm import ImageNetNorm
from nndepth_core.blocks.resize import resize_antialiased, steps
from nndepth_core.encoders.dinov2 import PATCH, Dinov2, Size, patch_map
from nndepth_core.models.base import MonoNetwork
from nndepth_core.spec import ModelSpec

_EPSILON = 1e-5
_HEADS = 8
_ATTENDING = r'(?:camera\.blocks|prompt)'
_FINE = 32
"""Channels at the size of the image, in all variants."""
_LIMIT = 8.0
"""The largest magnitude of the logarithms that the heads give."""


class Geometry(NamedTuple):
    """What the network sees in N images.

    Attributes:
        depth: (N, 1, H, W), metres along the axis of the camera.
        radius: (N, 1, H, W), metres from the centre of the camera.
        error: (N, 1, H, W), which ranks the pixels of an image by how far off their logarithm of
            depth is; positive, without a unit. The authors call it confidence.
        rays: (N, 3, H, W), of unit length, x right, y down and z forward.
        intrinsics: (N, 3, 3), those that the network estimates, even where others are given.
    """

    depth: Tensor
    radius: Tensor
    error: Tensor
    rays: Tensor
    intrinsics: Tensor


class Unidepth(MonoNetwork):
    """A vision transformer whose tokens attend to the rays of the camera before they are decoded.

    An image is resized to a number of pixels. One whose aspect ratio is outside of 0.5 to 2.5 gets
    grey margins, which the authors add before they resize it, and the estimator afterwards.

    Args:
        size: of the transformer.
        taps: the blocks whose tokens are decoded, counted from one.
        channels: of the decoder's coarsest map.
        outputs: channels of the maps that the heads enlarge to the size of the image.
        camera: 'estimated' if the network itself finds the intrinsics, 'given' if they are an
            input. The weights are the same.
    """

    spec = ModelSpec(
        'unidepth',
        inputs=('image',),
        output='depth',
        value_range=None,
        confidence='head',
        multiple=PATCH,
        minimum=(2 * PATCH, 2 * PATCH),
        placement='centre',
        border='mean',
        aspect=(0.5, 2.5),
        pixels=(200_000, 600_000),
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'v2_vits14': {'size': 'small', 'taps': (3, 6, 9, 12), 'channels': 256, 'outputs': 32},
        'v2_vitb14': {'size': 'base', 'taps': (3, 6, 9, 12), 'channels': 384, 'outputs': 48},
        'v2_vitl14': {'size': 'large', 'taps': (6, 12, 18, 24), 'channels': 512, 'outputs': 64},
    }

    official_rules = (
        (rf'^({_ATTENDING}\..*)\.mlp\.0\.', r'\1.mlp.norm.'),
        (rf'^({_ATTENDING}\..*)\.mlp\.1\.', r'\1.mlp.proj1.'),
        (rf'^({_ATTENDING}\..*)\.mlp\.3\.', r'\1.mlp.proj2.'),
        (rf'^({_ATTENDING}\..*)\.query_norm\.', r'\1.norm_attnx.'),
        (rf'^({_ATTENDING}\..*)\.context_norm\.', r'\1.norm_attnctx.'),
        (rf'^({_ATTENDING}\..*)\.to_queries\.', r'\1.q.'),
        (rf'^({_ATTENDING}\..*)\.to_context\.', r'\1.kv.'),
        (rf'^({_ATTENDING}\..*)\.merge\.', r'\1.out.'),
        (r'^(camera\.)places$', r'\1latents_pos'),
        (r'^(camera\.)blocks\.0\.', r'\1aggregate1.'),
        (r'^(camera\.)blocks\.1\.', r'\1aggregate2.'),
        (r'^(camera\.)(take|give)\.0\.', r'\1\2.norm.'),
        (r'^(camera\.)(take|give)\.1\.', r'\1\2.proj1.'),
        (r'^(camera\.)(take|give)\.3\.', r'\1\2.proj2.'),
        (r'^(camera\.)take\.', r'\1project.'),
        (r'^(camera\.)give\.', r'\1out_pinhole.'),
        *Dinov2.official_rules,
        (r'^encoder\.', 'pixel_encoder.'),
        (r'^adapt\.', 'pixel_decoder.input_adapter.input_adapters.'),
        (r'^adapt_class\.', 'pixel_decoder.camera_token_adapter.input_adapters.'),
        (r'^camera\.', 'pixel_decoder.camera_layer.'),
        (r'^prompt\.(\d)\.', r'pixel_decoder.depth_layer.prompt_camera.\1.layers.0.'),
        (r'^start\.', 'pixel_decoder.depth_layer.to_latents.'),
        (r'^take\.', 'pixel_decoder.depth_layer.process_features.'),
        (r'^refine\.(\d)\.', r'pixel_decoder.depth_layer.ups.\1.convs.'),
        (r'^narrow\.(\d)\.', r'pixel_decoder.depth_layer.ups.\1.up.'),
        (r'\.first\.', '.conv1.'),
        (r'\.second\.', '.conv2.'),
        (r'\.scale$', '.gamma'),
        (r'^radius\.mix\.', 'pixel_decoder.depth_layer.depth_mlp.2.'),
        (r'^error\.mix\.', 'pixel_decoder.depth_layer.confidence_mlp.'),
        (r'^radius\.', 'pixel_decoder.depth_layer.to_depth_'),
        (r'^error\.', 'pixel_decoder.depth_layer.to_confidence_'),
        (r'_coarse\.', '_lr.'),
        (r'_fine\.', '_hr.'),
    )
    official_unused = (
        r'pixel_encoder\.(register_tokens|mask_token)',
        r'pixel_decoder\.level_embeds',
    )

    def __init__(
        self,
        size: Size,
        taps: Sequence[int],
        channels: int,
        outputs: int,
        camera: Literal['estimated', 'given'] = 'estimated',
    ) -> None:
        super().__init__()
        if camera not in ('estimated', 'given'):
            raise ValueError(f'camera is {camera!r}; it must be estimated or given')
        if camera == 'given':
            self.specify(inputs=('image', 'intrinsics'))
        self.taps = tuple(taps)
        self.normalize = ImageNetNorm()
        self.encoder = Dinov2(size, excess=0.0, epsilon=_EPSILON)
        width = self.encoder.width
        self.adapt = nn.ModuleList(nn.Linear(width, channels) for _ in taps)
        self.adapt_class = nn.ModuleList(nn.Linear(width, channels) for _ in taps)
        self.camera = CameraHead(channels)
        self.prompt = nn.ModuleList(CrossAttention(channels) for _ in taps)
        self.start = nn.Linear(channels, channels)
        widths = (channels, channels, channels // 2, channels // 4)
        self.take = nn.ModuleList(
            nn.ConvTranspose2d(channels, wide, 2**level, 2**level)
            for level, wide in enumerate(widths[:3])
        )
        self.refine = nn.ModuleList(
            nn.Sequential(
                *(ResidualConvUnit(wide, activate=F.leaky_relu, scaled=True) for _ in range(2))
            )
            for wide in widths[:3]
        )
        self.narrow = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide, less, 1), nn.Upsample(scale_factor=2, mode='bilinear'))
            for wide, less in pairwise(widths)
        )
        self.radius = Readout(widths[3], outputs)
        self.error = Readout(widths[3], outputs)

    def forward(
        self, image: Tensor, intrinsics: Tensor | None = None, confidence: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Map an image (N, 3, H, W) to depth in metres (N, 1, H, W).

        Args:
            image: in 0..255; H and W are multiples of 14.
            intrinsics: (N, 3, 3) in pixels of the image, whose first pixel has its centre at 0;
                None estimates them.
            confidence: whether to return the confidence too, (N, 1, H, W): 1 / (1 + error), so
                that it is in 0..1 and the better the larger (see `Geometry`).
        """
        features, rays, _ = self.describe(image, intrinsics)
        depth = _radius(self.radius(features, image)) * rays[:, 2:]
        return (depth, (-_clipped(self.error(features, image))).sigmoid()) if confidence else depth

    def geometry(self, image: Tensor, intrinsics: Tensor | None = None) -> Geometry:
        """Give all that the network knows; see `forward` for the arguments."""
        features, rays, classes = self.describe(image, intrinsics)
        radius = _radius(self.radius(features, image))
        error = _clipped(self.error(features, image)).exp()
        estimated = self.camera(classes, *image.shape[-2:])
        return Geometry(radius * rays[:, 2:], radius, error, rays, estimated)

    def describe(self, image: Tensor, intrinsics: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Compute what the heads share.

        Returns:
            Features (N, channels / 4, 8 H / 14, 8 W / 14), the rays (N, 3, H, W) and the class
            tokens (N, taps, channels).
        """
        self.check_images(image)
        height, width = image.shape[-2:]
        tapped = self.encoder(self.normalize(image), self.taps)
        classes = torch.stack(
            [adapt(x[:, 0]) for adapt, x in zip(self.adapt_class, tapped, strict=True)], 1
        )
        if intrinsics is None:
            intrinsics = self.camera(classes, height, width)
        rays = pixel_rays(intrinsics, height, width)
        rows, columns = height // PATCH, width // PATCH
        code = ray_code(rays, rows, columns, self.start.in_features)
        levels = [
            prompt(adapt(x[:, 1:]), code)
            for prompt, adapt, x in zip(self.prompt, self.adapt, tapped, strict=True)
        ]
        x = patch_map(self.start(levels[0]), rows, columns)
        for tokens, take, refine, narrow in zip(
            levels[1:], self.take, self.refine, self.narrow, strict=True
        ):
            x = narrow(refine(x + take(patch_map(tokens, rows, columns))))
        return x, rays, classes


class CrossAttention(nn.Module):
    """Tokens attend to a context, and pass an MLP; both are added to them.

    Args:
        channels: width of the tokens and of the context.
        scaled: whether both have a learned factor for each channel before they are added.
    """

    def __init__(self, channels: int, *, scaled: bool = False) -> None:
        super().__init__()
        self.width = channels // _HEADS
        self.query_norm = nn.LayerNorm(channels)
        self.context_norm = nn.LayerNorm(channels)
        self.to_queries = nn.Linear(channels, channels, bias=False)
        self.to_context = nn.Linear(channels, 2 * channels, bias=False)
        self.merge = nn.Linear(channels, channels, bias=False)
        self.mlp = _mlp(channels, 4 * channels, channels)
        self.attention_scale = nn.Parameter(torch.ones(channels)) if scaled else 1.0
        self.mlp_scale = nn.Parameter(torch.ones(channels)) if scaled else 1.0

    def forward(self, tokens: Tensor, context: Tensor, places: Tensor | None = None) -> Tensor:
        """Map tokens (N, L, channels) to the same shape.

        Args:
            tokens: what is updated.
            context: (N, S, channels), where keys and values come from.
            places: (1, L, channels), added to the queries.
        """
        queries = self.to_queries(self.query_norm(tokens))
        if places is not None:
            queries = queries + places
        keys, values = self.to_context(self.context_norm(context)).chunk(2, 2)
        queries, keys, values = (
            x.unflatten(2, (_HEADS, self.width)).transpose(1, 2) for x in (queries, keys, values)
        )
        # Given the scale, the exporter does not compute it from shapes in each layer.
        mixed = F.scaled_dot_product_attention(queries, keys, values, scale=self.width**-0.5)
        attended = self.merge(mixed.transpose(1, 2).flatten(2))
        tokens = tokens + self.attention_scale * attended
        return tokens + self.mlp_scale * self.mlp(tokens)


class CameraHead(nn.Module):
    """Estimates the intrinsics of a pinhole camera, one number from each of four class tokens."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.places = nn.Parameter(0.02 * torch.randn(1, 4, channels))
        self.take = _mlp(channels, channels, channels)
        self.blocks = nn.ModuleList(CrossAttention(channels, scaled=True) for _ in range(2))
        self.give = _mlp(channels, channels, 1)

    def forward(self, classes: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
        """Map class tokens (N, 4, channels) to intrinsics (N, 3, 3) of an image of a size.

        The focal lengths are multiples of the diagonal, the principal point lies in the image.
        """
        tokens = self.take(classes)
        for block in self.blocks:
            tokens = block(tokens, tokens, self.places)
        raw = self.give(tokens)
        diagonal = (height * height + width * width) ** 0.5
        fx, fy = (0.7 * diagonal * raw[:, :2].exp()).unbind(1)
        cx, cy = (
            size * share - 0.5
            for size, share in zip((width, height), raw[:, 2:].sigmoid().unbind(1), strict=True)
        )
        none, one = torch.zeros_like(fx), torch.ones_like(fx)
        return torch.stack((fx, none, cx, none, fy, cy, none, none, one), 2).view(-1, 3, 3)


class Readout(nn.Module):
    """Turns features into one map of the size of the image.

    Args:
        channels: of the features.
        outputs: channels of the map that is enlarged.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, channels))
        self.coarse = nn.Conv2d(channels, outputs, 3, padding=1, padding_mode='reflect')
        self.fine = nn.Sequential(
            nn.Conv2d(outputs, _FINE, 3, padding=1, padding_mode='reflect'),
            nn.LeakyReLU(),
            nn.Conv2d(_FINE, 1, 1),
        )

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        """Map features (N, channels, h, w) to (N, 1, H, W) for an image (..., H, W)."""
        x = self.coarse(self.mix(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        x = F.interpolate(x, image.shape[-2:], mode='bilinear', align_corners=True)
        return self.fine(x)


def pixel_rays(intrinsics: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
    """Rays (N, 3, height, width) of unit length through the pixels of a pinhole camera.

    Args:
        intrinsics: (N, 3, 3) in pixels; the first pixel has its centre at 0.
        height: rows of the image; a tensor without dimensions while a graph is traced.
        width: columns of the image, likewise.
    """
    places = steps(width, intrinsics.device), steps(height, intrinsics.device)
    across, down = (
        (place - intrinsics[:, axis, 2:]) / intrinsics[:, axis, axis, None]
        for axis, place in enumerate(places)
    )
    x, y = torch.broadcast_tensors(across[:, None], down[:, :, None])
    return F.normalize(torch.stack((x, y, torch.ones_like(x)), 1), dim=1, eps=1e-5)


def ray_code(rays: Tensor, rows: int | Tensor, columns: int | Tensor, channels: int) -> Tensor:
    """Encode the rays through patches by sines of their polar angle and of their azimuth.

    Args:
        rays: (N, 3, H, W).
        rows: of patches; a tensor without dimensions while a graph is traced.
        columns: of patches, likewise.
        channels: of the code; its first half is for the polar angle.

    Returns:
        (N, rows * columns, channels).
    """
    seen = F.normalize(resize_antialiased(rays, rows, columns), dim=1, eps=1e-4)
    x, y, z = seen.flatten(2).unsqueeze(3).unbind(1)
    away = torch.where(x < 0, -1.0, 1.0) * x.abs().clamp(min=1e-3)  # keeps off the axis
    angles = z.acos(), torch.atan2(y, away)
    # A comparison of traced sizes would fix its result in the graph; this is half the longer side.
    halves = (rows + columns + cast(int, abs(rows - columns))) // 4
    finest = torch.as_tensor(halves, device=rays.device).float()
    frequencies = math.pi * finest ** torch.linspace(0, 1, channels // 2, device=rays.device)
    return torch.cat([(angle * frequencies).sin() for angle in angles], 2)


def _mlp(channels: int, hidden: int, outputs: int) -> nn.Sequential:
    """A layer norm and two linear layers."""
    return nn.Sequential(
        nn.LayerNorm(channels),
        nn.Linear(channels, hidden),
        nn.GELU(),
        nn.Linear(hidden, outputs),
    )


def _clipped(logarithm: Tensor) -> Tensor:
    return logarithm.clamp(-_LIMIT, _LIMIT)


def _radius(logarithm: Tensor) -> Tensor:
    return (_clipped(logarithm) + 2).exp()
