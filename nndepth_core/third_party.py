"""Networks of other people's modules, by their dotted path or a name they were registered under.

Needs no torch.
"""

from __future__ import annotations

import re
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from nndepth_core.spec import ModelSpec

if TYPE_CHECKING:
    from nndepth_core.models.base import Network

_Class = TypeVar('_Class', bound='type[Network]')
_REGISTERED: dict[str, type[Network]] = {}
_MODULES: set[str] = set()
"""Names of the modules from which networks of others were taken."""


def register(cls: _Class, name: str = '') -> _Class:
    """Give a network a name that training, evaluation, export and the nodes know.

    It is known where the module that registers it was imported; elsewhere give the dotted path of
    the class. May be used as a decorator.

    Args:
        cls: a `StereoNetwork` or `MonoNetwork`.
        name: lower-case letters, digits and underscores; '' takes that of its spec.

    Raises:
        ValueError: it is no network, or another one has the name.
    """
    _check(cls, getattr(cls, '__qualname__', repr(cls)))
    name = name or cls.spec.name
    if not re.fullmatch('[a-z][a-z0-9_]*', name):
        raise ValueError(f'name is {name!r}; use lower-case letters, digits and _')
    from nndepth_core.weights.catalogue import catalogue

    if name in catalogue() or _REGISTERED.get(name, cls) is not cls:
        raise ValueError(f'{name} is the name of another network; give another one')
    _REGISTERED[name] = cls
    return cls


def registered_names() -> tuple[str, ...]:
    """Names under which networks were registered."""
    return tuple(_REGISTERED)


def third_party(name: str) -> type[Network] | None:
    """Find a network of others; None where a name has no dot and was not registered.

    Args:
        name: a registered name, or a dotted path such as their.module.Net; classes begin with
            a capital letter.

    Raises:
        ValueError: the path cannot be imported, or what it leads to is no network.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    module, dot, cls = name.rpartition('.')
    if not dot or not (module.replace('.', '').isidentifier() and cls[:1].isupper()):
        return None
    try:
        found = getattr(import_module(module), cls)
    except Exception as error:  # whatever the module does
        reason = str(error) or type(error).__name__
        missing = isinstance(error, ModuleNotFoundError) and f'{module}.'.startswith(
            f'{error.name}.'
        )
        cure = '; is its folder on PYTHONPATH?' if missing else ''
        raise ValueError(f'{name!r} cannot be imported ({reason}){cure}') from error
    _check(found, name)
    _MODULES.add(module)
    return found


def fault_of_others(error: BaseException) -> str:
    """Say where the module of a network of others failed; empty where none had a part in it."""
    files = {getattr(sys.modules.get(name), '__file__', None) for name in _MODULES}
    places = [x for x in traceback.extract_tb(error.__traceback__) if x.filename in files]
    if not places:
        return ''
    return (
        f'{places[-1].filename}, line {places[-1].lineno}: {type(error).__name__}: '
        f'{" ".join(str(error).split())}; mend it there'
    )


def _check(cls: object, name: str) -> None:
    if not (isinstance(cls, type) and hasattr(cls, 'variants')):
        raise ValueError(f'{name} is no network; derive it from nndepth_core.models.base')
    if not isinstance(getattr(cls, 'spec', None), ModelSpec):
        raise ValueError(f'{name} has no spec; set it to a ModelSpec of nndepth_core.spec')
