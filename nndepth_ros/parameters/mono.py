"""All parameters of the mono node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nndepth_core.camera import FARTHEST
from nndepth_core.engines import AUTO
from nndepth_ros.live_scale import ScaleSettings
from nndepth_ros.outputs import OutputSettings
from nndepth_ros.parameters.inputs import INPUT_PARAMETERS, InputConfig, max_age
from nndepth_ros.parameters.model import MODEL_PARAMETERS, ModelConfig
from nndepth_ros.parameters.outputs import (
    OF_SIGMA,
    OUTPUT_PARAMETERS,
    color_parameters,
    output_settings,
)
from nndepth_ros.parameters.rate import TARGET_RATE, read_rate
from nndepth_ros.parameters.scale import SCALE_PARAMETERS, scale_settings
from nndepth_ros.parameters.table import Parameter, check_choices, filled

MONO_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        'model',
        AUTO,
        'A network for single images, or an .onnx file of one. None comes with the package, so '
        'auto is refused.',
    ),
    *MODEL_PARAMETERS,
    TARGET_RATE,
    *INPUT_PARAMETERS,
    max_age('Images'),
    *SCALE_PARAMETERS,
    *(row for row in OUTPUT_PARAMETERS if row.name not in OF_SIGMA),
    *color_parameters('depth', 'metres', 0.0, FARTHEST, ends=('red', 'blue')),
)


@dataclass(frozen=True)
class MonoConfig:
    """All parameters of the mono node, checked."""

    model: ModelConfig
    target_rate: float | str
    inputs: InputConfig
    outputs: OutputSettings
    scale: ScaleSettings

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> MonoConfig:
        """Check the values of all MONO_PARAMETERS together.

        Raises:
            ValueError: a value is not allowed; the message says which and what is.
        """
        check_choices(MONO_PARAMETERS, values)
        return cls(
            filled(ModelConfig, values),
            read_rate(values['target_rate']),
            filled(InputConfig, values),
            output_settings(values, 'depth'),
            scale_settings(values),
        )
