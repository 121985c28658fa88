"""The `nndepth` command: each subcommand has a module, which is imported when it is used."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper

from nndepth_core import __version__
from nndepth_core.cli import signals
from nndepth_core.cli.saying import saying_logs
from nndepth_core.cli.table import table

_TRACEBACK = 'NNDEPTH_TRACEBACK'

# Every module offers main(arguments) -> exit code, and most begin it with `command_parser`.
COMMANDS = {
    'app': ('nndepth_core.cli.app', 'serve a page that estimates the depth of dropped images'),
    'compare': ('nndepth_core.cli.compare', 'show two models side by side on the same images'),
    'config': ('nndepth_core.cli.config', 'print the settings of a class as commented YAML'),
    'data': ('nndepth_core.cli.data', 'look at a data set and whether its truth is right'),
    'evaluate': ('nndepth_core.cli.evaluate', 'measure errors and speed of models on a data set'),
    'export': ('nndepth_core.cli.export', 'write a network and its weights to an ONNX file'),
    'infer': ('nndepth_core.cli.infer', 'estimate disparity and depth of pairs or single images'),
    'mae': ('nndepth_core.cli.mae', 'show what a masked autoencoder fills in'),
    'models': ('nndepth_core.cli.models', 'list networks, published figures and stored weights'),
    'pseudo-label': (
        'nndepth_ros.pseudo_label_command',
        'make images with depth from a bag',
    ),
    'replay': ('nndepth_ros.replay.command', 'run a recorded ROS bag through the estimator'),
    'train': ('nndepth_core.cli.train', 'train or fine-tune a network'),
    'view': (
        'nndepth_core.cli.view',
        'look at images and depth in rerun or Foxglove',
    ),
    'weights': ('nndepth_core.cli.weights', 'list, show, import, fetch, locate or remove weights'),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0: everything is done. 1: a part is done. 2: the input or the arguments are wrong. 70: the
    fault is in nndepth. 130 or 143: SIGINT or SIGTERM ended the command. 141: nobody reads the
    output.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names of files may hold what it cannot encode
            stream.reconfigure(errors='backslashreplace')
    with signals.interruptible() as interruption, saying_logs():
        try:
            code = _run(arguments, interruption)
            _flush()
            return code
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except (Exception, KeyboardInterrupt) as error:
            # what a library makes of the interruption may be another exception
            if interruption.number or isinstance(error, KeyboardInterrupt):
                print(signals.MESSAGE, file=sys.stderr)
                return interruption.exit_code
            return _failed(error)


def tell(text: str) -> None:
    """Print a result, however long it is."""
    with _naming_output():
        print(text)


def _flush() -> None:
    """Write out what was printed."""
    with _naming_output():
        sys.stdout.flush()


@contextmanager
def _naming_output() -> Iterator[None]:
    """Name standard output in an error of the system, and let nothing write to it again."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, 'standard output') from error


def _replace_closed_streams() -> None:
    """Replace each standard stream that was closed before the start by one that leads nowhere.

    They are opened in the order of their descriptors, so that no other file gets one of these.
    """
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _run(arguments: list[str], interruption: signals.Interruption) -> int:
    summaries = table([(f'  {name}', summary) for name, (_, summary) in COMMANDS.items()])
    parser = argparse.ArgumentParser(
        'nndepth',
        usage='nndepth [--help] [--version] COMMAND ...',
        description='Depth from stereo pairs and single images, with or without ROS.',
        epilog=f'commands:\n{summaries}\n\n`nndepth COMMAND --help` explains one of them.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'nndepth {__version__}')
    parser.add_argument('command', choices=COMMANDS, metavar='COMMAND', help='one of those below')
    command = parser.parse_args(arguments[:1]).command
    module = importlib.import_module(COMMANDS[command][0])
    interruption.orderly = True
    return module.main(arguments[1:])


def command_parser(name: str) -> argparse.ArgumentParser:
    """Make the parser of a command without any arguments yet."""
    return argparse.ArgumentParser(f'nndepth {name}', description=COMMANDS[name][1])


def _failed(error: Exception) -> int:
    from nndepth_core.cli.errors import EXPECTED_ERRORS
    from nndepth_core.third_party import fault_of_others

    if isinstance(error, MemoryError):
        print('nndepth: error: memory ran out; give smaller or fewer images', file=sys.stderr)
        return 2
    if isinstance(error, EXPECTED_ERRORS):
        print(f'nndepth: error: {explain(error)}', file=sys.stderr)
        return 2
    if os.environ.get(_TRACEBACK):
        raise error
    if fault := fault_of_others(error):
        print(f'nndepth: error: {fault}', file=sys.stderr)
        return 2
    place = traceback.extract_tb(error.__traceback__)[-1]
    print(
        f'nndepth: error: a fault of nndepth: {type(error).__name__} at line {place.lineno} of '
        f'{place.filename}: {explain(error)}; report it with what {_TRACEBACK}=1 shows',
        file=sys.stderr,
    )
    return 70


def explain(error: BaseException) -> str:
    """Say in one line what is wrong."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        from nndepth_core.cli.errors import EXTRA_OF

        package = error.name.partition('.')[0]
        cure = (
            f'pip install "nndepth[{extra}]"' if (extra := EXTRA_OF.get(package)) else 'install it'
        )
        return f'the Python package {package} is not installed; {cure}'
    if isinstance(error, OSError) and error.filename:
        return f'{error.filename}: {error.strerror}'
    return ' '.join(str(error).split())
