"""Points in space as a sparse depth image."""

from __future__ import annotations

import numpy as np

from nndepth_core.camera import PinholeCamera


def project_points(points: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Project points by P; of several in one pixel, the nearest counts.

    Args:
        points: float (N, 3), x, y, z in metres in the frame from which P projects; those that are
            not finite or not in front of the camera are left out.
        camera: the camera, at the size of the result.

    Returns:
        float32 (H, W), metres along the optical axis, NaN where no point is.
    """
    x, y, z = (points.astype(np.float64) - camera.position).T
    with np.errstate(all='ignore'):
        columns = np.rint(camera.fx * x / z + camera.cx)
        rows = np.rint(camera.fy * y / z + camera.cy)
        seen = (z > 0) & (columns >= 0) & (columns < camera.width)
        seen &= (rows >= 0) & (rows < camera.height)
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    np.minimum.at(depth, (rows[seen].astype(int), columns[seen].astype(int)), z[seen])
    depth[np.isinf(depth)] = np.nan
    return depth
