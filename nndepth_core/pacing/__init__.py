"""Keeping a rate: cheaper ways to run a model, and which of them is used at present."""

from nndepth_core.pacing.camera_rate import CameraRate
from nndepth_core.pacing.controller import Controller
from nndepth_core.pacing.ladder import Ladder, Step, plan

__all__ = ['CameraRate', 'Controller', 'Ladder', 'Step', 'plan']
