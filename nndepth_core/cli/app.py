"""`nndepth app`: a page in the browser to try models on images of one's own."""

from __future__ import annotations

import argparse
import errno
import os
import socket
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from nndepth_core.app.actions import AnyEstimator, model_choices
from nndepth_core.cli import command_parser, options
from nndepth_core.cli.model_options import MODEL_HELP
from nndepth_core.engines import DEVICES, EngineError, check_names
from nndepth_core.estimator import DEFAULT_MODEL, load_estimator
from nndepth_core.files.writing import temporary_folder

FIRST_PORT, PORTS = 7860, 100


def main(arguments: Sequence[str]) -> int:
    """Serve the page until a signal ends the command."""
    args = _parser().parse_args(arguments)
    check_names(args.model, 'auto', args.device)
    port = _free_port(args.host, args.port)
    with temporary_folder(Path(tempfile.gettempdir())) as folder:
        os.environ |= {  # read when Gradio and ONNX Runtime are imported
            'GRADIO_TEMP_DIR': str(folder / 'gradio'),
            'GRADIO_ANALYTICS_ENABLED': 'False',
            'ORT_DISABLE_TELEMETRY': '1',
            'no_proxy': _without_proxy(args.host),  # Gradio asks its own server whether it is up
        }
        try:
            from nndepth_core.app.page import served
        except ModuleNotFoundError as error:
            raise EngineError(
                f'the page needs {error.name}; pip install "nndepth[app]"'
            ) from error

        def load(model: str) -> AnyEstimator:
            estimator = load_estimator(model, device=args.device, align_rows=True)
            estimator.self_test()
            return estimator

        models = _models(args.model)
        with served(load, args.host, port, args.max_pixels, models, folder) as address:
            print(f'open {address} in a browser; Ctrl-C ends it', flush=True)
            threading.Event().wait()
    return 0


def _models(first: str) -> list[tuple[str, str]]:
    """Label and name of each model, that of the option in front."""
    models = model_choices()
    if first not in (name for _, name in models):
        models.insert(0, (first, first))
    return sorted(models, key=lambda choice: choice[1] != first)


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
        help=f'the model that is chosen at first: {MODEL_HELP}; default: %(default)s',
    )
    add(
        '--device',
        default='auto',
        help=f'where models run: one of {", ".join(DEVICES)}; default: %(default)s',
    )
    options.add_max_pixels(parser)
    return parser


def _without_proxy(host: str) -> str:
    """The hosts that are reached without a proxy, this machine among them."""
    given = os.environ.get('no_proxy') or os.environ.get('NO_PROXY')
    return ','.join(filter(None, (given, 'localhost', '127.0.0.1', host)))


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
