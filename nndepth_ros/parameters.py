"""The nodes' parameters: one table that is declared, validated and read into a frozen config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nndepth_core.engines import AUTO, MOST, PRECISIONS, SgbmSettings, resolve_model
from nndepth_core.engines.contract import OPTIONS as CONTRACT_OPTIONS
from nndepth_core.engines.contract import Contract
from nndepth_core.engines.sgbm import MODES, RANGES
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_core.plausibility import BaselineLimits
from nndepth_ros.outputs import FARTHEST, OutputSettings


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
        name: as declared.
        default: value and type.
        description: one sentence for `ros2 param describe`.
        live: can change while the node runs; the others are read-only.
        low: smallest value of a number.
        high: largest value of a number.
        step: numbers are low + n * step; 0: any.
        choices: allowed words of a string; empty: any.
    """

    name: str
    default: bool | int | float | str
    description: str
    live: bool = True
    low: float = 0
    high: float = 0
    step: float = 0
    choices: tuple[str, ...] = ()


_SGBM_DESCRIPTIONS = {
    'min_disparity': 'Smallest disparity searched by sgbm, pixels.',
    'num_disparities': 'How many disparities sgbm searches, a multiple of 16.',
    'block_size': 'Side of the block sgbm matches, odd, pixels.',
    'pre_filter_cap': 'Clipping value of the pixels sgbm compares.',
    'uniqueness_ratio': 'Margin in percent by which the best sgbm match must win.',
    'speckle_window_size': 'Regions smaller than this many pixels are removed; 0 keeps all.',
    'speckle_range': 'Largest disparity step inside one region, pixels.',
    'disp12_max_diff': 'Largest left-right difference sgbm keeps, pixels; -1: no check.',
    'mode': 'Directions sgbm sums over: sgbm_3way (fastest), hh4, sgbm (5), hh (8).',
}

STEREO_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        'model',
        AUTO,
        'sgbm, a network (nano_stereo, raft_stereo, with variant raft_stereo-realtime), an .onnx '
        'file, or auto: the network that comes with the package.',
    ),
    Parameter(
        'weights',
        '',
        'Checkpoint file of the network, or name of a stored one; empty: the one stored last.',
    ),
    Parameter('engine', 'auto', 'What executes the model; auto: the best one present.'),
    Parameter('device', 'auto', 'Where the engine runs: auto, cpu, cuda or tensorrt.'),
    Parameter(
        'precision',
        'auto',
        'Arithmetic of a network; auto: what suits the device.',
        choices=PRECISIONS,
    ),
    Parameter(
        'iterations',
        0,
        "Steps of an iterative network; 0: the network's.",
        high=MOST['iterations'],
    ),
    Parameter(
        'threads', 0, 'Threads of a network on the CPU; 0: one a core.', high=MOST['threads']
    ),
    Parameter('autostart', True, 'Configure and activate at start.', live=False),
    Parameter(
        'image_transport',
        'raw',
        'How images arrive: raw, or compressed (JPEG, PNG).',
        live=False,
        choices=('raw', 'compressed'),
    ),
    Parameter(
        'max_pixels',
        MAX_PIXELS,
        'Larger images are refused before they are decoded, width times height.',
        low=1,
        high=2**31 - 1,
    ),
    Parameter(
        'synchronizer',
        'native',
        'Who pairs left and right: native, or message_filters where installed.',
        live=False,
        choices=('native', 'message_filters'),
    ),
    Parameter(
        'sync_tolerance',
        0.0,
        'Largest difference of the stamps of a pair, seconds; 0: equal stamps.',
        high=10.0,
    ),
    Parameter(
        'max_age',
        0.0,
        'Pairs that waited longer than this are skipped, seconds; 0: no limit.',
        high=60.0,
    ),
    Parameter(
        'input_timeout',
        2.0,
        'An input without messages for this long is reported, seconds.',
        low=0.1,
        high=3600.0,
    ),
    Parameter(
        'min_baseline',
        BaselineLimits.low,
        'Shorter baselines are reported as implausible, metres.',
        low=1e-6,
        high=1e4,
    ),
    Parameter(
        'max_baseline',
        BaselineLimits.high,
        'Longer baselines are reported as implausible, metres.',
        low=1e-6,
        high=1e4,
    ),
    Parameter(
        'processing_width',
        0,
        "Width the model works at, pixels; 0: the camera's, or by processing_height.",
        high=16384,
    ),
    Parameter(
        'processing_height',
        0,
        "Height the model works at, pixels; 0: the camera's, or by processing_width.",
        high=16384,
    ),
    Parameter(
        'output_size',
        'camera',
        "Size of the outputs: the camera's, or the processing size.",
        choices=('camera', 'processing'),
    ),
    Parameter(
        'confidence_threshold',
        0.0,
        'Estimates less confident than this become unknown; 0 keeps all.',
        high=1.0,
    ),
    Parameter(
        'min_depth',
        0.0,
        'Nearer points are -inf in depth images, metres; 0: no limit.',
        high=FARTHEST,
    ),
    Parameter(
        'max_depth',
        0.0,
        'Farther points are +inf in depth images, metres; 0: no limit.',
        high=FARTHEST,
    ),
    Parameter(
        'color_min_disparity',
        0.0,
        'Disparity at the low end of the colour map, pixels.',
        low=-4096.0,
        high=4096.0,
    ),
    Parameter(
        'color_max_disparity',
        0.0,
        "Disparity at the high end of the colour map, pixels; both 0: the model's range.",
        low=-4096.0,
        high=4096.0,
    ),
    *(
        Parameter(
            f'sgbm.{field.name}',
            field.default,  # type: ignore[arg-type]
            _SGBM_DESCRIPTIONS[field.name],
            choices=tuple(MODES) if field.name == 'mode' else (),
            **RANGES.get(field.name, {}),  # type: ignore[arg-type]
        )
        for field in fields(SgbmSettings)
    ),
    *(
        Parameter(f'onnx.{name}', '', f'Of an .onnx file that nndepth did not export: {meaning}.')
        for name, meaning in CONTRACT_OPTIONS.items()
    ),
)


@dataclass(frozen=True)
class ModelConfig:
    """What decides on the estimator; a change asks for a new one."""

    model: str
    weights: str
    engine: str
    device: str
    precision: str
    iterations: int
    threads: int
    processing_size: tuple[int, int]
    output_size: str
    confidence_threshold: float
    sgbm: SgbmSettings
    onnx: dict[str, str]

    @property
    def name(self) -> str:
        """The model, also where it is left to the package."""
        return resolve_model(self.model, self.engine)

    def options(self) -> dict[str, Any]:
        """What the engine of the model is made with."""
        if self.name == 'sgbm':
            return asdict(self.sgbm)
        declared = self.onnx if self.name.endswith('.onnx') else {}
        return {
            **declared,
            'weights': self.weights,
            'precision': self.precision,
            'iterations': self.iterations,
            'threads': self.threads,
        }


@dataclass(frozen=True)
class StereoConfig:
    """All parameters of the stereo node, checked."""

    model: ModelConfig
    outputs: OutputSettings
    autostart: bool
    image_transport: str
    max_pixels: int
    synchronizer: str
    sync_tolerance_ns: int
    max_age: float
    input_timeout: float
    baseline: BaselineLimits

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> StereoConfig:
        """Check the values of all STEREO_PARAMETERS together.

        Raises:
            ValueError: a value is not allowed; the message says which and what is.
        """
        for parameter in STEREO_PARAMETERS:
            value = values[parameter.name]
            if parameter.choices and value not in parameter.choices:
                raise ValueError(
                    f'{parameter.name} is {value!r}; choose one of {", ".join(parameter.choices)}'
                )
        low, high = values['color_min_disparity'], values['color_max_disparity']
        if (low or high) and high <= low:
            raise ValueError(
                f'color_max_disparity is {high} and color_min_disparity {low}; '
                'the maximum must be larger (or both 0)'
            )
        sgbm = {name[5:]: value for name, value in values.items() if name.startswith('sgbm.')}
        onnx = {name: values[f'onnx.{name}'] for name in CONTRACT_OPTIONS}
        onnx = {name: value for name, value in onnx.items() if value}
        try:
            Contract.of(onnx)
        except ValueError as error:
            raise ValueError(f'onnx.{error}') from error
        return cls(
            ModelConfig(
                values['model'],
                values['weights'],
                values['engine'],
                values['device'],
                values['precision'],
                values['iterations'],
                values['threads'],
                (values['processing_width'], values['processing_height']),
                values['output_size'],
                values['confidence_threshold'],
                SgbmSettings(**sgbm),
                onnx,
            ),
            OutputSettings(values['min_depth'], values['max_depth'], (low, high)),
            values['autostart'],
            values['image_transport'],
            values['max_pixels'],
            values['synchronizer'],
            round(values['sync_tolerance'] * 1e9),
            values['max_age'],
            values['input_timeout'],
            BaselineLimits(values['min_baseline'], values['max_baseline']),
        )
