"""Procedural stereo pairs: random scenes with exact disparity, made without other files.

There are two renderers. The first casts rays through a yard that a camera drives through, for the
demo: geometry.py holds the primitives, textures.py their textures, scene.py the objects of the
yard, render.py makes images of it, and sequence.py drives through it. The second makes endless
pairs for training, and is fast: layouts.py arranges patches (patches.py) with materials
(materials.py) that mipmap.py shrinks, and procedural.py is the data set. sensor.py adds the flaws
of real cameras.
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
