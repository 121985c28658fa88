"""Keeping a rate: cheaper ways to run a model, which of them is used, and what is skipped."""

from nndepth_core.pacing.camera_rate import CameraRate
from nndepth_core.pacing.controller import Controller
from nndepth_core.pacing.ladder import Ladder, Step, plan
from nndepth_core.pacing.mailbox import Mailbox
from nndepth_core.pacing.shortfall import Shortfall

__all__ = ['CameraRate', 'Controller', 'Ladder', 'Mailbox', 'Shortfall', 'Step', 'plan']
