"""Metres for networks that give depth up to a scale and a shift, from depths that others measure.

`fit_scale` finds both from sparse true depths, `fit_ground` from the height of the camera above
the ground; both refuse with a `ScaleError` where they cannot be determined. `ScaleTracker` does so
in a stream, whose depths come later and less often than its images.
"""

from nndepth_core.scale.cloud import project_points
from nndepth_core.scale.fit import Scale, ScaleError, fit_scale
from nndepth_core.scale.ground import fit_ground
from nndepth_core.scale.result import ScaledResult
from nndepth_core.scale.tracker import ScaleTracker, TrackerSettings

__all__ = [
    'Scale',
    'ScaleError',
    'ScaleTracker',
    'ScaledResult',
    'TrackerSettings',
    'fit_ground',
    'fit_scale',
    'project_points',
]
