"""Reads YAML files that hold names and values."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

_NESTING = {'[': 1, '{': 1, ']': -1, '}': -1}
_DEEPEST = 20


class UniqueNames(yaml.SafeLoader):
    """A loader that refuses a mapping in which a name occurs twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """See `yaml.SafeLoader`."""
        names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [key for key in names if names[key] > 1]:
            raise yaml.YAMLError(f'{twice[0]} is given twice; keep the right one')
        return super().construct_mapping(node, deep)


def parse_mapping(
    name: str, text: str, loader: type[yaml.SafeLoader] = UniqueNames
) -> dict[str, Any]:
    """Read the text of a YAML file.

    Args:
        name: The name of the file in messages.
        text: The content of the file.
        loader: The class that turns YAML into objects.

    Raises:
        ValueError: The text is no YAML, is nested too deeply, or holds no names and values.
    """
    # The time that PyYAML takes grows with the square of the depth.
    depths = itertools.accumulate(map(_NESTING.__getitem__, re.findall(r'[][{}]', text)))
    if max(depths, default=0) > _DEEPEST:
        raise ValueError(f'{name} is nested too deeply; at most {_DEEPEST} brackets may be open')
    try:
        content = yaml.load(text, loader)
    except RecursionError as error:
        raise ValueError(f'{name} is nested too deeply') from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ValueError(f'{name} is no YAML ({" ".join(str(error).split())[:200]})') from error
    if not isinstance(content, dict):
        raise ValueError(f'{name} holds no names and values; give lines like "name: value"')
    return content


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file.

    Raises:
        ValueError: The file is missing, or holds no text; see also `parse_mapping`.
    """
    if not path.is_file():
        raise ValueError(f'there is no file {path}; give the path of a YAML file')
    try:
        text = path.read_text('utf-8')
    except ValueError as error:
        raise ValueError(f'{path} is no YAML ({error})') from error
    return parse_mapping(str(path), text)
