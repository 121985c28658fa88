"""Fleets of bags on a Ray cluster of two processes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import bags
import pytest
from fleets import Deadly, pause, run_fleet

from nndepth_core.cli import main

ray = pytest.importorskip('ray')
TOPICS = ('--topics', 'disparity')


@pytest.fixture(scope='module')
def cluster() -> Iterator[str]:
    """The address of a cluster that works in two processes."""
    here = str(Path(__file__).parent)
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([here, root, os.environ.get('PYTHONPATH', '')])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RAY_AUTH_MODE', 'disabled')
        patch.setenv('PYTHONPATH', paths)
        context = ray.init('local', num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield context.address_info['address']
        ray.shutdown()


def _written(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.glob('*/*.mcap')}


def test_where_there_is_no_cluster_the_address_is_named(tmp_path, capsys):
    source = str(bags.write_bag(tmp_path / 'in', bags.frames(1)))
    address = ('--ray', 'nowhere')
    assert main(['replay', source, '--output', str(tmp_path / 'out'), *address]) == 2
    assert '--ray nowhere: there is no cluster; give' in capsys.readouterr().err


def test_what_ray_prints_at_its_end_is_no_result(monkeypatch, capsys):
    from nndepth_core.fleet.ray_pool import RayPool

    for name in ('init', 'shutdown'):
        monkeypatch.setattr(ray, name, lambda *_, name=name, **__: print(f'ray: {name}'))
    monkeypatch.setattr(ray, 'is_initialized', lambda: False)
    RayPool('local').close()
    print('result')
    printed = capsys.readouterr()
    assert printed.out == 'result\n'
    assert printed.err == 'ray: init\nray: shutdown\n'


def test_ray_gives_what_one_process_gives_although_workers_are_killed(tmp_path, cluster):
    from nndepth_core.fleet.ray_pool import RayPool

    sources = [
        str(bags.write_bag(tmp_path / name, bags.frames(n)))
        for name, n in (('long', 30), ('short', 8))
    ]
    run_fleet(tmp_path / 'expected', *sources, *TOPICS)
    expected = _written(tmp_path / 'expected')
    flags = tmp_path / 'flags'
    flags.mkdir()
    pool = RayPool(cluster)
    assert pool.size == 2
    options = (*TOPICS, '--segment', '10')
    fleet, _ = run_fleet(tmp_path / 'out', *sources, *options, pool=Deadly(pool, 'long', flags))
    assert not [bag.reason for bag in fleet.bags if bag.reason]
    assert _written(tmp_path / 'out') == expected
    assert len([*flags.iterdir()]) == 5
    fleet, _ = run_fleet(tmp_path / 'again', *sources, *TOPICS, pool=Deadly(pool, 'short', None))
    assert [bag.reason.partition(':')[0] for bag in fleet.bags] == [
        '',
        'Ray lost its worker 3 times',
    ]


def test_the_command_on_a_cluster(tmp_path, cluster, capsys):
    source = str(bags.write_bag(tmp_path / 'a bag', bags.frames(4)))
    broken = tmp_path / 'broken.mcap'
    broken.write_bytes(b'no bag')
    arguments = [source, str(broken), '--output', str(tmp_path / 'out'), '--ray', cluster]
    assert main(['replay', '--model', bags.MODEL, *arguments]) == 1
    printed = capsys.readouterr()
    assert '1 of 2 bags finished' in printed.out
    assert 'broken.mcap cannot be read: it does not begin like a MCAP' in printed.err
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert [bag['state'] for bag in report['each']] == ['done', 'failed']


def test_evaluating_on_a_cluster(cluster, capsys):
    pytest.importorskip('jsonargparse')
    data = ('--data', 'ProceduralStereo', '--data.size', '[64, 96]', '--data.length', '9')
    found = []
    for options in ((), ('--ray', cluster)):
        assert main(['evaluate', 'sgbm', *data, '--json', '-', *options]) == 0
        (model,) = json.loads(capsys.readouterr().out)['models']
        found.append([(it['name'], it['metrics']) for it in model['samples']])
    assert len(found[0]) == 9
    assert found[0] == found[1]


def test_the_end_interrupts_what_runs(cluster):
    from nndepth_core.fleet.ray_pool import RayPool

    pool = RayPool(cluster)
    endless = pool.submit(pause)
    pool.close()
    assert isinstance(endless.exception(30), CancelledError)
