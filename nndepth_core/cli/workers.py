"""The arguments that say which processes do the work."""

from __future__ import annotations

import argparse
import os

import cv2

from nndepth_core.cli import options, wording
from nndepth_core.cli.saying import say_logs
from nndepth_core.fleet import LocalPool, Pool


def add_pool_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Declare the arguments that `pool_of` reads.

    Args:
        parser: where to declare them.
        default: what is done without them.
    """
    group = parser.add_argument_group('workers')
    group.add_argument(
        '--workers',
        type=options.count,
        default=0,
        metavar='N',
        help=f'processes of this machine, which share its cores; default: {default}',
    )
    group.add_argument(
        '--ray',
        type=options.text,
        metavar='ADDRESS',
        help='a Ray cluster in their place: its address, auto on one of its machines, or local to '
        "start one here; needs pip install 'nndepth[fleet]'",
    )
    group.add_argument(
        '--ray-cpus',
        type=options.positive,
        default=1.0,
        metavar='N',
        help='cores that Ray keeps for each task; default: %(default)g',
    )
    group.add_argument(
        '--ray-gpus',
        type=float,
        default=0.0,
        metavar='SHARE',
        help='the share of a GPU that Ray keeps for each task, such as 0.5; default: none',
    )


def in_worker(args: argparse.Namespace, folder: str) -> None:
    """Prepare a worker for arguments of the command, which was started in a folder.

    Args:
        args: with `worker_threads`, see `Pool.threads`.
        folder: from which paths start; there may be none on other machines.
    """
    say_logs()
    if os.path.isdir(folder):
        os.chdir(folder)
    cv2.setNumThreads(args.worker_threads)


def pool_of(args: argparse.Namespace, workers: int = 0) -> Pool | None:
    """Make the workers that were asked for.

    Args:
        args: what `add_pool_arguments` has declared.
        workers: how many processes to take where nothing is said; 0 for none.

    Returns:
        The pool, which is to be closed; `args.worker_threads` holds its threads. None if no other
        process is to work.

    Raises:
        ValueError: both kinds are named, there is no such cluster, or options for Ray come
            without --ray.
    """
    if args.ray and args.workers:
        raise ValueError('--workers and --ray are both given; give one of them')
    for name, default in (('ray_cpus', 1.0), ('ray_gpus', 0.0)):
        if not args.ray and getattr(args, name) != default:
            raise ValueError(f'{wording.flag(name)} is for Ray; give --ray, or leave it out')
    if args.ray:
        from nndepth_core.fleet.ray_pool import RayPool

        pool: Pool = RayPool(args.ray, args.ray_cpus, args.ray_gpus)
    elif count := args.workers or workers:
        pool = LocalPool(count)
    else:
        return None
    args.worker_threads = pool.threads
    return pool
