"""The stereo node and the replay with refined disparities."""

from __future__ import annotations

import bags
import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
from rig import HEIGHT, WIDTH

from nndepth_core.data.synthetic.procedural import ProceduralStereo
from nndepth_core.estimator import StereoEstimator

STAMP = 1_700_000_000_000_000_000


def test_the_parameter_acts_at_once_and_gives_what_the_estimator_gives(make_rig):
    sample = ProceduralStereo(size=(HEIGHT, WIDTH), seed=5, misaligned=0.0)[3]
    pair = sample.left, sample.right
    rig = make_rig(model='auto', outputs=('disparity',))
    assert rig.set_parameters(align_rows=False) == ''

    def disparity(number: int) -> np.ndarray:
        rig.send_pair(STAMP + number * 10**8, pair)
        return bags.float_pixels(rig.wait_for('disparity', number)[-1].image)

    engine = StereoEstimator.load('auto').engine
    for number, (value, refine) in enumerate(
        (('auto', None), ('never', False), ('always', True)), 1
    ):
        assert rig.set_parameters(refine=value) == ''
        expected = StereoEstimator(engine, refine=refine)(*pair).disparity
        np.testing.assert_allclose(disparity(number), expected, atol=1e-4)
    assert 'auto, always, never' in rig.set_parameters(refine='yes')
