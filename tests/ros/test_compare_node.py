"""The comparing node over DDS, between publishers that play two models and their camera."""

import math
import threading

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')

from nndepth.msg import InferenceStats
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rig import NodeBench, header
from sensor_msgs.msg import Image

from nndepth_core.camera import StereoCamera
from nndepth_ros import compare_node
from nndepth_ros.compare_node import COMPARE_OUTPUTS, COMPARISON, DIFFERENCE, PICTURE, CompareNode
from nndepth_ros.conversions import disparity_message, image_message, ros_message_types

SECOND = 1_000_000_000
NAN = math.nan
TYPES = ros_message_types()


class CompareRig(NodeBench):
    """A comparing node, and a tester that plays models `a` and `b` and keeps what comes back."""

    def __init__(self, namespace: str, outputs, parameters) -> None:
        given = [Parameter(name, value=value) for name, value in parameters.items()]
        super().__init__(CompareNode(namespace=namespace, parameter_overrides=given))
        mono = parameters.get('task') == 'mono'
        answer, topic = (Image, 'depth/image') if mono else (TYPES.disparity_image, 'disparity')
        qos = QoSProfile(depth=50)
        self.answers = {m: self.publisher(answer, f'{m}/{topic}', qos) for m in 'ab'}
        self.stats = {m: self.publisher(InferenceStats, f'{m}/stats', qos) for m in 'ab'}
        self.image = self.publisher(Image, self.node.image_topic, qos_profile_sensor_data)
        for name in outputs:
            self.subscription(COMPARE_OUTPUTS[name], name, qos)
        self.spin()
        self.in_executor(self.node.autostart)
        inputs = [*self.answers.values(), *self.stats.values()]
        inputs += [self.image] if PICTURE in outputs else []
        self.wait_until(
            lambda: (
                all(pub.get_subscription_count() for pub in inputs)
                and all(self.node.outputs[name].get_subscription_count() for name in outputs)
            ),
            'discovery',
        )

    def disparity(self, model: str, stamp: int, values: np.ndarray, low: float = 0.0) -> None:
        """Publish a disparity whose camera has the width of the values."""
        height, width = values.shape
        camera = StereoCamera.from_cameras(*(_camera(width, height, x) for x in (0.0, 0.2)))
        message = disparity_message(
            TYPES, header(stamp), values.astype(np.float32), camera, (low, 128.0), 1.0
        )
        self.answers[model].publish(message)

    def depth(self, model: str, stamp: int, values: np.ndarray) -> None:
        pixels = values.astype(np.float32)
        self.answers[model].publish(image_message(TYPES, header(stamp), pixels, '32FC1'))

    def tell(self, model: str, name: str, inference: float, total: float) -> None:
        self.stats[model].publish(
            InferenceStats(
                model=name,
                engine='x',
                device='cpu',
                inference_ms=float(inference),
                total_ms=float(total),
            )
        )

    def handled(self) -> int:
        """How many answers the node has taken."""
        answers, counts = self.node.answers, self.node.answers.counts
        alone = counts.only_a + counts.only_b + counts.repeated
        return 2 * counts.joined + alone + answers.waiting


def _camera(width: int, height: int, x: float):
    from nndepth_core.camera import PinholeCamera

    centre = (width - 1) / 2, (height - 1) / 2
    return PinholeCamera(width, height, float(width), float(width), *centre, position=(x, 0, 0))


@pytest.fixture
def make(ros, request):
    rigs = []

    def start(*outputs: str, **parameters) -> CompareRig:
        namespace = f'/{request.node.originalname}{len(rigs)}'
        rigs.append(CompareRig(namespace, outputs, parameters))
        return rigs[-1]

    yield start
    for rig in rigs:
        rig.close()


def flat(value: float, width: int = 8, height: int = 6) -> np.ndarray:
    return np.full((height, width), value)


def pixels(message) -> np.ndarray:
    return np.frombuffer(message.data, '<f4').reshape(message.height, message.width)


def test_figures_of_the_frame_the_window_and_the_whole(make):
    rig = make(COMPARISON, DIFFERENCE, window=2)
    a = np.array([[10, 10, 10, 40, NAN, 7, NAN, 0.0]])
    for number, shift in enumerate((0, 0.5, 2)):
        b = np.array([[10 + shift, 12, 15, 41, 3, NAN, NAN, 0.0]])
        rig.disparity('a', number * SECOND, a)
        rig.disparity('b', number * SECOND, b)
    last = rig.wait_for(COMPARISON, 3)[-1]
    assert (last.header.stamp.sec, last.header.frame_id) == (2, 'left_optical')
    assert (last.unit, last.width, last.height) == ('px', 8, 1)
    assert (last.window.frames, last.total.frames, last.joined) == (2, 3, 3)
    assert last.total.density_a == last.total.density_b == 0.75
    # 5 common pixels a frame: within 1 px 3, 3 and 2; within 3 px 4, 4, 4
    assert last.total.within_1px == pytest.approx(8 / 15)
    assert last.window.within_1px == pytest.approx(5 / 10)
    assert last.total.within_3px == pytest.approx(12 / 15)
    assert last.total.within_5_percent == pytest.approx((3 + 3 + 2) / 15)
    assert last.window.mean_difference == pytest.approx((8.5 + 10) / 10)
    assert math.isnan(last.total.inference_ms_a)
    difference = pixels(rig.wait_for(DIFFERENCE, 3)[-1])
    expected = [-2, -2, -5, -1, NAN, NAN, NAN, 0]
    assert np.array_equal(difference[0], expected, equal_nan=True)


def test_lost_late_and_repeated_answers_in_mixed_order(make):
    rig = make(COMPARISON, max_wait=60.0)
    order = 'a1 a2 b1 a3 b3 b2 b3 a4 b5 a5 b6 a6 a6'
    for number, text in enumerate(order.split(), 1):
        rig.disparity(text[0], int(text[1]) * SECOND, flat(20))
        rig.wait_until(lambda: rig.handled() == number, text)  # noqa: B023 - it is used at once
    rig.disparity('a', 7 * SECOND, flat(20))
    rig.disparity('b', 7 * SECOND, flat(20))
    last = rig.wait_for(COMPARISON, 5)[-1]
    assert [message.header.stamp.sec for message in rig.received[COMPARISON]] == [1, 3, 5, 6, 7]
    # 2 and 4 were given up when a later frame was joined; b2, the second b3 and a6 came too late
    assert (last.joined, last.only_a, last.only_b, last.repeated) == (5, 2, 0, 3)


def test_a_model_that_never_answers_is_named_and_what_waits_is_given_up(make):
    rig = make(COMPARISON, max_wait=0.2, input_timeout=0.1)
    rig.in_executor(setattr, rig.node, '_since', 0.0)  # long ago
    rig.wait_diagnostic('neither model has answered')
    stop = threading.Event()

    def answer() -> None:
        number = 0
        while not stop.wait(0.02):
            rig.disparity('a', (number := number + 1) * SECOND, flat(20))

    models = threading.Thread(target=answer)
    models.start()
    try:
        rig.wait_diagnostic('B has not answered for 0.2 s while the other model has')
        rig.wait_until(lambda: rig.node.answers.counts.only_a > 5, 'expiry')
    finally:
        stop.set()
        models.join()
    rig.wait_until(lambda: rig.node.answers.waiting == 0, 'the rest')
    assert not rig.received[COMPARISON]


def test_models_that_answer_other_frames_are_found(make):
    rig = make(max_wait=0.05, input_timeout=0.2)
    stop = threading.Event()

    def answer() -> None:
        number = 0
        while not stop.wait(0.02):
            rig.disparity('ab'[number % 2], (number := number + 1) * SECOND, flat(20))

    models = threading.Thread(target=answer)
    models.start()
    try:
        rig.wait_diagnostic('no frame was answered by both within max_wait (0.05 s)')
    finally:
        stop.set()
        models.join()


def test_the_smaller_map_is_resampled(make):
    rig = make(COMPARISON, DIFFERENCE)
    large = flat(8, 16, 12)
    large[:, 6:] = 40
    rig.disparity('a', 0, large)
    rig.disparity('b', 0, large[::2, ::2] / 2)  # of half the size, in its pixels
    (first,) = rig.wait_for(COMPARISON)
    assert (first.width, first.height) == (16, 12)
    assert first.total.mean_difference == 0
    assert not pixels(rig.wait_for(DIFFERENCE)[0]).any()
    rig.wait_diagnostic('A gave 16x12 and B 8x6 in a frame; such ones are compared at 16x12')


def test_a_camera_of_another_size_half_way_goes_on_and_is_told(make):
    rig = make(COMPARISON)
    for stamp, size in enumerate([(8, 6), (8, 6), (16, 4)]):
        rig.disparity('a', stamp * SECOND, flat(20, *size))
        rig.disparity('b', stamp * SECOND, flat(22, *size))
    last = rig.wait_for(COMPARISON, 3)[-1]
    assert (last.total.frames, last.total.mean_difference, last.width) == (3, 2, 16)
    rig.wait_diagnostic('the size has changed from 8x6 to 16x4')


def test_times_come_from_the_stats_and_a_new_model_starts_anew(make):
    rig = make(COMPARISON)
    for inference in (10, 20):
        rig.tell('a', 'old', inference, 2 * inference)
    rig.tell('b', 'other', 5, 6)
    told = lambda: rig.node.comparison.figures('total')  # noqa: E731
    rig.wait_until(lambda: told()['total_ms_b'] == 6 and told()['total_ms_a'] == 30, 'stats')
    for model in 'ab':
        rig.disparity(model, SECOND, flat(20))
    (first,) = rig.wait_for(COMPARISON)
    assert (first.model_a, first.model_b) == ('old by x on cpu', 'other by x on cpu')
    assert (first.total.inference_ms_a, first.total.total_ms_a) == (15, 30)
    assert (first.total.inference_ms_b, first.window.total_ms_b) == (5, 6)
    rig.tell('a', 'new', 40, 50)
    rig.wait_until(
        lambda: rig.node.comparison.names.get('a') == 'new by x on cpu', 'the new model'
    )
    for model in 'ab':
        rig.disparity(model, 2 * SECOND, flat(20))
    second = rig.wait_for(COMPARISON, 2)[-1]
    assert (second.total.frames, second.total.inference_ms_a, second.joined) == (1, 40, 2)


def test_the_same_model_twice_agrees_and_is_told(make):
    rig = make(COMPARISON)
    for model in 'ab':
        rig.tell(model, 'sgbm', 1, 2)
        rig.disparity(model, SECOND, np.array([[5, NAN, 0.0, 9]]))
    (first,) = rig.wait_for(COMPARISON)
    assert first.total.within_1px == first.total.within_5_percent == 1
    rig.wait_diagnostic('A and B are the same model, sgbm by x on cpu')


def test_a_broken_answer_is_named_and_the_next_one_counts(make):
    rig = make(COMPARISON)
    broken = image_message(TYPES, header(0), np.zeros((4, 4), np.uint8), 'mono8')
    rig.answers['a'].publish(TYPES.disparity_image(header=header(0), image=broken))
    rig.disparity('b', 0, flat(20))
    rig.wait_diagnostic("/a/disparity: encoding 'mono8' is none of disparity")
    for model in 'ab':
        rig.disparity(model, SECOND, flat(20))
    assert rig.wait_for(COMPARISON)[0].total.frames == 1


def test_the_picture_shows_the_image_of_the_frame(make, monkeypatch):
    rig = make(PICTURE, picture_rate=100.0)
    colours = {1: (200, 0, 0), 2: (0, 200, 0)}
    for stamp, colour in colours.items():
        image = np.full((60, 80, 3), colour, np.uint8)
        rig.image.publish(image_message(TYPES, header(stamp * SECOND), image, 'rgb8'))
    rig.wait_until(lambda: len(rig.node._images) == 2, 'images')

    def answer(stamp: int) -> None:
        rig.node._drawn = -math.inf  # the picture before may have been drawn just now
        for model in 'ab':
            rig.disparity(model, stamp * SECOND, flat(20, 80, 60))

    def drawn(count: int) -> tuple[int, list[int]]:
        message = rig.wait_for(PICTURE, count)[-1]
        assert (message.encoding, message.width) == ('bgr8', 640)
        bgr = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        return message.header.stamp.sec, bgr[100, 100].tolist()

    answer(2)
    assert drawn(1) == (2, [0, 200, 0])
    assert not rig.node._images
    answer(3)
    rig.wait_until(lambda: rig.node._late is not None, 'the frame without image')
    image = np.full((60, 80, 3), (0, 0, 200), np.uint8)
    rig.image.publish(image_message(TYPES, header(3 * SECOND), image, 'rgb8'))
    assert drawn(2) == (3, [200, 0, 0])
    monkeypatch.setattr(compare_node, 'IMAGE_WAIT', 0)
    answer(4)  # whose image never comes
    answer(5)
    assert drawn(3) == (4, [64, 64, 64])


def test_pictures_are_rare_and_only_drawn_for_somebody(make, monkeypatch):
    monkeypatch.setattr(compare_node, 'IMAGE_WAIT', 0)
    rig = make(COMPARISON, PICTURE, picture_rate=0.01)
    for stamp in range(5):
        for model in 'ab':
            rig.disparity(model, stamp * SECOND, flat(20))
    rig.wait_for(COMPARISON, 5)
    rig.wait_for(PICTURE)
    assert len(rig.received[PICTURE]) == 1  # of the frame whose image has not come
    alone = make(COMPARISON)
    assert alone.image.get_subscription_count() == 0


def test_depths_of_single_images(make):
    rig = make(COMPARISON, task='mono')
    rig.depth('a', SECOND, np.array([[10, 10, NAN, np.inf, 0]]))
    rig.depth('b', SECOND, np.array([[10.4, 12, 5, np.inf, -np.inf]]))
    (first,) = rig.wait_for(COMPARISON)
    assert (first.unit, first.total.within_5_percent) == ('m', 0.5)
    assert first.total.mean_difference == pytest.approx(1.2)
    assert math.isnan(first.total.within_1px)
    assert first.total.density_a == pytest.approx(0.4)


def test_parameters_change_while_it_runs(make):
    rig = make(COMPARISON, window=10)
    for stamp in range(4):
        for model in 'ab':
            rig.disparity(model, stamp * SECOND, flat(20))
    rig.wait_for(COMPARISON, 4)
    changes = [Parameter('window', value=2), Parameter('max_wait', value=9.0)]
    assert all(it.successful for it in rig.in_executor(rig.node.set_parameters, changes))
    assert rig.node.comparison.figures('window')['frames'] == 2
    assert rig.node.answers.max_wait == 9
    refused = rig.in_executor(rig.node.set_parameters, [Parameter('window', value=0)])
    assert not refused[0].successful
    assert rig.node.config.window == 2


def test_a_node_can_be_activated_again(make):
    rig = make(COMPARISON)
    for model in 'ab':
        rig.disparity(model, SECOND, flat(20))
    rig.wait_for(COMPARISON)
    for step in ('deactivate', 'cleanup', 'configure', 'activate'):
        rig.in_executor(getattr(rig.node, f'trigger_{step}'))
    publishers = rig.answers.values()
    rig.wait_until(lambda: all(pub.get_subscription_count() for pub in publishers), 'discovery')
    rig.wait_until(
        lambda: rig.node.outputs[COMPARISON].get_subscription_count(), 'discovery of outputs'
    )
    for model in 'ab':
        rig.disparity(model, 2 * SECOND, flat(20))
    assert rig.wait_for(COMPARISON, 2)[-1].total.frames == 1
