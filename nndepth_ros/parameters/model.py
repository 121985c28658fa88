"""Parameters that determine the estimator."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nndepth_core.engines import MOST, PRECISIONS, SgbmSettings, resolve_model
from nndepth_core.engines.options import options_for
from nndepth_core.estimator import REFINE
from nndepth_ros.parameters.table import Parameter

MODEL_PARAMETERS = (
    Parameter(
        'weights',
        '',
        'Checkpoint file of the network, or name of a stored one; empty takes the last stored.',
    ),
    Parameter(
        'commercial_only',
        False,
        'Refuse weights whose licence does not allow commercial use, or does not say so.',
    ),
    Parameter(
        'network_settings',
        '',
        'Settings of the network in place of its own, NAME=VALUE with blanks between them; '
        'num_tokens=1200 makes moge2 faster. An .onnx file holds its own.',
    ),
    Parameter(
        'engine', 'auto', 'Engine that executes the model; auto takes the best one installed.'
    ),
    Parameter('device', 'auto', 'Device on which the engine runs: auto, cpu, cuda or tensorrt.'),
    Parameter(
        'precision',
        'auto',
        'Precision in which a network computes; auto takes what suits the device.',
        choices=PRECISIONS,
    ),
    Parameter(
        'iterations',
        0,
        'Steps of an iterative network; 0 takes its default.',
        high=MOST['iterations'],
    ),
    Parameter(
        'threads',
        0,
        'Threads of a network on the CPU; 0 takes one per core.',
        high=MOST['threads'],
    ),
    Parameter(
        'processing_width',
        0,
        'Width at which the model works, pixels; 0: as the camera or processing_height says.',
        high=16384,
    ),
    Parameter(
        'processing_height',
        0,
        'Height at which the model works, pixels; 0: as the camera or processing_width says.',
        high=16384,
    ),
    Parameter(
        'output_size',
        'camera',
        'Size of the outputs: that of the camera, or the processing size.',
        choices=('camera', 'processing'),
    ),
    Parameter(
        'confidence_threshold',
        0.0,
        'Estimates with less confidence than this become unknown; 0 keeps all.',
        high=1.0,
    ),
)
"""All of them except `model`, whose description depends on the task."""


@dataclass(frozen=True)
class ModelConfig:
    """What the estimator is made from; a change needs a new estimator."""

    model: str
    weights: str
    commercial_only: bool
    network_settings: str
    engine: str
    device: str
    precision: str
    iterations: int
    threads: int
    processing_width: int
    processing_height: int
    output_size: str
    confidence_threshold: float
    align_rows: bool | None = None
    refine: str | None = None
    sgbm: SgbmSettings | None = None
    onnx: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the model; for 'auto', the one that it stands for."""
        return resolve_model(self.model, self.engine)

    @property
    def processing_size(self) -> tuple[int, int]:
        """(width, height) at which the model works; the estimator decides on a 0."""
        return self.processing_width, self.processing_height

    def check_unused(self) -> None:
        """Refuse what only a network takes, where the model is none.

        Raises:
            ValueError: weights or network_settings would be ignored.
        """
        options = self.options()
        for name in ('weights', 'network_settings'):
            if (value := getattr(self, name)) and name not in options:
                raise ValueError(
                    f'{name} is {value!r} and the model {self.name}, which takes none; set {name} '
                    "to '', or model to a network"
                )

    def sizes(self) -> dict[str, Any]:
        """The arguments of the estimator; a change of them alone needs no other engine."""
        sizes = {
            'processing_size': self.processing_size,
            'output': self.output_size,
            'confidence_threshold': self.confidence_threshold,
        }
        if self.align_rows is None or self.refine is None:  # only pairs have these
            return sizes
        return {**sizes, 'align_rows': self.align_rows, 'refine': REFINE[self.refine]}

    def of_engine(self) -> ModelConfig:
        """This config with the sizes left out, to compare what engines are made of."""
        return replace(
            self,
            processing_width=0,
            processing_height=0,
            output_size='camera',
            confidence_threshold=0.0,
            align_rows=None,
            refine=None,
        )

    def options(self) -> dict[str, Any]:
        """The options for the engine of the model."""
        values = {
            **(asdict(self.sgbm) if self.sgbm else {}),
            **self.onnx,
            'weights': self.weights,
            'commercial_only': self.commercial_only,
            'network_settings': self.network_settings,
            'precision': self.precision,
            'iterations': self.iterations,
            'threads': self.threads,
        }
        return options_for(self.name, values)
