"""All parameters of the stereo node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nndepth_core.engines import AUTO, SgbmSettings
from nndepth_core.engines.contract import OPTIONS as CONTRACT_OPTIONS
from nndepth_core.engines.contract import Contract
from nndepth_core.engines.sgbm import MODES, RANGES
from nndepth_core.estimator import REFINE
from nndepth_core.plausibility import BaselineLimits
from nndepth_core.uncertainty import LARGEST_SIGMA
from nndepth_ros.outputs import OutputSettings
from nndepth_ros.parameters.inputs import INPUT_PARAMETERS, InputConfig, max_age
from nndepth_ros.parameters.model import MODEL_PARAMETERS, ModelConfig
from nndepth_ros.parameters.outputs import OUTPUT_PARAMETERS, color_parameters, output_settings
from nndepth_ros.parameters.rate import TARGET_RATE, read_rate
from nndepth_ros.parameters.table import Parameter, check_choices, filled

_SGBM_DESCRIPTIONS = {
    'min_disparity': 'Smallest disparity that sgbm searches, pixels.',
    'num_disparities': 'Number of disparities that sgbm searches, a multiple of 16.',
    'block_size': 'Side of the block that sgbm matches, pixels; an odd number.',
    'pre_filter_cap': 'Value at which the pre-filtered pixels of sgbm are clipped.',
    'uniqueness_ratio': 'Margin in percent by which the best match of sgbm must win.',
    'speckle_window_size': 'Regions smaller than this many pixels are removed; 0 keeps all.',
    'speckle_range': 'Largest disparity step inside one region, pixels.',
    'disp12_max_diff': 'Largest left-right difference that sgbm keeps, pixels; -1 keeps all.',
    'mode': 'Directions in which sgbm adds up: sgbm_3way (fastest), hh4, sgbm (5), hh (8).',
}

STEREO_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        'model',
        AUTO,
        'sgbm, a network (nano_stereo, raft_stereo, with variant raft_stereo-realtime), an .onnx '
        'file, or auto: the network that comes with the package.',
    ),
    *MODEL_PARAMETERS,
    TARGET_RATE,
    *INPUT_PARAMETERS,
    max_age('Pairs'),
    Parameter(
        'align_rows',
        True,
        'Find rows of the right image that are slightly off, as after a knock; move them back.',
    ),
    Parameter(
        'refine',
        'auto',
        'Make disparities more precise by the colours and gradients of the images; auto: for '
        'models that gain by it.',
        choices=tuple(REFINE),
    ),
    Parameter(
        'synchronizer',
        'native',
        'What pairs left and right: native, or message_filters if it is installed.',
        live=False,
        choices=('native', 'message_filters'),
    ),
    Parameter(
        'sync_tolerance',
        0.0,
        'Largest difference of the stamps of a pair, seconds; with 0 they must be equal.',
        high=10.0,
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
    *OUTPUT_PARAMETERS,
    Parameter(
        'disparity_sigma',
        0.0,
        'Standard deviation of disparities for depth/sigma, pixels of the processed image; 0: by '
        'the confidence of models whose confidence is calibrated.',
        high=LARGEST_SIGMA,
    ),
    Parameter('cloud_sigma', False, 'Give the points of points2 a field sigma, metres.'),
    *color_parameters('disparity', 'pixels', -4096.0, 4096.0),
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
        Parameter(f'onnx.{name}', '', f'For an .onnx file that nndepth did not export: {meaning}.')
        for name, meaning in CONTRACT_OPTIONS.items()
    ),
)


@dataclass(frozen=True)
class StereoConfig:
    """All parameters of the stereo node, checked."""

    model: ModelConfig
    target_rate: float | str
    inputs: InputConfig
    outputs: OutputSettings
    synchronizer: str
    sync_tolerance_ns: int
    baseline: BaselineLimits

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> StereoConfig:
        """Check the values of all STEREO_PARAMETERS together.

        Raises:
            ValueError: a value is not allowed; the message says which and what is.
        """
        check_choices(STEREO_PARAMETERS, values)
        outputs = output_settings(values, 'disparity')
        sgbm = {name[5:]: value for name, value in values.items() if name.startswith('sgbm.')}
        onnx = {name: values[f'onnx.{name}'] for name in CONTRACT_OPTIONS}
        onnx = {name: value for name, value in onnx.items() if value}
        try:
            Contract.of(onnx)
        except ValueError as error:
            raise ValueError(f'onnx.{error}') from error
        return cls(
            filled(ModelConfig, values, sgbm=SgbmSettings(**sgbm), onnx=onnx),
            read_rate(values['target_rate']),
            filled(InputConfig, values),
            outputs,
            values['synchronizer'],
            round(values['sync_tolerance'] * 1e9),
            BaselineLimits(values['min_baseline'], values['max_baseline']),
        )
