"""The examples of clusters hold what the programs that read them need."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from nndepth_ros.fleet.command import parser

FOLDER = Path(__file__).parents[2] / 'config' / 'fleet'
ROOT = FOLDER.parents[1]
PIN = re.search(r'ray\[default\]==(\S+)', (ROOT / 'requirements' / 'fleet.txt').read_text())


def _check_command(text: str) -> None:
    program, command, *arguments = shlex.split(text)
    assert (Path(program).name, command) == ('nndepth', 'replay')
    args = parser().parse_intermixed_args(arguments)
    assert args.ray == 'auto'
    assert args.output.is_absolute()


def test_the_kuberay_job():
    job = yaml.safe_load((FOLDER / 'rayjob.yaml').read_text())
    assert (job['apiVersion'], job['kind']) == ('ray.io/v1', 'RayJob')
    _check_command(job['spec']['entrypoint'])
    cluster = job['spec']['rayClusterSpec']
    assert PIN is not None
    assert cluster['rayVersion'] == PIN[1]
    groups = [cluster['headGroupSpec'], *cluster['workerGroupSpecs']]
    output = Path(parser().parse_args(shlex.split(job['spec']['entrypoint'])[2:]).output)
    for group in groups:
        pod = group['template']['spec']
        (container,) = pod['containers']
        (mount,) = container['volumeMounts']
        assert mount['name'] in [volume['name'] for volume in pod['volumes']]
        assert Path(mount['mountPath']) in output.parents
        assert container['resources']['requests'] == container['resources']['limits']
        assert all(isinstance(value, str) for value in group['rayStartParams'].values())


def test_the_cluster_of_ray_up():
    text = (FOLDER / 'ray_cluster.yaml').read_text()
    config = yaml.safe_load(text)
    count = len(config['provider']['worker_ips'])
    assert config['min_workers'] == config['max_workers'] == count
    (command,) = re.findall(r"ray exec ray_cluster.yaml '(.*)'", text)
    _check_command(command)


def test_ray_takes_the_cluster():
    util = pytest.importorskip('ray.autoscaler._private.util')
    config = yaml.safe_load((FOLDER / 'ray_cluster.yaml').read_text())
    util.validate_config(util.prepare_config(config))
