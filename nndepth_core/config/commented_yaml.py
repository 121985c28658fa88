"""YAML of settings, each below what its class's docstring says of it."""

from __future__ import annotations

import inspect
import math
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

_WIDTH = 98


def commented_yaml(
    values: Mapping[str, Any],
    cls: type | None = None,
    types: Mapping[str, type] | None = None,
    known: Mapping[str, type] | None = None,
) -> str:
    """Write settings as YAML with comments.

    Args:
        values: plain settings by name; where a class is chosen, its `class_path` and `init_args`.
        cls: the class they are settings of, whose docstring has the comments.
        types: classes of settings that say neither themselves nor by a type hint.
        known: classes that `class_path` may name without their module.
    """
    return ''.join(f'{line}\n' for line in _lines(values, cls, types or {}, known or {}))


def argument_notes(cls: type) -> dict[str, str]:
    """What the `Args` sections of a class and its bases say, by argument name."""
    notes: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        section = re.search(r'^Args:\n((?:    .*\n?|\n)+)', _docstring(base), re.MULTILINE)
        entries = re.split(r'^    (\w+): ', section[1], flags=re.MULTILINE)[1:] if section else []
        notes |= {
            name: ' '.join(text.split())
            for name, text in zip(entries[::2], entries[1::2], strict=True)
        }
    return notes


def _lines(
    values: Mapping[str, Any],
    cls: type | None,
    types: Mapping[str, type],
    known: Mapping[str, type],
) -> Iterator[str]:
    notes = argument_notes(cls) if cls else {}
    hints = _hints(cls) if cls else {}
    chosen = _chosen(values, known)
    for name, value in values.items():
        hint = types.get(name) or hints.get(name)
        note = notes.get(name, '')
        if name == 'class_path' and chosen:
            note = _docstring(chosen).partition('\n\n')[0]
        if choices := _choices(hint):
            note += f' [{" | ".join(choices)}]'
        yield from (f'# {line}' for line in textwrap.wrap(note, _WIDTH - 6))
        if isinstance(value, Mapping) and value:
            inner = chosen if name == 'init_args' else _class_of(hint)
            yield f'{name}:'
            yield from (f'  {line}' for line in _lines(value, inner, {}, known))
        else:
            yield from _plain(name, value)


def _plain(name: str, value: Any) -> list[str]:
    """YAML without comments, simple values and lists of them on one line."""
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return yaml.safe_dump({name: value}, sort_keys=False).splitlines()
    text = yaml.safe_dump([value], default_flow_style=True, width=math.inf)
    return [f'{name}: {text.strip()[1:-1]}']


def _chosen(values: Mapping[str, Any], known: Mapping[str, type]) -> type | None:
    path = values.get('class_path')
    if not isinstance(path, str):
        return None
    module, _, name = path.rpartition('.')
    return getattr(import_module(module), name) if module else known.get(path)


def _hints(cls: type) -> dict[str, Any]:
    """Types of a constructor's arguments, those of the bases it hands arguments on to too."""
    if is_dataclass(cls):
        return get_type_hints(cls)
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__[:-1]):
        hints |= get_type_hints(base.__init__)  # type: ignore[misc]
    return hints


def _choices(hint: Any) -> list[str]:
    return [str(choice) for choice in get_args(hint)] if get_origin(hint) is Literal else []


def _class_of(hint: Any) -> type | None:
    """The class in a hint such as `Class` or `Class | None`."""
    classes = [part for part in get_args(hint) or (hint,) if inspect.isclass(part)]
    return next((part for part in classes if part is not type(None)), None)


def _docstring(cls: type) -> str:
    return inspect.cleandoc(cls.__dict__.get('__doc__') or '')
