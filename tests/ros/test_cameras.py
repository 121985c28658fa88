"""What describes the cameras of a stream."""

import bags
import pytest
from bags import START

from nndepth_core.camera import CalibrationError
from nndepth_ros import conversions
from nndepth_ros.cameras import Cameras


def test_a_raw_camera_is_read_again_only_if_its_calibration_changes(monkeypatch):
    seen = []
    read = conversions.raw_camera
    monkeypatch.setattr(
        conversions, 'raw_camera', lambda info, **how: seen.append(info) or read(info, **how)
    )
    cameras = Cameras(bags.BAG_TYPES, ('left', 'right'), rectify=True)

    def take(stamp, **changes):
        infos = tuple(bags.camera_info(side, stamp, **changes) for side in ('left', 'right'))
        return cameras.rectifiers(infos), cameras.rectified_infos(infos)

    first, _ = take(START)
    second, infos = take(START + 1)
    assert len(seen) == 2
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert [info.header.stamp for info in infos] == [bags.header(START + 1).stamp] * 2
    with pytest.raises(CalibrationError, match="left camera_info: the distortion model is 'no'"):
        take(START + 2, distortion_model='no')
    take(START + 3)
    assert len(seen) == 3
