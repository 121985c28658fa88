"""Procedural stereo: random scenes, exact disparity, no assets.

Two renderers. One casts rays through a yard that a camera drives through, for the demo:
geometry.py holds the primitives, textures.py what covers them, scene.py what stands where,
render.py makes pictures of it, and sequence.py drives. The other draws endless pairs to train on,
fast: layouts.py puts up patches.py, which materials.py covers and mipmap.py shrinks, and
procedural.py is the data set. sensor.py is how real cameras differ from perfect ones.
"""

from nndepth_core.data.synthetic.render import StereoPicture, StereoRenderer
from nndepth_core.data.synthetic.scene import Light, Scene, SceneObject, drive_through, make_yard
from nndepth_core.data.synthetic.sequence import render_sequence

__all__ = [
    'Light',
    'Scene',
    'SceneObject',
    'StereoPicture',
    'StereoRenderer',
    'drive_through',
    'make_yard',
    'render_sequence',
]
