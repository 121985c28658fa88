"""Depth from stereo pairs and single images: geometry, engines, networks, tools. No ROS here."""

TYPE_CHECKING = False  # as in typing, which takes time to import
if TYPE_CHECKING:
    from nndepth_core.camera import CalibrationError, PinholeCamera, StereoCamera
    from nndepth_core.estimator import (
        DepthResult,
        MonoEstimator,
        StereoEstimator,
        StereoResult,
        load_estimator,
    )

__version__ = '0.1.0'
__all__ = [
    'CalibrationError',
    'DepthResult',
    'MonoEstimator',
    'PinholeCamera',
    'StereoCamera',
    'StereoEstimator',
    'StereoResult',
    'load_estimator',
]


def __getattr__(name: str) -> object:
    # Imported when first used, so that the command can handle Ctrl-C before it imports anything.
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module

    in_camera = name in ('CalibrationError', 'PinholeCamera', 'StereoCamera')
    module = 'camera' if in_camera else 'estimator'
    return getattr(import_module(f'{__name__}.{module}'), name)
