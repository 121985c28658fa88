"""Real nodes over real DDS, on a domain of this test run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
os.environ.setdefault(
    'FASTRTPS_DEFAULT_PROFILES_FILE',
    str(Path(__file__).parents[2] / 'config' / 'fastdds.xml'),
)


@pytest.fixture(scope='session')
def ros():
    rclpy = pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    rclpy.init()
    yield rclpy
    rclpy.try_shutdown()


@pytest.fixture
def make_rig(ros):
    """Return a function that starts a stereo node and its tester; all are ended after the test."""
    pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
    from rig import Rig

    rigs = []

    def make(**options) -> Rig:
        rigs.append(Rig(**options))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture(params=['rclpy', 'rosbags'], scope='module')
def library(request):
    """The message classes of either library."""
    from library import of_rclpy, of_rosbags

    return of_rclpy() if request.param == 'rclpy' else of_rosbags()
