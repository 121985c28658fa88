"""The model library: networks by name. Only making a model imports torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nndepth_core.third_party import register, registered_names, third_party

if TYPE_CHECKING:
    from nndepth_core.models.base import Network

__all__ = ['create_model', 'model_names', 'network_class', 'register']

_NETWORKS = {
    'crestereo': ('nndepth_core.models.crestereo', 'CreStereo'),
    'dcvnet': ('nndepth_core.models.dcvnet', 'DcvNet'),
    'depth_anything_3': ('nndepth_core.models.depth_anything_3', 'DepthAnything3'),
    'depth_anything_v1': ('nndepth_core.models.depth_anything_v1', 'DepthAnythingV1'),
    'depth_anything_v2': ('nndepth_core.models.depth_anything_v2', 'DepthAnythingV2'),
    'gmstereo': ('nndepth_core.models.gmstereo', 'GmStereo'),
    'igev_stereo': ('nndepth_core.models.igev_stereo', 'IgevStereo'),
    'las2': ('nndepth_core.models.las2', 'Las2'),
    'lea_stereo': ('nndepth_core.models.lea_stereo', 'LeaStereo'),
    'light_stereo': ('nndepth_core.models.light_stereo', 'LightStereo'),
    'metric3d': ('nndepth_core.models.metric3d', 'Metric3d'),
    'midas_dpt': ('nndepth_core.models.midas_dpt', 'MidasDpt'),
    'midas_small': ('nndepth_core.models.midas_small', 'MidasSmall'),
    'mobile_stereonet': ('nndepth_core.models.mobile_stereonet', 'MobileStereoNet'),
    'moge2': ('nndepth_core.models.moge2', 'Moge2'),
    'nano_mono': ('nndepth_core.models.nano_mono', 'NanoMono'),
    'nano_stereo': ('nndepth_core.models.nano_stereo', 'NanoStereo'),
    'raft_stereo': ('nndepth_core.models.raft_stereo', 'RaftStereo'),
    'rt_igev': ('nndepth_core.models.rt_igev', 'RtIgev'),
    'scv_stereo': ('nndepth_core.models.scv_stereo', 'ScvStereo'),
    'stereo_mae': ('nndepth_core.models.stereo_mae', 'StereoMae'),
    'unidepth': ('nndepth_core.models.unidepth', 'Unidepth'),
    'zoe_depth': ('nndepth_core.models.zoe_depth', 'ZoeDepth'),
}


def model_names() -> tuple[str, ...]:
    """Names that `create_model` knows."""
    return (*_NETWORKS, *registered_names())


def network_class(name: str) -> type[Network]:
    """Import and return the class of a network.

    Args:
        name: one of `model_names()`, or the dotted path of a class.

    Raises:
        ValueError: the name is unknown, or the path cannot be imported.
    """
    if (other := third_party(name)) is not None:
        return other
    if name not in _NETWORKS:
        raise ValueError(f'model {name!r} is unknown; choose one of {", ".join(_NETWORKS)}')
    module, cls = _NETWORKS[name]
    return getattr(import_module(module), cls)


def find_variant(name: str, variant: str | None = None) -> str:
    """Return the name of a variant that a network has; None takes the first.

    Raises:
        ValueError: the network or its variant is unknown.
    """
    variants = network_class(name).variants
    variant = next(iter(variants)) if variant is None else variant
    if variant not in variants:
        raise ValueError(f'{name} has no variant {variant!r}; choose one of {", ".join(variants)}')
    return variant


def create_model(name: str, variant: str | None = None, **settings: Any) -> Network:
    """Make a network with fresh weights, in eval mode.

    Args:
        name: a name of `model_names()`.
        variant: a name of the class's `variants`; None takes the first.
        settings: constructor arguments that replace those of the variant.

    Raises:
        ValueError: the name or the variant is unknown, or a setting is out of its range.
    """
    cls = network_class(name)
    variant = find_variant(name, variant)
    cls.check_ranges(settings)
    model = cls(**{**cls.variants[variant], **settings})
    model.specify(variant=variant)
    return model.eval()
