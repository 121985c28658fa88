"""Real nodes over real DDS, on a domain of this test run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Examples take longer on a machine that does other work beside.
settings.register_profile('any_speed', deadline=None)
settings.load_profile('any_speed')
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
    yield from _rigs('Rig')


@pytest.fixture
def make_mono_rig(ros):
    """The same with a mono node."""
    yield from _rigs('MonoRig')


def _rigs(kind: str) -> Iterator[Callable[..., Any]]:
    pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
    import rig

    rigs: list[Any] = []

    def make(**options: Any) -> Any:
        rigs.append(getattr(rig, kind)(**options))
        return rigs[-1]

    yield make
    for made in rigs:
        made.close()


@pytest.fixture
def hold():
    """Return a function that makes a method tell when it is called, and wait until it is let go.

    It gives two events: the method was called, and it may go on.
    """
    events: list[threading.Event] = []

    def hold(target: Any, method: str) -> tuple[threading.Event, threading.Event]:
        call, called, go_on = getattr(target, method), threading.Event(), threading.Event()
        events.append(go_on)

        def held(*arguments: Any) -> Any:
            called.set()
            assert go_on.wait(20)
            return call(*arguments)

        setattr(target, method, held)
        return called, go_on

    yield hold
    for event in events:
        event.set()


@pytest.fixture(params=['rclpy', 'rosbags'], scope='module')
def library(request):
    """The message classes of either library."""
    from library import of_rclpy, of_rosbags

    return of_rclpy() if request.param == 'rclpy' else of_rosbags()
