"""Training of the library's networks."""

from __future__ import annotations

from importlib.util import find_spec


class TrainingError(ValueError):
    """Training cannot begin or go on; the message says why and what to do."""


def require_packages() -> None:
    """Refuse to go on without what the extra `train` installs.

    Raises:
        ModuleNotFoundError: names what is missing.
    """
    packages = ('torch', 'safetensors', 'accelerate', 'jsonargparse')
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f'training needs {" and ".join(missing)}; pip install "nndepth[train]"'
        )


require_packages()
