"""The arguments of `nndepth view` that say where and how results are shown."""

from __future__ import annotations

import argparse
from pathlib import Path

from nndepth_core import clouds
from nndepth_core.cli import options
from nndepth_core.clouds import CloudSettings
from nndepth_core.view import SinkSettings
from nndepth_core.view.sink import HOST, PORT, SUFFIXES

OF_CLOUD = {name: text for name, text in clouds.MEANING.items() if name != 'voxel_sigmas'}
EPILOG = """
exit code: 0 if all was shown; 1 if some images failed; 2 for wrong input or arguments, if nothing
could be shown, or if the viewer was closed before all was shown; 130 or 143 if SIGINT or SIGTERM
ended it, which is how a camera and a server end (what was shown is in the file).
"""


def add_sink_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where results are shown."""
    add = parser.add_argument
    add(
        '--to',
        choices=tuple(SUFFIXES.values()),
        help='the viewer: rerun opens a window; foxglove is served by WebSocket; default: that of '
        'the file of --save, else rerun',
    )
    add(
        '--save',
        type=Path,
        metavar='FILE',
        help='write a recording in place of showing it, for which no display is needed: FILE.rrd '
        'for rerun, or FILE.mcap for Foxglove',
    )
    add('--overwrite', action='store_true', help='replace the file of --save')
    add(
        '--connect',
        default='',
        metavar='URL',
        help='show it in a rerun viewer that runs, such as rerun+http://127.0.0.1:9876/proxy',
    )
    add(
        '--memory-limit',
        default=SinkSettings.memory_limit,
        metavar='SIZE',
        help='the memory of the rerun viewer that is opened, such as 4GB, or a share; it drops '
        'the oldest images beyond that; default: %(default)s'.replace('75%', '75%%'),
    )
    add('--host', default=HOST, help='the address to serve Foxglove at; default: %(default)s')
    add(
        '--port',
        type=int,
        default=PORT,
        metavar='N',
        help='the port to serve Foxglove at, 0 for a free one; default: %(default)s',
    )
    options.add_depth_arguments(parser)
    options.add_group(parser, 'cloud', CloudSettings, OF_CLOUD)
    parser.set_defaults(cloud_voxel_size=0.0, cloud_voxel_sigmas=0.0)
    add(
        '--confidence',
        action='store_true',
        help='show the confidence of stereo models too that have none of their own, for which '
        'they run twice',
    )


def sink_settings(args: argparse.Namespace, live: bool = False) -> SinkSettings:
    """What the arguments say of where results are shown; a ValueError says what is wrong."""
    suffix = args.save.suffix if args.save else ''
    return SinkSettings(
        args.to or SUFFIXES.get(suffix, 'rerun'),
        args.save,
        args.overwrite,
        args.connect,
        args.memory_limit,
        args.host,
        args.port,
        live,
    )
