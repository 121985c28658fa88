"""Evaluation of engines whose errors are known: figures, tables and the report."""

import base64
import csv
import json
import re
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

from nndepth_core import MonoEstimator, StereoEstimator
from nndepth_core.data.sample import MonoSample, StereoSample
from nndepth_core.engines import EngineError, ModelSpec
from nndepth_core.evaluation.evaluate import Evaluation, ModelScore, SampleScore, evaluate
from nndepth_core.evaluation.mono import MonoMeasures
from nndepth_core.evaluation.names import MONO_TITLES, STEREO_TITLES, metric_key
from nndepth_core.evaluation.report import Gallery, report_html
from nndepth_core.evaluation.stereo import StereoMeasures
from nndepth_core.evaluation.tables import csv_text, json_text, summary

HEIGHT, WIDTH = 40, 90


@dataclass
class Constant:
    """An engine that always says the same, and how sure it is."""

    disparity: float
    sure: float = 1.0
    name: str = 'constant'
    device: str = 'cpu'
    spec: ModelSpec = field(
        default_factory=lambda: ModelSpec('constant', minimum=(20, 20), value_range=(0.0, 10.0))
    )
    iterations: int = 0

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        shape = inputs['left'].shape[:3]
        maps = {'disparity': self.disparity, 'confidence': self.sure}
        return {name: np.full(shape, value, np.float32) for name, value in maps.items()}

    def self_test(self) -> None:
        pass


@dataclass
class Listed:
    """A data set in memory; an exception in it is raised."""

    samples: list
    name: str = 'listed'

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int):
        if isinstance(self.samples[index], Exception):
            raise self.samples[index]
        return self.samples[index]


def sample(truth: float, name: str = '', size=(HEIGHT, WIDTH), occluded=None) -> StereoSample:
    image = np.zeros((*size, 3), np.uint8)
    disparity = np.full(size, truth, np.float32)
    return StereoSample(image, image, disparity, occluded, name=name)


def estimators(**disparities: float) -> dict[str, StereoEstimator]:
    return {name: StereoEstimator(Constant(value)) for name, value in disparities.items()}


def evaluate_stereo(models, dataset, *, strict=False, limit=0, observe=None, **measures):
    return evaluate(
        models,
        dataset,
        StereoMeasures(**measures),
        strict=strict,
        limit=limit,
        observe=observe,
    )


def test_means_of_samples_by_region():
    hidden = np.zeros((HEIGHT, WIDTH), bool)
    hidden[:, : WIDTH // 2] = True
    dataset = Listed([sample(10, 'a', occluded=hidden), sample(13, size=(30, 50))])
    evaluation = evaluate_stereo(estimators(ten=10, twelve=12), dataset)
    assert [model.model for model in evaluation.models] == ['ten', 'twelve']
    assert {model.runs_on for model in evaluation.models} == {'constant/cpu'}
    ten, twelve = evaluation.models
    assert [score.name for score in ten.samples] == ['a', 'sample 1']
    assert [score.size for score in ten.samples] == [(WIDTH, HEIGHT), (50, 30)]
    assert ten.mean()['all']['epe'] == 1.5
    assert twelve.mean()['all']['epe'] == 1.5
    assert ten.mean()['noc']['epe'] == 0  # the second sample does not know
    assert ten.mean()['textureless']['bad_2'] == 50
    assert 'edges' not in ten.mean()
    assert ten.speed()['p50'] > 0


def test_speed_leaves_out_the_first_of_each_size():
    scores = [((9, 9), 500), ((9, 9), 10), ((9, 8), 800), ((9, 9), 20), ((9, 8), 30)]
    model = ModelScore('m', samples=[SampleScore('', size, {}, ms) for size, ms in scores])
    assert model.speed() == {'p50': 20, 'p95': pytest.approx(29)}
    del model.samples[3:], model.samples[1]
    assert model.speed()['p50'] == 650


def test_confidence():
    evaluation = evaluate_stereo(estimators(ten=10), Listed([sample(12)]), confidence=True)
    values = evaluation.models[0].mean()['all']
    assert (values['ause'], values['ause_normalized'], values['aurg']) == pytest.approx((0, 0, 0))
    nowhere = evaluate_stereo(estimators(x=np.nan), Listed([sample(12)]), confidence=True)
    assert np.isnan(nowhere.models[0].mean()['all']['ause'])


def broken() -> Listed:
    half = sample(5, 'half')
    return Listed(
        [
            ValueError('listed, sample x:\n  left.png is damaged'),
            sample(5, 'whole'),
            StereoSample(half.left, half.right, half.disparity[:, :9], name='cropped'),
            StereoSample(half.left, half.right[:9], half.disparity, name='uneven'),
            StereoSample(
                half.left, half.right, half.disparity, half.disparity[1:] > 0, name='mask'
            ),
            sample(np.nan, 'unknown'),
            sample(5, 'tiny', size=(8, 8)),
            OSError('disk'),
        ]
    )


def test_broken_samples_are_skipped_by_all_models():
    evaluation = evaluate_stereo(estimators(a=5, b=6), broken())
    assert [[x.name for x in model.samples] for model in evaluation.models] == [['whole']] * 2
    assert evaluation.skipped.keys() == {
        'sample 0', 'cropped', 'uneven', 'mask', 'unknown', 'tiny', 'sample 7',
    }  # fmt: skip
    assert evaluation.skipped['sample 0'] == 'listed, sample x: left.png is damaged'
    assert 'truth is 9x40 and the left image 90x40' in evaluation.skipped['cropped']
    assert 'occlusion mask is 90x39' in evaluation.skipped['mask']
    assert 'no known pixel' in evaluation.skipped['unknown']
    assert 'at least 20x20' in evaluation.skipped['tiny']


def test_strict_stops_at_the_first():
    with pytest.raises(ValueError, match=r'left\.png is damaged'):
        evaluate_stereo(estimators(a=5), broken(), strict=True)


def test_a_model_that_fails_is_no_broken_sample(monkeypatch):
    def fail(*_):
        raise EngineError('out of memory')

    monkeypatch.setattr(Constant, 'run', fail)
    with pytest.raises(EngineError, match='out of memory'):
        evaluate_stereo(estimators(a=5), Listed([sample(5)]))


@pytest.mark.parametrize(
    ('samples', 'words'),
    [
        ([], 'listed has no samples'),
        ([sample(np.nan, 'dark')] * 2, 'none of 2 samples can be used; dark: the truth has no'),
    ],
)
def test_nothing_to_evaluate(samples, words):
    with pytest.raises(ValueError, match=words):
        evaluate_stereo(estimators(a=5), Listed(samples))


def test_truth_may_be_missing_where_only_speed_is_asked():
    evaluation = evaluate_stereo(estimators(a=5), Listed([sample(np.nan)]), truth=False)
    assert evaluation.models[0].samples[0].metrics == {}


def test_limit_spreads_evenly():
    dataset = Listed([sample(5, str(index)) for index in range(9)])
    for limit, names in ((3, '048'), (1, '0'), (99, '012345678')):
        evaluation = evaluate_stereo(estimators(a=5), dataset, limit=limit)
        assert ''.join(x.name for x in evaluation.models[0].samples) == names


@dataclass
class Inverse:
    """An engine that gives an inverse depth, whatever it sees."""

    values: np.ndarray
    output: str = 'inverse_depth'
    name: str = 'inverse'
    device: str = 'cpu'
    iterations: int = 0

    def __post_init__(self) -> None:
        self.spec = ModelSpec('inverse', inputs=('image',), output=self.output, value_range=None)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {self.output: self.values[None].astype(np.float32)}

    def self_test(self) -> None:
        pass


def test_mono():
    truth = np.linspace(1, 20, 60).reshape(6, 10).astype(np.float32)
    image = np.zeros((6, 10, 3), np.uint8)
    unknown = np.full_like(truth, np.nan)
    dataset = Listed(
        [
            MonoSample(image, truth, name='metric'),
            MonoSample(image, 1 / truth, 'relative_inverse', name='relative'),
            MonoSample(image, truth[1:], name='uneven'),
            MonoSample(image, unknown, name='unknown'),
            MonoSample(image, truth + 100, name='far'),
        ]
    )
    models = {
        'double': MonoEstimator(Inverse(2 * truth, 'depth')),
        'inverse': MonoEstimator(Inverse(3 / truth - 1)),
    }
    evaluation = evaluate(models, dataset, MonoMeasures())
    double, inverse = evaluation.models
    assert double.mean()['all'].keys() == MONO_TITLES.keys() == evaluation.measures.titles.keys()
    assert double.mean()['all']['abs_rel'] == pytest.approx(1)
    assert inverse.mean()['all']['rmse'] == pytest.approx(0, abs=1e-4)
    assert [model.about['alignment'] for model in evaluation.models] == ['none', 'scale_shift']
    assert list(evaluation.skipped) == ['relative', 'uneven', 'unknown', 'far']
    assert 'not metres' in evaluation.skipped['relative']
    assert 'truth is 10x5 and the image 10x6' in evaluation.skipped['uneven']
    assert 'no known pixel between 0.001 and 80.0 m' in evaluation.skipped['far']
    metric = {'double': models['double']}
    aligned = evaluate(metric, Listed(dataset.samples[:1]), MonoMeasures('median'))
    assert aligned.models[0].mean()['all']['rmse'] == pytest.approx(0, abs=1e-4)
    untested = evaluate(models, Listed(dataset.samples[3:4]), MonoMeasures(truth=False))
    assert untested.models[0].samples[0].metrics == {}


def test_only_depths_in_the_range_are_aligned_and_counted():
    truth = np.linspace(1, 20, 60).reshape(6, 10).astype(np.float32)
    inverse = np.where(truth > 10, 9, 1 / truth)
    dataset = Listed([MonoSample(np.zeros((6, 10, 3), np.uint8), truth)])
    models = {'inverse': MonoEstimator(Inverse(inverse))}
    near = evaluate(models, dataset, MonoMeasures(depth_range=(0.1, 10)))
    assert near.models[0].mean()['all']['rmse'] == pytest.approx(0, abs=1e-4)
    assert evaluate(models, dataset, MonoMeasures()).models[0].mean()['all']['rmse'] > 1


@pytest.mark.parametrize(
    ('name', 'key'),
    [
        ('kitti-d1', 'd1_all'), ('epe', 'epe'), ('EPE', 'epe'), (' bad-1.0', 'bad_1'),
        ('bad-0.5', 'bad_0.5'), ('D1-all', 'd1_all'), ('bad-2-filled', 'bad_2_filled'),
    ],
)  # fmt: skip
def test_names_of_metrics(name, key):
    assert metric_key(name, STEREO_TITLES) == key


def test_every_measure_has_a_title():
    evaluation = evaluate_stereo(estimators(a=5), Listed([sample(5)]), confidence=True)
    assert evaluation.models[0].mean()['all'].keys() == STEREO_TITLES.keys()
    with pytest.raises(ValueError, match="metric 'd2' is unknown; choose one of epe, rmse"):
        metric_key('d2', STEREO_TITLES)


@pytest.fixture
def evaluation() -> Evaluation:
    return evaluate_stereo(estimators(a=5, nowhere=np.nan), Listed([sample(7, 's'), OSError('x')]))


def test_tables(evaluation):
    rows = summary(evaluation, ['epe', 'bad_1', 'ause'], ['all', 'noc'])
    assert rows[0] == ['MODEL', 'REGION', 'EPE px', 'bad-1 %', 'AUSE px', 'p50 ms', 'p95 ms']
    assert rows[1][:5] == ['a', 'all', '2.000', '100.00', '-']
    assert rows[2][:5] == ['nowhere', 'all', '-', '100.00', '-']
    content = json.loads(json_text(evaluation, more=np.nan))
    assert (content['samples'], content['skipped']) == (1, {'sample 1': 'x'})
    assert content['more'] is None
    assert content['models'][0]['mean']['all']['epe'] == 2
    assert content['models'][1]['samples'][0]['metrics']['all']['epe'] is None
    cells = list(csv.DictReader(csv_text(evaluation).splitlines()))
    assert [(x['model'], x['region']) for x in cells] == [
        ('a', 'all'), ('a', 'textureless'), ('nowhere', 'all'), ('nowhere', 'textureless'),
    ]  # fmt: skip
    assert (cells[0]['epe'], cells[2]['epe'], cells[2]['density']) == ('2', 'nan', '0')


@pytest.mark.parametrize('first', ['=', '+', '-', '@', '\t'])
def test_names_in_csv_are_no_formulas(first):
    name = f'{first}1+cmd|x!A1'
    score = SampleScore(name, (90, 40), {'all': {'epe': -2.0}}, 5.0)
    evaluation = Evaluation('data', StereoMeasures(), [ModelScore(name, 'cpu', [score])])
    (row,) = csv.DictReader(csv_text(evaluation).splitlines())
    assert (row['model'], row['sample'], row['epe']) == (f"'{name}", f"'{name}", '-2')


def pictures_of(html: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    data = [np.frombuffer(base64.b64decode(text), np.uint8) for text in found]
    return [cv2.cvtColor(cv2.imdecode(x, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) for x in data]


def test_gallery_keeps_the_worst():
    gallery = Gallery(['a'], StereoMeasures(), most=2)
    dataset = Listed([sample(truth, f'<{truth}>') for truth in (6, 9, 5, 8)])
    evaluation = evaluate_stereo(estimators(a=5), dataset, observe=gallery)
    html = report_html(evaluation, [['<model>'], ['a']], gallery)
    assert re.findall(r'<h3>(.*?)</h3>', html) == ['&lt;9&gt;', '&lt;8&gt;']
    assert '<model>' not in html
    pictures = pictures_of(html)
    assert [picture.shape for picture in pictures] == [(HEIGHT, WIDTH, 3)] * 8
    red, white = pictures[3], pictures_of(_report_of_nothing())[3]
    assert (red[..., 0] > 100).all()  # an error of 4
    assert (red[..., 1:] < 40).all()
    assert (white > 240).all()


def _report_of_nothing() -> str:
    gallery = Gallery(['a'], StereoMeasures())
    evaluation = evaluate_stereo(
        estimators(a=np.nan), Listed([sample(5), OSError('torn')]), observe=gallery
    )
    html = report_html(evaluation, [['model'], ['a']], gallery)
    assert '1 skipped' in html
    assert 'torn' in html
    return html


def test_reduced_maps_of_sparse_truth_stay_bright():
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[::2, ::2] = (0, 200, 0)
    gallery = Gallery([], StereoMeasures(), width=32)
    (reduced,) = pictures_of(gallery._map('', picture))
    assert reduced.shape == (16, 32, 3)
    assert (reduced[..., 1] > 190).all()
