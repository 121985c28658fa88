"""The `nndepth` command: one module a subcommand, imported only when it is used."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from nndepth_core import __version__
from nndepth_core.engines import EngineError

# A module offers add_arguments(parser) and run(args) -> exit code, or main(arguments) -> exit code
# where argparse alone cannot know all arguments.
COMMANDS = {
    'compare': ('nndepth_core.cli.compare', 'two models side by side on the same images'),
    'config': ('nndepth_core.cli.config', 'the settings of a class as commented YAML'),
    'data': ('nndepth_core.cli.data', 'samples of a data set, and whether their truth is right'),
    'evaluate': ('nndepth_core.cli.evaluate', 'errors and speed of models on a data set'),
    'export': ('nndepth_core.cli.export', 'a network and its weights to an ONNX file'),
    'infer': ('nndepth_core.cli.infer', 'disparity and depth of image pairs'),
    'models': ('nndepth_core.cli.models', 'networks, published figures and weights at hand'),
    'replay': ('nndepth_ros.replay_command', 'run a recorded ROS bag through the estimator'),
    'train': ('nndepth_core.cli.train', 'train or fine-tune a network'),
    'weights': ('nndepth_core.cli.weights', 'list, import, fetch and locate weights'),
}

EXPECTED_ERRORS = (ValueError, OSError, ModuleNotFoundError, EngineError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 done, 1 done in part, 2 wrong input or arguments, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = arguments[0] if arguments else ''
    parser = argparse.ArgumentParser(
        'nndepth', description='Depth from stereo pairs, with or without ROS.'
    )
    parser.add_argument('--version', action='version', version=f'nndepth {__version__}')
    subparsers = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    try:
        for name, (path, summary) in COMMANDS.items():
            subparser = subparsers.add_parser(name, help=summary, description=summary)
            if name == chosen:
                module = importlib.import_module(path)
                if hasattr(module, 'main'):
                    return module.main(arguments[1:])
                module.add_arguments(subparser)
        args = parser.parse_args(arguments)
        return module.run(args)
    except EXPECTED_ERRORS as error:
        print(f'nndepth: error: {explain(error)}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def explain(error: BaseException) -> str:
    """One line that says what is wrong."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f'the Python package {error.name} is not installed; install it'
    if isinstance(error, OSError) and error.filename:
        return f'{error.filename}: {error.strerror}'
    return ' '.join(str(error).split())
