"""Procedural stereo: random scenes, ray-cast pairs with exact disparity, no assets.

geometry.py holds the primitives, textures.py what covers them, scene.py what stands where,
render.py makes pictures of it, and sequence.py plays camera.
"""

from nndepth_core.data.synthetic.render import StereoPicture, StereoRenderer
from nndepth_core.data.synthetic.scene import Light, Scene, SceneObject, drive_through, make_yard
from nndepth_core.data.synthetic.sequence import Sensor, render_sequence

__all__ = [
    'Light',
    'Scene',
    'SceneObject',
    'Sensor',
    'StereoPicture',
    'StereoRenderer',
    'drive_through',
    'make_yard',
    'render_sequence',
]
