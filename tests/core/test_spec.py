"""What a model says of itself: texts and back, sizes by the rules of the authors, refusals."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nndepth_core.spec import ModelSpec, Preferred

MIDAS = ModelSpec(
    'midas_small',
    inputs=('image',),
    output='inverse_depth',
    value_range=None,
    multiple=32,
    preferred=Preferred(256, 'inside'),
)
DEPTH_ANYTHING = dataclasses.replace(MIDAS, multiple=14, preferred=Preferred(518, 'outside'))
DEPTH_ANYTHING_3 = dataclasses.replace(MIDAS, multiple=14, preferred=Preferred(504, 'inside'))
METRIC3D = dataclasses.replace(MIDAS, multiple=28, preferred=Preferred(616, 'outside', 1064))
MIDAS_DPT = dataclasses.replace(MIDAS, preferred=Preferred(384, 'closest'))
ZOE = dataclasses.replace(MIDAS, mirrored=3.0, preferred=Preferred(384, 'closest', width=512))
UNIDEPTH = dataclasses.replace(MIDAS, multiple=14, preferred=None, pixels=(200_000, 600_000))
WIDENED = dataclasses.replace(UNIDEPTH, aspect=(0.5, 2.5), placement='centre', border='mean')
SIDES = st.integers(1, 4000)


@pytest.mark.parametrize(
    'spec',
    [MIDAS, METRIC3D, WIDENED, ZOE, ModelSpec('a', 'b', fixed_size=(64, 96), minimum=(8, 9))],
)
def test_a_spec_comes_back_from_json(spec):
    assert ModelSpec.of(json.loads(json.dumps(spec.settings()))) == spec


# Sizes as the authors' own resizing gives them.
@pytest.mark.parametrize(
    ('spec', 'size', 'expected'),
    [
        (MIDAS, (640, 480), (256, 192)),
        (MIDAS, (256, 256), (256, 256)),
        (MIDAS, (1242, 375), (256, 64)),
        (DEPTH_ANYTHING_3, (640, 480), (504, 378)),
        (DEPTH_ANYTHING_3, (1242, 375), (504, 154)),
        (DEPTH_ANYTHING_3, (1920, 1080), (504, 280)),
        (DEPTH_ANYTHING, (640, 480), (686, 518)),
        (DEPTH_ANYTHING, (320, 240), (686, 518)),
        (DEPTH_ANYTHING, (1242, 375), (1722, 518)),
        (DEPTH_ANYTHING, (1920, 1080), (924, 518)),
        (METRIC3D, (640, 480), (812, 616)),
        (METRIC3D, (480, 640), (616, 812)),
        (METRIC3D, (1242, 375), (1064, 308)),
        (METRIC3D, (1920, 1080), (1064, 588)),
        (MIDAS_DPT, (640, 480), (512, 384)),
        (MIDAS_DPT, (320, 240), (384, 288)),
        (MIDAS_DPT, (1242, 375), (1280, 384)),
        (MIDAS_DPT, (1920, 1080), (672, 384)),
        (ZOE, (746, 572), (512, 384)),
        (ZOE, (1355, 456), (1152, 384)),
        (ZOE, (300, 400), (288, 384)),
        (UNIDEPTH, (640, 480), (644, 490)),
        (UNIDEPTH, (200, 80), (714, 294)),
        (UNIDEPTH, (1920, 1080), (1036, 588)),
        (WIDENED, (1920, 1080), (1036, 588)),
        (WIDENED, (200, 60), (714, 220)),  # with margins 714x294
        (WIDENED, (1242, 375), (1232, 370)),  # with margins 1232x504
        (WIDENED, (100, 300), (215, 644)),  # with margins 322x644
        (ModelSpec('a'), (123, 45), (123, 45)),
    ],
)
def test_working_sizes_are_those_of_the_authors(spec, size, expected):
    assert spec.working_size(*size) == expected


@given(SIDES, SIDES)
def test_working_sizes_fit_and_keep_their_side(width, height):
    for spec, shorter in ((MIDAS, False), (DEPTH_ANYTHING, True)):
        found = spec.working_size(width, height)
        assert not any(side % spec.multiple for side in found)
        if shorter:
            assert min(found) >= 518
        else:
            assert max(found) <= 256
    assert max(METRIC3D.working_size(width, height)) <= 1064


@pytest.mark.parametrize(('size', 'border'), [((480, 640), (46, 53)), ((5, 1), (4, 2))])
def test_borders_mirror_the_image(size, border):
    assert ZOE.border_size(*size) == border
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    margins = [(side, side) for side in border]
    expected = np.pad(image, [*margins, (0, 0)], mode='reflect')
    np.testing.assert_array_equal(ZOE.bordered(image), expected)
    assert MIDAS.bordered(image) is image


@pytest.mark.parametrize(
    ('facts', 'message'),
    [
        ({'mirrored': 1.0}, 'only a model of one image that needs no camera mirrors'),
        ({'mirrored': -1.0}, 'mirrored'),
        (
            {'inputs': ('image', 'intrinsics'), 'output': 'depth', 'mirrored': 1.0},
            'only a model of one image that needs no camera mirrors',
        ),
    ],
)
def test_refuses_borders(facts, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec('a', **facts)


def test_only_the_closest_fit_has_a_rectangle():
    with pytest.raises(ValueError, match='width is 512 and fit inside, not closest'):
        Preferred(384, 'inside', width=512)


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(['centre', 'top_right']))
def test_padding_fits_and_comes_off_again(height, width, placement):
    spec = ModelSpec('a', multiple=32, placement=placement)
    image = np.arange(height * width * 3, dtype=np.uint32).reshape(height, width, 3)
    image = (image % 251).astype(np.uint8)
    padded = spec.pad(image)
    spec.check_size(*padded.shape[:2])
    np.testing.assert_array_equal(spec.crop(padded, height, width), image)


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        ({}, 'name is missing'),
        ({'name': 'a', 'colour': 1}, "'colour' is no part"),
        ({'name': 'a', 'inputs': ['left']}, 'inputs are left; they must be left,right or image'),
        ({'name': 'a', 'output': 'depth'}, 'a stereo model cannot have the output depth'),
        ({'name': 'a', 'inputs': ['image']}, 'a mono model cannot have the output disparity'),
        ({'name': 'a', 'value_range': [3, 3]}, 'the second must be larger'),
        ({'name': 'a', 'multiple': 0}, 'multiple is 0'),
        ({'name': 'a', 'minimum': [1, 0]}, 'minimum is 0'),
        ({'name': 'a', 'confidence': 'yes'}, "confidence is 'yes'"),
        ({'name': 'a', 'preferred': {'side': 3}}, 'preferred must have side and fit'),
        (
            {'name': 'a', 'preferred': {'side': 9, 'fit': 'outside', 'longest': 8}},
            'longest side is 8',
        ),
        ({'name': 'a', 'preferred': 3}, 'preferred must have side and fit'),
        ({'name': 'a', 'aspect': [1.5, 2]}, 'a square image must fit'),
        ({'name': 'a', 'border': 'black'}, "border is 'black'"),
        ({'name': 'a', 'saturates': True}, 'has the output depth and a value_range'),
        ({'name': 'a', 'saturates': 2}, 'saturates is 2; give true or false'),
        ({'name': 'a', 'max_depth': 3}, 'a max_depth is positive, and its model has the output'),
        (
            {'name': 'a', 'confidence': 'head', 'least_confidence': 0.5},
            'gives depth and a confidence',
        ),
        ({'name': 'a', 'pixels': [9, 8]}, 'the second must not be smaller'),
        (
            {'name': 'a', 'pixels': [8, 9], 'preferred': {'side': 3, 'fit': 'inside'}},
            'a preferred size or a number of pixels, not both',
        ),
    ],
)
def test_odd_settings_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        ModelSpec.of(settings)


@pytest.mark.parametrize(
    ('spec', 'size'),
    [
        (ModelSpec('a', multiple=32), (33, 64)),
        (ModelSpec('a', minimum=(64, 64)), (63, 64)),
        (ModelSpec('a', fixed_size=(64, 96)), (96, 64)),
    ],
)
def test_sizes_that_do_not_fit_are_refused(spec, size):
    with pytest.raises(ValueError, match=f'images are {size[1]}x{size[0]}; a takes'):
        spec.check_size(*size)


@given(SIDES, SIDES)
def test_padding_keeps_the_aspect_ratio_in_its_range(width, height):
    found = WIDENED.working_size(width, height)
    padded_height, padded_width = WIDENED.padded_size(*found[::-1])
    assert 0.5 - 0.03 <= padded_width / padded_height <= 2.5 + 0.03
    above, below, left, right = WIDENED.margins(*found[::-1])
    assert 0 <= below - above <= 1
    assert 0 <= right - left <= 1


def test_margins_have_the_mean_colour():
    padded = WIDENED.pad(np.zeros((28, 140, 3), np.uint8))
    assert padded.shape == (56, 140, 3)
    assert padded[0, 0].tolist() == padded[-1, -1].tolist() == [124, 116, 104]
    assert not padded[14:42].any()
