"""The reference of the command line, from the parsers of the subcommands."""

from __future__ import annotations

import argparse
import importlib
import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from unittest.mock import patch

from nndepth_core.cli import COMMANDS

_WIDTH = '80'


class _Declared(BaseException):
    """Ends a command once its parser is declared; a BaseException, so that nothing handles it."""


def commands(only: str = '') -> str:
    """Write the reference of all subcommands, or of one."""
    with patch.dict('os.environ', {'COLUMNS': _WIDTH, 'NO_COLOR': '1'}):
        names = [only] if only else sorted(COMMANDS)
        return '\n\n'.join('\n\n'.join(_command(name)) for name in names)


def parser_of(name: str) -> argparse.ArgumentParser | None:
    """Return what a subcommand declares; None if it does not parse by argparse alone.

    Commands declare their parser where they use it, so one is run up to there.
    """
    declared = []

    def declare(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        declared.append(parser)
        raise _Declared

    module = importlib.import_module(COMMANDS[name][0])
    with patch.multiple(
        argparse.ArgumentParser, parse_known_args=declare, parse_known_intermixed_args=declare
    ):
        try:
            module.main([])
        except _Declared:
            return declared[0]
    return None


def _command(name: str) -> Iterator[str]:
    yield f'## nndepth {name}'
    summary = COMMANDS[name][1]
    yield f'{summary[0].upper()}{summary[1:]}.'
    if name == 'train':  # its options follow from the classes that are trained
        yield f'```text\n{_help(name)}\n```'
        return
    parser = parser_of(name)
    assert parser is not None, name
    yield from _declared(parser)


def _declared(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Write the usage, then each argument with its meaning, then subcommands."""
    usage = parser.format_usage().removeprefix('usage: ').strip()
    lines = '\n'.join('    ' * (i > 0) + x.strip() for i, x in enumerate(usage.splitlines()))
    yield f'```text\n{lines}\n```'
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {x.dest: x.help for x in action._choices_actions}
            for key, below in action.choices.items():
                yield f'### {below.prog}'
                if summaries.get(key):
                    yield f'{summaries[key][0].upper()}{summaries[key][1:]}.'
                yield from _declared(below)
        elif not isinstance(action, argparse._HelpAction):
            yield f'{_name(action)}\n:   {_meaning(parser, action)}'


def _name(action: argparse.Action) -> str:
    value = action.metavar or (
        '{' + ','.join(map(str, action.choices)) + '}' if action.choices else ''
    )
    if not action.option_strings:
        return f'`{value or action.dest}`'
    value = value or (action.dest.upper() if action.nargs != 0 else '')
    return ', '.join(f'`{f"{option} {value}".strip()}`' for option in action.option_strings)


def _meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = (action.help or '') % {**vars(action), 'prog': parser.prog}
    text = re.sub(r'([\\*_<>|\[\]])', r'\\\1', f'{text[:1].upper()}{text[1:]}')
    return text or '&nbsp;'  # a definition needs a text


def _help(name: str) -> str:
    """What `nndepth NAME --help` prints."""
    out = io.StringIO()
    with redirect_stdout(out):
        try:
            importlib.import_module(COMMANDS[name][0]).main(['--help'])
        except SystemExit:
            pass
    return out.getvalue().strip()
