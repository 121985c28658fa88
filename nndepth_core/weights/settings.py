"""Settings of a network's constructor that ride with its weights, such as a largest depth.

The shapes of the entries cannot tell them; the catalogue, the stored file or the user does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import yaml

from nndepth_core.models.declared import read_choice

if TYPE_CHECKING:
    from nndepth_core.models.base import Network

SNAPSHOT_WEIGHTS = 'model.safetensors', 'pytorch_model.bin'
CONFIG = 'config.json'
"""The weights, the better format first, and the configuration in a folder of transformers."""
LIBRARY = 'nndepth'
"""What `library_name` of the configuration is in folders that `save_pretrained` wrote."""
_BOOLEANS = {'true': True, 'false': False}
_NONE = ('none', 'None', 'null')


def snapshot_file(path: Path) -> Path:
    """Return the file of weights in a folder that transformers or `save_pretrained` wrote.

    Any other path is returned as it is.
    """
    files = [path / name for name in SNAPSHOT_WEIGHTS if (path / name).is_file()]
    return files[0] if files and (path / CONFIG).is_file() else path


def snapshot_config(path: Path) -> dict[str, Any]:
    """Read the configuration of the transformers library beside a file of weights.

    Args:
        path: the file of weights; only one that the transformers library named has one.

    Returns:
        Its values by name, none where there is no configuration or it is ours.

    Raises:
        ValueError: the configuration cannot be read.
    """
    values = read_config(path) if path.name in SNAPSHOT_WEIGHTS else {}
    return {} if values.get('library_name') == LIBRARY else values


def read_config(path: Path) -> dict[str, Any]:
    """Read config.json beside a file; empty where there is none.

    Raises:
        ValueError: it cannot be read.
    """
    config = path.with_name(CONFIG)
    if not config.is_file():
        return {}
    try:
        values = json.loads(config.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{config} is no JSON text; download it again') from error
    if not isinstance(values, dict):
        raise ValueError(f'{config} holds no settings by name; download it again')
    return values


def check_settings(cls: type[Network], settings: Mapping[str, Any]) -> None:
    """Refuse settings that a network does not have, or that its variants decide.

    Raises:
        ValueError: there is no setting of such a name; says which there are.
    """
    parameters = signature(cls).parameters.values()
    known = [x.name for x in parameters if x.default is not x.empty]  # others are a variant's
    for name in settings:
        if name not in known:
            raise ValueError(
                f'{cls.spec.name} has no setting {name!r}; it has {", ".join(known) or "none"}'
            )


def split_settings(text: str) -> list[str]:
    """Split settings with blanks between them; blanks within brackets belong to a value."""
    return re.findall(r'(?:\[[^\]]*\]|\S)+', text)


def settings_by_name(texts: Sequence[str]) -> dict[str, str]:
    """Split settings as they are typed, 'max_depth=20', into names and values.

    Raises:
        ValueError: a text is of another form, or a setting is given twice.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition('=')
        if not equals:
            raise ValueError(f'setting {text!r} has no value; write NAME=VALUE')
        if name in values:
            raise ValueError(
                f'setting {name} is given twice, {values[name]} and {value}; give it once'
            )
        values[name] = value
    return values


def parse_settings(cls: type[Network], texts: Sequence[str]) -> dict[str, Any]:
    """Read settings as they are typed, 'max_depth=20', by the types of the constructor.

    Raises:
        ValueError: a text is of another form, names no setting or one that is given already, or
            gives no value of its type and range.
    """
    settings = {}
    hints = get_type_hints(cls.__init__)
    for name, value in settings_by_name(texts).items():
        check_settings(cls, {name: value})
        known = cls.choices.get(name)
        settings[name] = (
            read_choice(name, value, known) if known else _value(name, value, hints.get(name))
        )
    cls.check_ranges(settings)
    return settings


def show_settings(settings: Mapping[str, Any]) -> str:
    """Write settings as they are typed, 'max_depth=20.0 looks=[1,2]'."""
    return ' '.join(f'{name}={_shown(value)}' for name, value in settings.items())


def _shown(value: Any) -> str:
    is_list = isinstance(value, list | tuple)
    return f'[{",".join(map(str, value))}]' if is_list else str(value)


def _value(name: str, text: str, hint: Any) -> Any:
    values = {str(choice): choice for choice in get_args(hint)} if _is_choice(hint) else _BOOLEANS
    if _is_choice(hint) or hint is bool:
        if text in values:
            return values[text]
        raise ValueError(f'setting {name} is {text!r}; choose one of {", ".join(values)}')
    if hint is str:
        return text
    if hint in (int, float, float | None):
        return _number(name, text, hint)
    return _numbers(name, text, hint)


def _number(name: str, text: str, hint: Any) -> float | None:
    if hint not in (int, float) and text in _NONE:
        return None
    try:
        return int(text) if hint is int else float(text)
    except ValueError as error:
        kind = 'a whole number' if hint is int else 'a number'
        raise ValueError(f'setting {name} is {text!r}; give {kind}') from error


def _numbers(name: str, text: str, hint: Any) -> list[int | float]:
    """Read a list such as [1,2]; the hint tells their type, that of a tuple how many it holds."""
    types = (int, float) if float in get_args(hint) else (int,)
    due = len(get_args(hint)) if get_origin(hint) is tuple else None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError:
        values = None
    if (
        not isinstance(values, list)
        or not all(type(value) in types and value >= 0 for value in values)
        or due not in (None, len(values))
    ):
        count = f'{due} ' if due else ''
        kind = 'numbers' if float in types else 'whole numbers'
        raise ValueError(f'setting {name} is {text!r}; give {count}{kind}, as in [1,2]')
    return values


def _is_choice(hint: Any) -> bool:
    return get_origin(hint) is Literal
