"""Parameters of the inputs."""

from __future__ import annotations

from dataclasses import dataclass

from nndepth_core.calibration import AnyCalibration, parse_for
from nndepth_core.camera import CalibrationError
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_ros.parameters.table import Parameter

INPUT_PARAMETERS = (
    Parameter('autostart', True, 'Configure and activate at start.', live=False),
    Parameter(
        'image_transport',
        'raw',
        'How images are sent: raw, or compressed (JPEG, PNG).',
        live=False,
        choices=('raw', 'compressed'),
    ),
    Parameter(
        'rectify',
        False,
        'Take image_raw in place of image_rect, and rectify it by K, D, R, P of its camera_info.',
        live=False,
    ),
    Parameter(
        'calibration',
        '',
        'File to use in place of camera_info, read at configuration: of rectified images, or with '
        'rectify of raw ones; empty: camera_info.',
        live=False,
    ),
    Parameter(
        'max_pixels',
        MAX_PIXELS,
        'Images with more pixels (width times height) are refused before they are decoded.',
        low=1,
        high=2**31 - 1,
    ),
    Parameter(
        'input_timeout',
        2.0,
        'Seconds after which an input without messages is reported.',
        low=0.1,
        high=3600.0,
    ),
)


def max_age(what: str) -> Parameter:
    """Make the row for the largest age of `what`, 'Pairs' or 'Images'."""
    text = f'{what} that waited longer than this are skipped, seconds; 0: no limit.'
    return Parameter('max_age', 0.0, text, high=60.0)


@dataclass(frozen=True)
class InputConfig:
    """How images are received."""

    autostart: bool
    image_transport: str
    rectify: bool
    calibration: str
    max_pixels: int
    max_age: float
    input_timeout: float

    @property
    def compressed(self) -> bool:
        """Whether images arrive as CompressedImage."""
        return self.image_transport == 'compressed'

    @property
    def image_name(self) -> str:
        """The last part of the names of image topics."""
        return 'image_raw' if self.rectify else 'image_rect'

    def read_calibration(self, single: bool) -> AnyCalibration | None:
        """Read the file that is used in place of camera_info; None without one.

        Args:
            single: whether one camera is enough.

        Raises:
            OSError, CalibrationError: it cannot be read or used.
        """
        if not self.calibration:
            return None
        try:
            return parse_for(self.calibration, single, self.rectify)
        except FileNotFoundError as error:
            raise CalibrationError(
                f'calibration is {self.calibration!r} and {error.filename} is no file; give the '
                'path of a calibration, or nothing to take camera_info'
            ) from error
