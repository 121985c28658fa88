"""The file that an engine was made from, so that its model can be saved elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nndepth_core.weights.checkpoint import CheckpointError
from nndepth_core.weights.description import Origin


@dataclass(frozen=True)
class Source:
    """What an engine was made from.

    Attributes:
        file: the weights of a network, or an ONNX file.
        origin: where they came from; None for an ONNX file that does not say so.
        model: the network and its variant; None for an ONNX file.
        network_settings: those in place of the network's own, see `create_engine`.
        state: size and time of the last change of the file when it was read.
    """

    file: Path
    origin: Origin | None
    model: tuple[str, str] | None
    network_settings: str
    state: tuple[int, int]

    @classmethod
    def of(
        cls,
        file: Path,
        origin: Origin | None = None,
        model: tuple[str, str] | None = None,
        network_settings: str = '',
    ) -> Source:
        """Note the file as it is now."""
        return cls(file, origin, model, network_settings, _state(file))

    def check(self) -> None:
        """Refuse a file that is no longer the one that was read.

        Raises:
            CheckpointError: it is not.
        """
        if not self.file.is_file() or _state(self.file) != self.state:
            raise CheckpointError(
                f'{self.file} is gone or was changed since the model was loaded from it; load the '
                'model again'
            )


def settings_of_engine(engine: object) -> str:
    """The settings that an engine's network has in place of its own; '' where it has none."""
    source = getattr(engine, 'source', None)
    return source.network_settings if source else ''


def _state(file: Path) -> tuple[int, int]:
    about = file.stat()
    return about.st_size, about.st_mtime_ns
