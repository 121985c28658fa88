"""Networks of other people's modules, by their dotted path or a name they were registered under.

Needs no torch.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from nndepth_core.models.base import Network

_Class = TypeVar('_Class', bound='type[Network]')
_REGISTERED: dict[str, type[Network]] = {}


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
        raise ValueError(
            f'{name!r} cannot be imported ({reason}); is its folder on PYTHONPATH?'
        ) from error
    _check(found, name)
    return found


def _check(cls: object, name: str) -> None:
    if not (isinstance(cls, type) and hasattr(cls, 'spec') and hasattr(cls, 'variants')):
        raise ValueError(f'{name} is no network; derive it from nndepth_core.models.base')
