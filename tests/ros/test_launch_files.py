"""Launch files and what they name; the descriptions themselves where launch is installed."""

import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from queue import SimpleQueue
from xml.etree import ElementTree

import pytest
import yaml

from nndepth_ros.live_scale import SCALE_INPUTS
from nndepth_ros.outputs import MONO_OUTPUTS, STEREO_OUTPUTS
from nndepth_ros.parameters.scale import SCALE_PARAMETERS
from nndepth_ros.rigs_view import rviz_view, topics

ROOT = Path(__file__).parents[2]
STEREO, MONO, REPLAY, AB, RIGS = (
    ROOT / 'launch' / f'{name}.launch.py'
    for name in ('stereo', 'mono', 'replay', 'ab', 'multi_stereo')
)
NODES = {'stereo': STEREO_OUTPUTS, 'mono': MONO_OUTPUTS}


@pytest.mark.parametrize('task', [*NODES, 'multi_stereo'])
def test_what_is_named_exists(task):
    """By file names, for launch is not installed everywhere."""
    assert (ROOT / 'launch' / f'{task}.launch.py').is_file()
    assert (ROOT / 'config' / f'{task}.yaml').is_file()
    assert (ROOT / 'scripts' / f'{task}_node').is_file()
    assert (ROOT / 'config' / 'fastdds.xml').is_file()


@pytest.mark.parametrize(
    ('task', 'image', 'outputs'),
    [
        ('stereo', 'left/image_rect', {'disparity/image_color', 'points2'}),
        ('mono', 'image_rect', {'depth/image_color', 'points2'}),
    ],
)
def test_rviz_shows_topics_of_the_node(task, image, outputs):
    config = yaml.safe_load((ROOT / 'config' / 'rviz' / f'{task}.rviz').read_text())
    displays = config['Visualization Manager']['Displays']
    topics = {display['Topic']['Value']: display['Class'] for display in displays}
    assert set(topics) == {image, *outputs}
    assert outputs <= set(NODES[task])
    for topic, kind in topics.items():
        wanted = 'PointCloud2' if topic == 'points2' else 'Image'
        assert kind == f'rviz_default_plugins/{wanted}'


def test_rviz_shows_the_same_of_every_rig():
    folder = ROOT / 'config' / 'rviz'
    single = yaml.safe_load((folder / 'stereo.rviz').read_text())
    shown = single['Visualization Manager']['Displays']
    remapped = {'left/image_rect': 'infra1/image'}
    text = rviz_view(folder / 'multi_stereo.rviz', ['front', '/rear'], remapped)
    frames, *groups = yaml.safe_load(text)['Visualization Manager']['Displays']
    assert frames['Class'] == 'rviz_default_plugins/TF'
    for rig, group in zip(('front', '/rear'), groups, strict=True):
        assert (group['Class'], group['Name']) == ('rviz_common/Group', rig)
        expected = deepcopy(shown)
        for display in expected:
            name = display['Topic']['Value']
            display['Topic']['Value'] = f'{rig}/{remapped.get(name, name)}'
        assert group['Displays'] == expected


def test_absolute_topics_are_those_of_no_rig():
    template = ROOT / 'config' / 'rviz' / 'multi_stereo.rviz'
    text = rviz_view(template, ['a'], {'left/image_rect': '/image'})
    group = yaml.safe_load(text)['Visualization Manager']['Displays'][1]
    assert [topic['Value'] for topic in topics(group)] == [
        '/image',
        'a/disparity/image_color',
        'a/points2',
    ]


@pytest.fixture
def launched(monkeypatch):
    """Return a function that gives the actions of a launch file for some arguments."""
    pytest.importorskip('launch_ros.actions', reason='launch_ros is not installed')
    from launch.launch_context import LaunchContext

    monkeypatch.delenv('FASTRTPS_DEFAULT_PROFILES_FILE', raising=False)
    monkeypatch.delenv('FASTDDS_DEFAULT_PROFILES_FILE', raising=False)

    def start(path: Path = STEREO, **arguments: str):
        context = LaunchContext()
        context.launch_configurations.update(arguments)
        *declared, opaque = runpy.run_path(str(path))['generate_launch_description']().entities
        for argument in declared:
            argument.execute(context)
        return context, opaque.execute(context)

    return start


def command(context, node) -> list[str]:
    """The command line of a node, without what depends on the installed prefix."""
    from launch.utilities import perform_substitutions

    node._perform_substitutions(context)
    context.extend_locals({'ros_specific_arguments': {'name': '', 'ns': ''}})
    return [perform_substitutions(context, word) for word in node.cmd[1:]]


def remapped(words: list[str]) -> set[str]:
    return {word for word in words if ':=' in word}


def parameters(words: list[str]) -> list[dict]:
    files = [words[at + 1] for at, word in enumerate(words) if word == '--params-file']
    return [
        next(iter(yaml.safe_load(Path(file).read_text()).values()))['ros__parameters']
        for file in files
    ]


def test_by_default_node_with_large_shared_memory(launched):
    context, (profile, node, rviz) = launched()
    profile.execute(context)
    assert context.environment['FASTRTPS_DEFAULT_PROFILES_FILE'] == str(
        ROOT / 'config' / 'fastdds.xml'
    )
    assert (node.node_package, node.node_executable) == ('nndepth', 'stereo_node')
    assert not rviz.condition.evaluate(context)
    words = command(context, node)
    assert remapped(words) == {
        'left/image_rect:=left/image_rect',
        'left/camera_info:=left/camera_info',
        'right/image_rect:=right/image_rect',
        'right/camera_info:=right/camera_info',
    }
    defaults = yaml.safe_load((ROOT / 'config' / 'stereo.yaml').read_text())
    assert parameters(words) == [defaults['/**']['ros__parameters'], {}]


def test_the_mono_node_has_one_camera(launched):
    context, (_, node, rviz) = launched(MONO, image='/cam/image', model='midas_small')
    assert (node.node_package, node.node_executable) == ('nndepth', 'mono_node')
    words = command(context, node)
    expected = {'image_rect:=/cam/image', 'camera_info:=/cam/camera_info'}
    expected |= {f'{topic}:={topic}' for topic in SCALE_INPUTS}
    assert remapped(words) == remapped(command(context, rviz)) == expected
    defaults = yaml.safe_load((ROOT / 'config' / 'mono.yaml').read_text())
    assert parameters(words) == [
        defaults['/**']['ros__parameters'],
        {'model': 'midas_small'},
    ]


def test_profile_of_the_user_stays(launched, monkeypatch):
    monkeypatch.setenv('FASTDDS_DEFAULT_PROFILES_FILE', 'mine.xml')
    _, actions = launched()
    assert len(actions) == 2


def test_calibration_follows_the_image_unless_named(launched):
    context, (_, node, rviz) = launched(
        left_image='/rig/left/image', right_image='image', right_camera_info='/rig/right/info'
    )
    expected = {
        'left/image_rect:=/rig/left/image',
        'left/camera_info:=/rig/left/camera_info',
        'right/image_rect:=image',
        'right/camera_info:=/rig/right/info',
    }
    assert remapped(command(context, node)) == expected
    assert remapped(command(context, rviz)) == expected


def test_raw_images_have_other_names(launched):
    context, (_, node, rviz) = launched(rectify='true', right_image='/rig/right/image')
    words = command(context, node)
    expected = {
        'left/image_raw:=left/image_raw',
        'left/camera_info:=left/camera_info',
        'right/image_raw:=/rig/right/image',
        'right/camera_info:=/rig/right/camera_info',
    }
    assert remapped(words) == expected
    shown = {rule.replace('/image_raw:', '/image_rect:') for rule in expected}
    assert remapped(command(context, rviz)) == shown
    assert parameters(words)[1] == {'rectify': True}


def test_the_file_can_ask_for_raw_images(launched, tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('/**:\n  ros__parameters:\n    rectify: true\n')
    context, (_, node, _) = launched(MONO, params_file=str(file), calibration='camera.yaml')
    words = command(context, node)
    assert {'image_raw:=image_raw', 'camera_info:=camera_info'} <= remapped(words)
    assert parameters(words)[1] == {'calibration': 'camera.yaml'}


def test_given_arguments_override_the_file(launched):
    context, (_, node, _) = launched(
        model='1', device='cpu', autostart='false', use_sim_time='true', namespace='front'
    )
    words = command(context, node)
    assert node.node_name == '/front/stereo_node'
    assert parameters(words)[1] == {
        'model': '1',
        'device': 'cpu',
        'autostart': False,
        'use_sim_time': True,
    }


@pytest.mark.parametrize(('text', 'value'), [('10', 10), ('7.5', 7.5), ('auto', 'auto')])
@pytest.mark.parametrize('file', [STEREO, MONO], ids=['stereo', 'mono'])
def test_a_rate_is_a_number_or_a_word(launched, file, text, value):
    context, (_, node, _) = launched(file, target_rate=text)
    assert parameters(command(context, node))[1] == {'target_rate': value}


def test_missing_parameter_file_is_refused(launched):
    with pytest.raises(FileNotFoundError, match='absent'):
        launched(params_file='absent.yaml')


def test_a_storage_plugin_comes_with_the_bag_player():
    """Of Humble, rosbag2 brings that of sqlite3 only; ros2bag brings none."""
    package = ElementTree.parse(ROOT / 'package.xml').getroot()
    needed = {element.text for element in package.findall('exec_depend')}
    assert {'rosbag2', 'rosbag2_storage_mcap'} <= needed


def test_a_played_bag_brings_the_clock(launched):
    context, actions = launched(bag='run 1')
    node, rviz = actions[-2:]
    given = parameters(command(context, node))[1]
    assert given == {'use_sim_time': True, 'autostart': False}
    assert parameters(command(context, rviz))[-1] == {'use_sim_time': True}


def test_rigs_run_in_one_process_whose_nodes_keep_their_names(launched):
    context, (profile, node) = launched(
        RIGS, rigs='[front, rear]', namespace='robot', model='sgbm', left_image='infra1/image'
    )
    profile.execute(context)
    assert context.environment['FASTRTPS_DEFAULT_PROFILES_FILE'].endswith('fastdds.xml')
    assert (node.node_package, node.node_executable) == ('nndepth', 'multi_stereo_node')
    words = command(context, node)
    defaults = yaml.safe_load((ROOT / 'config' / 'multi_stereo.yaml').read_text())
    given = {'model': 'sgbm', 'rigs': ['front', 'rear']}
    assert parameters(words) == [defaults['/**']['ros__parameters'], given]
    assert {'left/image_rect:=infra1/image', 'left/camera_info:=infra1/camera_info'} <= remapped(
        words
    )
    assert not any(word.startswith('__node:=') for word in words)


@pytest.mark.parametrize('rigs', ['[front, rear]', ''])
def test_rviz_of_rigs(launched, tmp_path, rigs):
    file = tmp_path / 'rigs.yaml'
    file.write_text('/**:\n  ros__parameters:\n    rigs: [front, rear]\n')
    context, (_, _, rviz) = launched(RIGS, params_file=str(file), rigs=rigs, rviz='true')
    words = command(context, rviz)
    assert words[words.index('-f') + 1] == 'base_link'
    view = yaml.safe_load(Path(words[words.index('-d') + 1]).read_text())
    names = [display['Name'] for display in view['Visualization Manager']['Displays']]
    assert names == ['TF', 'front', 'rear']


def test_rviz_needs_to_know_the_rigs(launched, tmp_path):
    file = tmp_path / 'rigs.yaml'
    file.write_text('/**:\n  ros__parameters:\n    model: sgbm\n')
    with pytest.raises(ValueError, match='no rigs are named; name them like'):
        launched(RIGS, params_file=str(file), rviz='true')


def test_rigs_may_stand_in_the_file(launched, tmp_path):
    file = tmp_path / 'rigs.yaml'
    file.write_text('/**:\n  ros__parameters:\n    rigs: [a, b]\n')
    context, (_, node) = launched(RIGS, params_file=str(file), autostart='false')
    words = command(context, node)
    assert parameters(words) == [{'rigs': ['a', 'b']}, {'autostart': False}]


@pytest.mark.parametrize(
    ('given', 'names'),
    [('[front, rear]', ['front', 'rear']), ('front,rear', ['front', 'rear']), ('a', ['a'])],
)
def test_rigs_are_a_list_of_names(launched, given, names):
    context, (_, node) = launched(RIGS, rigs=given)
    assert parameters(command(context, node))[1] == {'rigs': names}


@pytest.mark.parametrize('given', ['[]', '[1, 2]', '[front, [rear]]', '[front', "['']"])
def test_rigs_that_are_no_names_are_refused(launched, given):
    with pytest.raises(ValueError, match=r'; name them like rigs:="\[front, rear\]"'):
        launched(RIGS, rigs=given)


LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *arguments = sys.argv[1:]
pairs = [argument.split(':=', 1) for argument in arguments]
include = IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=pairs)
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


@pytest.fixture
def launching(tmp_path):
    """Return a function that starts a launch file, with a stand-in for `ros2 bag play`."""
    pytest.importorskip('launch_ros.actions', reason='launch_ros is not installed')
    tool = tmp_path / 'ros2'
    tool.write_text('#!/bin/sh\necho PLAYS "$@"\n')
    tool.chmod(0o755)
    environment = {
        **os.environ,
        'PATH': f'{tmp_path}:{os.environ["PATH"]}',
        'PYTHONUNBUFFERED': '1',
        'ROS_LOG_DIR': str(tmp_path),
    }
    started = []

    def end() -> None:
        for process in started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)

    def start(path: Path, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, '-c', LAUNCH, str(path), *arguments]
        pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
        started.append(subprocess.Popen(command, env=environment, **pipes))
        return started[-1]

    deadline = threading.Timer(100, end)
    deadline.start()
    yield start
    deadline.cancel()
    end()
    for process in started:
        process.communicate(timeout=30)


@pytest.fixture
def replaying(launching):
    """Return a function that starts replay.launch.py."""
    return lambda *arguments: launching(REPLAY, 'bag:=run 1', *arguments)


def test_the_bag_plays_once_the_node_is_active(replaying):
    process = replaying('model:=sgbm', 'rate:=0.5')
    said = []
    for line in process.stdout:
        said.append(line)
        if 'PLAYS' in line:
            break
    assert 'PLAYS bag play run 1 --clock 100 --disable-keyboard-controls --rate 0.5' in said[-1]
    assert any('active: sgbm' in line for line in said[:-1])


def test_all_rigs_of_a_launch_become_active(launching, tmp_path):
    file = tmp_path / 'rigs.yaml'
    file.write_text('/rear/stereo_node:\n  ros__parameters:\n    sgbm.num_disparities: 50\n')
    process = launching(RIGS, 'rigs:=[front, left, rear]', 'model:=sgbm', f'params_file:={file}')
    missing, said = {'[front.stereo_node]: active', '[left.stereo_node]: active'}, []
    for line in process.stdout:
        said.append(line)
        missing = {text for text in missing if text not in line}
        if not missing:
            break
    assert not missing, said
    assert any('/rear: parameter sgbm.num_disparities: ' in line for line in said)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert 'Traceback' not in said
    assert 'process has finished cleanly' in said, said


@pytest.mark.parametrize(
    ('argument', 'says'),
    [
        ('model:=absent.onnx', 'stereo_node failed: it cannot become active'),
        ('log_level:=bogus', 'stereo_node failed: it ended with exit code'),
    ],
)
def test_a_node_that_cannot_become_active_ends_the_launch(replaying, argument, says):
    process = replaying(argument)
    said, _ = process.communicate(timeout=60)
    assert says in said
    assert 'PLAYS' not in said
    assert process.returncode == 1


def test_without_autostart_the_bag_waits_for_the_user(replaying):
    import rclpy
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    process = replaying('model:=sgbm', 'autostart:=false')
    context = rclpy.Context()
    rclpy.init(context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    user = rclpy.create_node('user', context=context)
    client = user.create_client(ChangeState, '/stereo_node/change_state')
    try:
        assert client.wait_for_service(60)
        for number in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            request = ChangeState.Request(transition=Transition(id=number))
            future = client.call_async(request)
            executor.add_node(user)
            executor.spin_until_future_complete(future, 60)
            assert future.result().success
        assert any('PLAYS' in line for line in process.stdout)
    finally:
        user.destroy_node()
        executor.shutdown()
        context.shutdown()


def declared(path: Path) -> dict[str, str]:
    """Description of each argument of a launch file."""
    sources = pytest.importorskip('launch.launch_description_sources')
    pytest.importorskip('launch_ros.actions', reason='launch_ros is not installed')
    description = sources.get_launch_description_from_python_launch_file(str(path))
    return {argument.name: argument.description for argument in description.get_launch_arguments()}


def test_replay_offers_the_arguments_of_both():
    assert set(declared(REPLAY)) == {*declared(STEREO), 'bag', 'rate', 'loop', 'start_offset'}


def test_stereo_and_mono_differ_in_the_inputs_only():
    cameras = {'left_image', 'right_image', 'left_camera_info', 'right_camera_info'}
    single = {'image', 'camera_info', *(topic.replace('/', '_') for topic in SCALE_INPUTS)}
    single |= {row.name for row in SCALE_PARAMETERS}
    assert set(declared(STEREO)) - cameras == set(declared(MONO)) - single


def test_rigs_have_the_arguments_of_a_node_but_those_of_one_rig_only():
    single = {'bag', 'bag_options'}
    assert set(declared(RIGS)) == (set(declared(STEREO)) - single) | {'rigs'}


def test_depths_that_tell_the_scale_can_be_remapped(launched):
    context, (_, node, _) = launched(MONO, scale_points='/lidar/points')
    assert 'scale/points:=/lidar/points' in remapped(command(context, node))


def test_what_tells_the_scale_is_an_argument(launched):
    given = {'scale_source': 'camera_height', 'camera_height': '1.5', 'scale_smoothing': '0'}
    context, (_, node, _) = launched(MONO, **given)
    expected = {'scale_source': 'camera_height', 'camera_height': 1.5, 'scale_smoothing': 0.0}
    assert parameters(command(context, node))[1] == expected
    with pytest.raises(ValueError, match="camera_height is 'high'; give a number"):
        launched(MONO, camera_height='high')


@pytest.mark.parametrize('path', [STEREO, MONO, REPLAY, AB, RIGS], ids=lambda path: path.name)
def test_arguments_are_described(path):
    assert 'no description given' not in declared(path).values()


def included(context, group) -> dict[str, str]:
    """The arguments that one of the two models is launched with."""
    from launch.actions import IncludeLaunchDescription

    (include,) = [
        it for it in group.get_sub_entities() if isinstance(it, IncludeLaunchDescription)
    ]
    return dict(include.launch_arguments)


def test_two_models_on_one_input(launched):
    context, (_, a, b, compare) = launched(AB, model_a='sgbm', model_b='x.onnx', namespace='rig')
    inputs = {
        'left_image': '/rig/left/image_rect',
        'right_image': '/rig/right/image_rect',
        'left_camera_info': '',
        'right_camera_info': '',
        'params_file': str(ROOT / 'config' / 'stereo.yaml'),
        'engine': '',
        'device': '',
        'rviz': 'false',
    }
    assert included(context, a) == {**inputs, 'model': 'sgbm', 'namespace': '/rig/a'}
    assert included(context, b) == {**inputs, 'model': 'x.onnx', 'namespace': '/rig/b'}
    words = command(context, compare)
    assert compare.node_name == '/rig/compare_node'
    assert remapped(words) == {'left/image_rect:=/rig/left/image_rect'}
    assert parameters(words)[1] == {'task': 'stereo', 'rectify': False}


def test_models_of_one_image_with_settings_of_their_own(launched, tmp_path):
    file = tmp_path / 'b.yaml'
    file.write_text('/**:\n  ros__parameters:\n    rectify: true\n')
    given = {'model_a': 'midas_small', 'model_b': 'moge2', 'params_file_b': str(file)}
    given |= {'image': 'cam/image', 'camera_info': '/info', 'use_sim_time': 'true'}
    given |= {'image_transport': 'compressed', 'autostart': 'false', 'device_b': 'cuda'}
    context, (_, a, b, compare) = launched(AB, **given)
    of_a, of_b = included(context, a), included(context, b)
    assert (of_a['image'], of_a['camera_info']) == ('/cam/image', '/info')
    assert of_a['params_file'] == str(ROOT / 'config' / 'mono.yaml')
    assert (of_b['params_file'], of_b['device'], of_a['device']) == (str(file), 'cuda', '')
    words = command(context, compare)
    assert remapped(words) == {'image_rect:=/cam/image'}
    assert parameters(words)[1] == {
        'task': 'mono',
        'rectify': False,
        'image_transport': 'compressed',
        'autostart': False,
        'use_sim_time': True,
    }


def test_raw_images_for_both_models(launched):
    context, (_, a, b, compare) = launched(AB, model_b='sgbm', rectify='true')
    assert included(context, a)['left_image'] == included(context, b)['left_image']
    assert included(context, a)['left_image'] == '/left/image_raw'
    assert remapped(command(context, compare)) == {'left/image_raw:=/left/image_raw'}


def test_the_same_model_with_the_same_settings_is_told(launched):
    context, actions = launched(AB, model_a='sgbm', model_b='sgbm')
    assert len(actions) == 5
    assert 'they will agree by 100 %' in context.perform_substitution(actions[1].msg[0])


@pytest.mark.parametrize(
    ('arguments', 'error', 'says'),
    [
        (
            {'model_a': 'sgbm', 'model_b': 'midas_small-v21_256'},
            RuntimeError,
            "model_a is 'sgbm', a stereo model and model_b is 'midas_small-v21_256', a mono "
            'model; give models of one task',
        ),
        ({'model_a': 'sgbm', 'task': 'mono'}, RuntimeError, "a stereo model and task is 'mono'"),
        ({'params_file_b': 'absent.yaml'}, FileNotFoundError, 'params_file_b is absent.yaml'),
        ({'bag': 'run'}, ValueError, 'nndepth compare BAG MODEL_A MODEL_B'),
    ],
)
def test_what_cannot_be_compared_is_refused(launched, arguments, error, says):
    with pytest.raises(error, match=re.escape(says)):
        launched(AB, **arguments)


@contextmanager
def playing(take):
    """Publish pairs, and hand what the comparison publishes to a function."""
    rclpy = pytest.importorskip('rclpy')
    messages = pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
    from rclpy.qos import qos_profile_sensor_data
    from rig import camera_info, header, shifted_pair
    from sensor_msgs.msg import CameraInfo, Image

    from nndepth_ros.conversions import image_message, ros_message_types

    context = rclpy.Context()
    rclpy.init(context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    camera = rclpy.create_node('camera', context=context)
    camera.create_subscription(messages.ModelComparison, 'comparison', take, 10)
    publishers = []
    for side, pixels in zip(('left', 'right'), shifted_pair(), strict=True):
        image = image_message(ros_message_types(), header(0), pixels, 'rgb8')
        for name, message in (('camera_info', camera_info(side)), ('image_rect', image)):
            kind = CameraInfo if name == 'camera_info' else Image
            publisher = camera.create_publisher(kind, f'{side}/{name}', qos_profile_sensor_data)
            publishers.append((publisher, message))

    def publish() -> None:
        stamp = camera.get_clock().now().to_msg()
        for publisher, message in publishers:
            message.header.stamp = stamp
            publisher.publish(message)

    camera.create_timer(0.1, publish)
    executor.add_node(camera)
    spinner = threading.Thread(target=executor.spin)
    spinner.start()
    try:
        yield
    finally:
        executor.shutdown()
        spinner.join()
        camera.destroy_node()
        context.shutdown()


def test_two_launched_models_are_compared(launching, tmp_path):
    file = tmp_path / 'b.yaml'
    file.write_text('/**:\n  ros__parameters:\n    sgbm:\n      block_size: 9\n')
    found = SimpleQueue()
    with playing(found.put):
        process = launching(AB, 'model_a:=sgbm', 'model_b:=sgbm', f'params_file_b:={file}')
        message = found.get(timeout=60)
        while message.total.frames < 5 or not message.model_b:
            message = found.get(timeout=60)
    assert (message.model_a, message.model_b) == ('sgbm by opencv on cpu',) * 2
    assert message.total.within_1px > 0.99
    assert 0 < message.total.inference_ms_a <= message.total.total_ms_a
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert 'they will agree' not in said
    assert 'Traceback' not in said


def test_a_model_that_cannot_be_loaded_leaves_the_other_one_alone(launching, tmp_path):
    file = tmp_path / 'compare.yaml'
    file.write_text('/**:\n  ros__parameters:\n    max_wait: 0.2\n    input_timeout: 0.2\n')
    said = []
    with playing(lambda _: None):
        process = launching(AB, 'model_a:=sgbm', 'model_b:=absent.onnx', f'params_file:={file}')
        for line in process.stdout:
            said.append(line)
            if 'B has not answered' in line and 'nobody publishes /b/disparity' in line:
                break
    assert 'the log of its node says whether its model could be loaded' in said[-1]
    assert any('b.stereo_node]: cannot configure: absent.onnx' in line for line in said)
    assert any('a.stereo_node]: active: sgbm' in line for line in said)
