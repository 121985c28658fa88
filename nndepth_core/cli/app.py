"""`nndepth app`: a page in the browser to try models on images of one's own."""

from __future__ import annotations

import argparse
import errno
import socket
import threading
from collections.abc import Sequence

from nndepth_core.cli import command_parser, options
from nndepth_core.engines import DEVICES, check_names
from nndepth_core.estimator import DEFAULT_MODEL, MonoEstimator, StereoEstimator, load_estimator

FIRST_PORT, PORTS = 7860, 100


def main(arguments: Sequence[str]) -> int:
    """Serve the page until a signal ends the command."""
    args = _parser().parse_args(arguments)
    try:
        from nndepth_core.app.actions import model_choices
        from nndepth_core.app.page import served
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the page needs {error.name}; pip install "nndepth[app]"'
        ) from error

    def load(model: str) -> StereoEstimator | MonoEstimator:
        estimator = load_estimator(model, device=args.device)
        estimator.self_test()
        return estimator

    check_names(args.model, 'auto', args.device)
    models = model_choices()
    models.sort(key=lambda choice: choice[1] != args.model)  # stable
    if models[0][1] != args.model:
        models.insert(0, (args.model, args.model))
    port = _free_port(args.host, args.port)
    with served(load, args.host, port, args.max_pixels, models) as address:
        print(f'open {address} in a browser; Ctrl-C ends it', flush=True)
        threading.Event().wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('app')
    add = parser.add_argument
    add(
        '--host',
        default='127.0.0.1',
        help='the address at which to listen; 0.0.0.0 lets other machines see the page, and '
        'whoever reaches it may use it; default: %(default)s',
    )
    add(
        '--port',
        type=int,
        default=0,
        help=f'the port; default: the first free one from {FIRST_PORT}',
    )
    add(
        '--model',
        default=DEFAULT_MODEL,
        help=f'the model that is chosen at first: {options.MODEL_HELP}; default: %(default)s',
    )
    add(
        '--device',
        default='auto',
        help=f'where models run: one of {", ".join(DEVICES)}; default: %(default)s',
    )
    options.add_max_pixels(parser)
    return parser


def _free_port(host: str, port: int) -> int:
    """Return a port at which this machine can listen.

    Raises:
        ValueError: it cannot at this address, or at no port that is allowed.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    for candidate in [port] if port else range(FIRST_PORT, FIRST_PORT + PORTS):
        try:
            socket.create_server((host, candidate), family=family).close()
        except OverflowError as error:
            raise ValueError(f'--port is {port}; give 1 to 65535') from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ValueError(
                    f'this machine cannot listen at {host}, port {candidate}: {error.strerror}; '
                    'give another --host or --port'
                ) from error
        else:
            return candidate
    taken = f'port {port} is' if port else f'ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are'
    raise ValueError(f'{taken} taken; give another --port')
