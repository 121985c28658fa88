"""Eyes on the result: shows images and depth in the viewers rerun and Foxglove, without ROS."""

from nndepth_core.view.frame import Frame
from nndepth_core.view.sink import SinkSettings, SourceLostError, check_sink, view

__all__ = ['Frame', 'SinkSettings', 'SourceLostError', 'check_sink', 'view']
