"""What is logged: every severity from one place, and no kind of message fills the log."""

from __future__ import annotations

import itertools
import logging
from functools import partial
from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
import rclpy.logging
from hypothesis import given
from hypothesis import strategies as st

from nndepth_core.plausibility import Level
from nndepth_core.plausibility.findings import RANGE_SETTINGS
from nndepth_ros.log import (
    BURST,
    PERIOD,
    CoreLogHandler,
    LogLimiter,
    NodeLog,
    as_parameters,
    describe,
    printable,
)

METHODS = ('error', 'warning', 'info')


def test_cures_of_the_library_are_those_of_a_node():
    said = as_parameters(f'lower processing_size, or search farther ({RANGE_SETTINGS})')
    assert said == (
        'lower processing_width and processing_height, or search farther (max_disparity in '
        'network_settings, sgbm.num_disparities)'
    )
    assert as_parameters('my_processing_size') == 'my_processing_size'


def test_every_order_of_severities_is_logged(capfd):
    """Rclpy raises where one line of code logs two severities."""
    log = NodeLog(rclpy.logging.get_logger('orders'))
    for number, order in enumerate(itertools.permutations(Level)):
        for level in order:
            log.say(level, f'kind {number} {level.name}', f'message {number} {level.name}')
    said = ''.join(capfd.readouterr())
    for number, level in itertools.product(range(6), Level):
        assert f'message {number} {level.name}' in said


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from('ab')), max_size=200))
def test_a_kind_is_logged_a_few_times_and_then_rarely(steps):
    now = 0.0
    limiter = LogLimiter(lambda: now)
    said = left_out = 0
    for pause, text in steps:
        now += pause
        admitted = limiter.admit('kind', text)
        said += admitted is not None
        left_out += admitted or 0
    assert said <= BURST + now / PERIOD + 1e-6
    assert said + left_out <= len(steps)
    assert said >= bool(steps)


def test_what_was_left_out_is_counted_and_kinds_do_not_share():
    now = 0.0
    limiter = LogLimiter(lambda: now)
    answers = [limiter.admit('flapping', f'text {i}') for i in range(100)]
    assert answers == [0] * BURST + [None] * (100 - BURST)
    assert limiter.admit('another', 'text') == 0
    now = PERIOD
    assert limiter.admit('flapping', 'text') == 100 - BURST


def test_the_same_text_is_news_only_after_a_while():
    now = 0.0
    limiter = LogLimiter(lambda: now)
    assert [limiter.admit('kind', 'same') for _ in range(3)] == [0, None, None]
    now = PERIOD
    assert limiter.admit('kind', 'same') == 2


def test_texts_that_utf8_cannot_hold_are_logged(capfd):
    assert printable('model \udcff.onnx') == 'model \\udcff.onnx'
    NodeLog(rclpy.logging.get_logger('odd')).say(Level.ERROR, 'kind', 'file \udcff')
    assert 'file \\udcff' in ''.join(capfd.readouterr())


def test_exceptions_are_described_by_what_helps():
    assert describe(ValueError('size is 3')) == 'size is 3'
    assert describe(RuntimeError()) == 'RuntimeError: '
    assert describe(ZeroDivisionError('division by zero')) == 'ZeroDivisionError: division by zero'


def test_what_the_library_logs_is_handed_on():
    said: list[tuple[str, str]] = []
    logger = SimpleNamespace(
        **{name: partial(lambda n, text: said.append((n, text)), name) for name in METHODS}
    )
    core, handler = logging.getLogger('nndepth_core.any'), CoreLogHandler(NodeLog(logger))
    logging.getLogger('nndepth_core').addHandler(handler)
    try:
        core.warning('device %s is not there', 'cuda')
        core.error('broken')
    finally:
        logging.getLogger('nndepth_core').removeHandler(handler)
    assert said == [('warning', 'device cuda is not there'), ('error', 'broken')]


def test_nothing_is_logged_by_a_node_that_has_ended():
    said: list[str] = []
    logger = SimpleNamespace(**dict.fromkeys(METHODS, said.append))
    NodeLog(logger, alive=lambda: False).say(Level.ERROR, 'kind', 'text')
    assert said == []
