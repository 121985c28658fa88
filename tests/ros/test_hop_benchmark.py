"""What the measurement of a hop makes of what both processes found."""

from __future__ import annotations

import math

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
hop_benchmark = pytest.importorskip('nndepth_ros.hop_benchmark', reason='it is not built')

Hop, Way = hop_benchmark.Hop, hop_benchmark.Way
MS = 1_000_000


def measured(arrived: list[dict[str, int]]) -> Hop:
    sent = {str(number): 1000 * MS * number for number in (5, 6, 7, 8)}
    return Hop.of('any', 'reliable', {'sent': sent, 'cpu': 0.02}, {'arrived': arrived, 'cpu': 0.3})


def test_a_pair_is_there_when_its_later_image_is():
    left = {'5': 5003 * MS, '6': 6009 * MS, '8': 8001 * MS}
    right = {'5': 5007 * MS, '6': 6002 * MS, '7': 7001 * MS}
    hop = measured([left, right])
    assert (hop.sent, hop.received) == (4, 2)
    assert (hop.p50, hop.p95) == (pytest.approx(8), pytest.approx(8.9))
    assert (hop.camera_cpu, hop.node_cpu) == (pytest.approx(5), pytest.approx(150))


def test_nothing_came():
    hop = measured([{'5': 5003 * MS}, {}])
    assert (hop.sent, hop.received) == (4, 0)
    assert math.isnan(hop.p50)
    assert '0 of 4' in hop_benchmark.report([hop], [])


def test_what_is_not_installed_or_fails_has_one_line(monkeypatch):
    def measure(way, reliability, *settings):
        if way.title == 'broken':
            raise hop_benchmark.HopError('it fails')
        return Hop(way.title, reliability, 9, 8, 1.26, 2.0, 3.0, 4.0)

    ways = [Way('here', 'rmw_a'), Way('broken', 'rmw_a'), Way('absent', 'rmw_b')]
    monkeypatch.setattr(hop_benchmark, '_measure', measure)
    monkeypatch.setattr(hop_benchmark, 'ways', lambda: ways)
    monkeypatch.setattr(hop_benchmark, 'get_resources', lambda _: {'rmw_a': '/opt'})
    hops, missing = hop_benchmark.measure_hops((64, 48), 9, 10.0)
    assert [(hop.way, hop.reliability) for hop in hops] == [
        ('here', 'best effort'),
        ('here', 'reliable'),
    ]
    assert missing == [
        'broken, best effort: it fails',
        'broken, reliable: it fails',
        'absent: rmw_b is not installed',
    ]
    lines = hop_benchmark.report(hops, missing).splitlines()
    assert lines[1].split() == [
        'here',
        'best',
        'effort',
        '8',
        'of',
        '9',
        '1.3',
        '2.0',
        '3.0',
        '4.0',
    ]
    assert lines[3:] == missing
    assert hop_benchmark.as_json(hops, missing)['hops'][1]['received'] == 8
