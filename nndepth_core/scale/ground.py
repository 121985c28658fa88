"""The scale of inverse depth from the height of the camera above a flat ground.

With the unit vector (a, b, c) that points down, in optical axes, the ground at the height h below
the camera has the inverse depth (a x + b y + c) / h at the pixel whose ray is (x, y, 1). So the
map of a network is linear over the ground too: A x + B y + C. Scale and shift turn one into the
other; since they are unknown, c and the shift cannot be told apart, and one of them must be known.
It is c = sin(pitch). A and B then give the roll, and the scale cos(pitch) / (h |(A, B)|).
"""

from __future__ import annotations

import math

import numpy as np

from nndepth_core.camera import PinholeCamera
from nndepth_core.scale.fit import Scale, ScaleError, thinned
from nndepth_core.scale.robust import fit_linear
from nndepth_core.spec import Output

LARGEST_PITCH = 60.0
"""Degrees; a camera that looks down more steeply sees too little of how depth changes."""
LARGEST_ROLL = 30.0
"""Degrees; a plane that leans more is no ground."""
BEND = 0.25
"""The largest residual of a plane, as a share of the standard deviation of the map on it."""
_BELOW_HORIZON = 0.05
"""The share of the height of the image next to the horizon that is not used."""
_LEAST_ROWS = 0.1
_ENDS = (2, 98)


def fit_ground(
    values: np.ndarray,
    camera: PinholeCamera,
    height: float,
    pitch: float = 0.0,
    output: Output = 'inverse_depth',
) -> Scale:
    """Find the scale and shift with which the ground is at its known distance.

    It is assumed that more than half of the lower half of the image, as far as it lies below the
    horizon, shows a flat ground, and that the pitch is right: an error of d degrees in the pitch
    shifts all inverse depths by about 0.017 d / height.

    Args:
        values: float (H, W), the map of a network, NaN where unknown.
        camera: the camera, at the size of the map.
        height: of the camera above the ground, metres.
        pitch: degrees by which the camera looks down, negative for up.
        output: what the map holds; only 'inverse_depth' is linear over a plane.

    Raises:
        ScaleError: the map holds something else, the ground is not in sight, or what is seen in
            its place is no plane that comes nearer towards the lower border.
        ValueError: height or pitch have no meaning.
    """
    if not 0 < height < math.inf:
        raise ValueError(f'the height of the camera is {height}; it must be positive, in metres')
    if not abs(pitch) <= LARGEST_PITCH:
        raise ValueError(f'the pitch is {pitch}; it must be in +-{LARGEST_PITCH:g} degrees')
    if output != 'inverse_depth':
        raise ScaleError(
            'scale_output',
            f'the model gives {output.replace("_", " ")}, over which a plane is not linear; use '
            'another source for the scale',
        )
    design, target = _lower_image(values, camera, math.radians(pitch))
    fit = fit_linear(design, target)
    across, down, ahead = fit.coefficients.tolist()
    steepness = math.hypot(across, down)
    roll = math.degrees(math.atan2(across, down))
    if not steepness or fit.residual > BEND * fit.spread or abs(roll) > LARGEST_ROLL:
        raise ScaleError(
            'scale_no_ground',
            'the lower part of the image shows no flat ground that comes nearer towards its lower '
            f'border (residual {fit.residual:.3g} of {fit.spread:.3g}, roll {roll:.0f} degrees)',
        )
    factor = math.cos(math.radians(pitch)) / (height * steepness)
    shift = math.sin(math.radians(pitch)) / height - factor * ahead
    low, high = np.percentile(target[fit.inliers], _ENDS).tolist()
    inliers = int(fit.inliers.sum())
    return Scale(factor, shift, factor * fit.residual, inliers, len(target), (low, high))


def _lower_image(
    values: np.ndarray, camera: PinholeCamera, pitch: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y, 1) and the map for pixels where the ground may be; float64 (N, 3), (N,)."""
    rows = values.shape[0]
    horizon = camera.cy - camera.fy * math.tan(pitch)
    first = math.ceil(max(rows / 2, horizon + _BELOW_HORIZON * rows))
    if rows - first < _LEAST_ROWS * rows:
        raise ScaleError(
            'scale_horizon',
            f'the horizon is at row {horizon:.0f} of {rows}, so that too little ground is in '
            'sight; are pitch and calibration right?',
        )
    x, y = camera.rays()
    lower = values[first:]
    known = np.isfinite(lower)
    if known.sum() < _LEAST_ROWS * lower.size:
        raise ScaleError('scale_no_ground', 'the lower part of the image has no estimate')
    at = np.nonzero(known)
    taken = thinned(x[at[1]], y[first:][at[0]], lower[at])
    across, down, target = (part.astype(np.float64) for part in taken)
    return np.stack([across, down, np.ones_like(across)], axis=1), target
