"""The reference of the command line, from the parsers of the subcommands."""

from __future__ import annotations

import argparse
import importlib
import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from unittest.mock import patch

from nndepth_core.cli import COMMANDS

_WIDTH = '80'
_FORMS = {
    **{name: ('of a bag', 'bag.mcap') for name in ('compare', 'view')},
    'replay': ('of many bags', '--output'),
}
"""Commands that take other arguments too: what for, and an argument that they tell it by."""


class _Declared(BaseException):
    """Ends a command once its parser is declared; a BaseException, so that nothing handles it."""


def commands(only: str = '') -> str:
    """Write the reference of all subcommands, or of one."""
    with patch.dict('os.environ', {'COLUMNS': _WIDTH, 'NO_COLOR': '1'}):
        names = [only] if only else sorted(COMMANDS)
        return '\n\n'.join('\n\n'.join(_command(name)) for name in names)


def parser_of(name: str, *arguments: str) -> argparse.ArgumentParser:
    """Return the parser that a subcommand declares for such arguments.

    Commands declare their parser where they use it, so one is run up to there.
    """
    declared = []

    def declare(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        declared.append(parser)
        raise _Declared

    module = importlib.import_module(COMMANDS[name][0])
    parse = patch.multiple(
        argparse.ArgumentParser, parse_known_args=declare, parse_known_intermixed_args=declare
    )
    with parse, suppress(_Declared):
        module.main(arguments)
    return declared[0]


def _command(name: str) -> Iterator[str]:
    yield f'## nndepth {name}'
    if name == 'train':  # its options follow from the classes that are trained
        yield f'```text\n{_help(name)}\n```'
        return
    yield from _declared(parser_of(name), COMMANDS[name][1])
    if name in _FORMS:
        form, argument = _FORMS[name]
        yield f'### nndepth {name} {form}'
        yield from _declared(parser_of(name, argument), '')


def _declared(parser: argparse.ArgumentParser, summary: str) -> Iterator[str]:
    """Write what it is for, the usage, each argument with its meaning, and subcommands."""
    about = (parser.description or summary or '').strip()
    if about:
        yield _escaped(f'{about[0].upper()}{about[1:].removesuffix(".")}.')
    usage = parser.format_usage().removeprefix('usage: ').strip()
    lines = '\n'.join('    ' * (i > 0) + x.strip() for i, x in enumerate(usage.splitlines()))
    yield f'```text\n{lines}\n```'
    if parser.epilog:
        yield _escaped(parser.epilog.strip())
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {x.dest: x.help for x in action._choices_actions}
            for key, below in action.choices.items():
                yield f'### {below.prog}'
                yield from _declared(below, summaries[key])
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
    return _escaped(f'{text[:1].upper()}{text[1:]}') or '&nbsp;'  # a definition needs a text


def _escaped(text: str) -> str:
    """Write a text so that Markdown shows it as it is, but for code in backquotes."""
    parts = re.split('(`[^`]*`)', text)
    parts[::2] = [re.sub(r'([\\*_<>|\[\]])', r'\\\1', part) for part in parts[::2]]
    return ''.join(parts)


def _help(name: str) -> str:
    """What `nndepth NAME --help` prints."""
    out = io.StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        importlib.import_module(COMMANDS[name][0]).main(['--help'])
    return out.getvalue().strip()
