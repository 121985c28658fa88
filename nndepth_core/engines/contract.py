"""What an ONNX file takes and gives, declared by its card, by a YAML beside it, or by options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from nndepth_core.files.values import choice, number, text, tuple_of
from nndepth_core.files.yaml_mapping import read_mapping

Normalization = tuple[tuple[float, ...], tuple[float, ...]]

PIXEL_RANGE = (0.0, 255.0)
IMAGENET: Normalization = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PRESETS: dict[str, dict[str, Any]] = {
    'hitnet': {'input_range': (0.0, 1.0)},
    'crestereo': {'input_range': PIXEL_RANGE},
    'raft_stereo': {'input_range': PIXEL_RANGE, 'disparity_sign': 'negative'},
}
"""Contracts of published exports; what the shapes of a graph show is not repeated here."""
_LANDMARKS = {'reference_output_disparity': 'hitnet', 'init_left': 'crestereo'}
"""Tensor names that occur only in the exports of one network."""
_RANGES = {'input_range', 'normalize'}
_LARGEST_FILE = 65536

OPTIONS = {
    'preset': f'the network whose usual export the file is: one of {", ".join(PRESETS)}',
    'inputs': 'names of its inputs, as LEFT,RIGHT; give one name if it takes both images stacked, '
    'and four if it takes the pair at half its size first',
    'outputs': 'names of its outputs, as DISPARITY or DISPARITY,CONFIDENCE',
    'layout': 'nchw or nhwc: the order of its dimensions, if their sizes do not show it',
    'channels': 'what the channels of its inputs hold: rgb, bgr or grey',
    'input_range': 'what it takes for black and white, as LOW,HIGH: 0,255 or 0,1 or -1,1',
    'normalize': 'the mean that is subtracted from images in 0..1 and the deviation that they are '
    'divided by, in the order of the channels: imagenet or MEAN,MEAN,MEAN/STD,STD,STD',
    'disparity_sign': 'positive or negative: the sign of its disparities',
    'disparity_scale': 'the factor by which its result becomes a disparity in pixels of its input',
}
"""Every option for an .onnx file that nndepth did not export, with its meaning."""


@dataclass(frozen=True)
class Contract:
    """How images become the inputs of a graph, and how its outputs become a disparity in pixels.

    Attributes:
        preset: the name in PRESETS that the contract is based on, '' for none.
        inputs: the names of the input tensors: two for left and right; one if both images are
            stacked along the channels; four if left and right come at half their size first.
            With () the graph decides.
        outputs: the names of the disparity and, if there is one, of the confidence; four names
            for a model of points, see `ModelSpec.maps`. With () the graph decides.
        layout: 'nchw' or 'nhwc'; with 'auto' the shapes decide.
        channels: 'rgb', 'bgr' or 'grey'; 'auto' means grey for one channel and rgb otherwise.
        input_range: what the pixel values 0 and 255 become; with None, which means that nothing
            is declared, they stay as they are.
        normalize: mean and standard deviation of the channels of images in 0..1; it takes the
            place of `input_range`.
        disparity_sign: 'positive' or 'negative'.
        disparity_scale: how many pixels of the input image one unit of the output is.
        self_check: whether to check the graph with a pair of known disparity, and refuse it if
            it finds something else.
    """

    preset: str = ''
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    layout: str = 'auto'
    channels: str = 'auto'
    input_range: tuple[float, ...] | None = None
    normalize: Normalization | None = None
    disparity_sign: str = 'positive'
    disparity_scale: float = 1.0
    self_check: bool = True

    def __post_init__(self) -> None:
        if self.preset:
            choice('preset', self.preset, PRESETS)
        tuple_of('inputs', self.inputs, (0, 1, 2, 4), text)
        tuple_of('outputs', self.outputs, (0, 1, 2, 4), text)
        for kind, names in (('inputs', self.inputs), ('outputs', self.outputs)):
            if len(set(names)) < len(names):
                raise ValueError(f'{kind} is {",".join(names)}; name each tensor once')
        choice('layout', self.layout, ('auto', 'nchw', 'nhwc'))
        choice('channels', self.channels, ('auto', 'rgb', 'bgr', 'grey'))
        if self.input_range is not None:
            low, high = tuple_of('input_range', self.input_range, (2,), _value)
            if low >= high:
                raise ValueError(f'input_range is {low:g},{high:g}; the second must be larger')
        if self.normalize is not None:
            if self.input_range is not None:
                raise ValueError(
                    'input_range and normalize exclude each other, for normalize starts from '
                    '0..1; give one of them'
                )
            mean, deviation = tuple_of('normalize', self.normalize, (2,), _channel_values)
            if len(mean) != len(deviation) or min(deviation) < 1e-6:
                raise ValueError(
                    'normalize needs as many deviations as means, all larger than 0; give '
                    'imagenet or MEAN,MEAN,MEAN/STD,STD,STD'
                )
        choice('disparity_sign', self.disparity_sign, ('positive', 'negative'))
        if number('disparity_scale', self.disparity_scale, 0, 1e5) < 1e-5:
            raise ValueError(f'disparity_scale is {self.disparity_scale}; it must be positive')
        if not isinstance(self.self_check, bool):
            raise ValueError(f'self_check is {self.self_check!r}; give true or false')

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Contract:
        """Make a contract from what was declared; None and empty values count as not declared.

        Args:
            settings: values by the names of the attributes, or texts like those of OPTIONS.

        Raises:
            ValueError: a name is unknown, or a value is not allowed.
        """
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in settings if name not in known]:
            raise ValueError(
                f'{str(unknown[0])[:80]!r} is no part of a contract; it has {", ".join(known)}'
            )
        declared = {name: _parse(name, value) for name, value in _given(settings).items()}
        below: dict[str, Any] = {}
        if 'preset' in declared:
            below = dict(PRESETS[choice('preset', declared['preset'], PRESETS)])
        if 'normalize' in declared:
            below.pop('input_range', None)
        return cls(**{**below, **declared})

    @classmethod
    def declared(cls, path: Path, options: Mapping[str, Any]) -> Contract:
        """Return what is declared for a file: by options first, then by the YAML beside it.

        Raises:
            ValueError: something is not allowed; the message says where it is written.
        """
        file = contract_file(path)
        settings = _read_yaml(file) if file.is_file() else {}
        try:
            cls.of(settings)
        except ValueError as error:
            raise ValueError(f'{file}: {error}') from error
        given = _given(options)
        if given.keys() & _RANGES:  # either of the two replaces both
            settings = {key: value for key, value in settings.items() if key not in _RANGES}
        return cls.of({**settings, **given})

    def recognised(self, tensors: list[str]) -> Contract:
        """Add the preset that the names of the tensors show, unless one is declared."""
        presets = [preset for name, preset in _LANDMARKS.items() if name in tensors]
        if not presets or self.preset or self.normalize is not None:
            return self
        return Contract(**{**PRESETS[presets[0]], **self.settings(), 'preset': presets[0]})

    def changed(self, options: Mapping[str, Any]) -> Contract:
        """Return this contract with other options; range and normalisation replace each other.

        Raises:
            ValueError: a value is not allowed.
        """
        values = dict(options)
        if values.keys() & _RANGES:
            values = {'input_range': None, 'normalize': None, **values}
        return replace(self, **values)

    def settings(self) -> dict[str, Any]:
        """Return what differs from the defaults, in the form that `of` takes."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value != getattr(Contract, name)}

    @property
    def values(self) -> str:
        """Describe in words which values the pixels get."""
        if self.normalize is not None:
            return f'0..1 less mean and over deviation {option_text("normalize", self.normalize)}'
        return '{:g}..{:g}'.format(*(self.input_range or PIXEL_RANGE))

    @property
    def factor(self) -> float:
        """The factor by which the result of the graph is multiplied."""
        return -self.disparity_scale if self.disparity_sign == 'negative' else self.disparity_scale


def contract_file(path: Path) -> Path:
    """The path of the YAML beside an .onnx file, which may hold its contract."""
    return path.with_suffix('.yaml')


def option_text(name: str, value: Any) -> str:
    """Write the value of an option as text."""
    if name == 'normalize':
        return 'imagenet' if value == IMAGENET else '/'.join(option_text('', x) for x in value)
    if isinstance(value, tuple):
        return ','.join(option_text('', x) for x in value)
    return value if isinstance(value, str) else f'{value:g}'


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not empty."""
    return {
        name: value
        for name, value in settings.items()
        if not (value is None or (isinstance(value, str | tuple | list) and len(value) == 0))
    }


def _parse(name: str, value: Any) -> Any:
    """Convert the text of a setting, or what YAML and JSON make of it, to its value."""
    if name == 'normalize':
        parts = value
        if isinstance(value, str):
            parts = IMAGENET if value == 'imagenet' else value.split('/')
        mean, deviation = tuple_of('normalize', parts, (2,), lambda _, x: _numbers(name, x))
        return mean, deviation
    if name == 'input_range':
        return _numbers(name, value)
    if name == 'disparity_scale':
        return _value(name, value)
    if name in ('inputs', 'outputs'):
        parts = value.split(',') if isinstance(value, str) else value
        return tuple_of(name, parts, range(1, 5), lambda _, x: text(name, x).strip())
    return value


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    parts = value.split(',') if isinstance(value, str) else value
    return tuple_of(name, parts, (1, 2, 3), _value)


def _channel_values(name: str, value: Any) -> tuple[float, ...]:
    return tuple_of(name, value, (1, 3), _value)


def _value(name: str, value: Any) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f'{name} has {value[:80]!r} in it, which is no number') from None
    return number(name, value, -1e6, 1e6)


def _read_yaml(path: Path) -> dict[str, Any]:
    """Read the settings that are declared beside a model.

    Raises:
        ValueError: The file cannot be read, is too large, or holds no names and values.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f'{path} is larger than {_LARGEST_FILE} bytes')
        return read_mapping(path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f'{error}; the file is read as the contract of the model beside it, so move it away '
            'if it has nothing to do with the model'
        ) from error
