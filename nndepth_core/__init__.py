"""Depth from stereo pairs and single images: geometry, engines, networks, tools. No ROS here."""

TYPE_CHECKING = False  # as in typing, which takes time to import
if TYPE_CHECKING:
    from nndepth_core.camera import CalibrationError, PinholeCamera, StereoCamera
    from nndepth_core.estimator import StereoEstimator, StereoResult

__version__ = '0.1.0'
__all__ = [
    'CalibrationError',
    'PinholeCamera',
    'StereoCamera',
    'StereoEstimator',
    'StereoResult',
]


def __getattr__(name: str) -> object:
    # Imported when first used, so that the command can handle Ctrl-C before it imports anything.
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module

    module = 'estimator' if name in ('StereoEstimator', 'StereoResult') else 'camera'
    return getattr(import_module(f'{__name__}.{module}'), name)
