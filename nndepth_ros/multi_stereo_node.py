"""Stereo nodes for several rigs in one process."""

from __future__ import annotations

from typing import Any

from nndepth_ros.process import run_node
from nndepth_ros.rigs_node import RigsNode
from nndepth_ros.stereo_node import StereoNode


class MultiStereoNode(RigsNode):
    """Runs a `StereoNode` for each rig."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('multi_stereo_node', StereoNode, 'stereo_node', **node_options)


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run_node(MultiStereoNode, args)


if __name__ == '__main__':
    raise SystemExit(main())
