"""Launch files and what they name; the descriptions themselves where launch is installed."""

import ast
import runpy
from pathlib import Path

import pytest
import yaml

from nndepth_ros.outputs import STEREO_OUTPUTS

ROOT = Path(__file__).parents[2]
LAUNCH_FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
STEREO, REPLAY = ROOT / 'launch' / 'stereo.launch.py', ROOT / 'launch' / 'replay.launch.py'
INPUTS = ('left/image_rect', 'right/image_rect')


def calls(path: Path, function: str) -> list[tuple[list[ast.expr], dict[str, ast.expr]]]:
    """Positional and keyword arguments of every call of a function in a file."""
    return [
        (node.args, {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg})
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == function
    ]


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_arguments_are_described(path):
    declared = calls(path, 'DeclareLaunchArgument')
    assert declared
    for (name,), keywords in declared:
        assert ast.literal_eval(keywords['description']), ast.literal_eval(name)
        assert 'default_value' in keywords or ast.literal_eval(name) == 'bag'


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_what_is_named_exists(path):
    for _, keywords in calls(path, 'Node'):
        package = ast.literal_eval(keywords['package'])
        executable = ast.literal_eval(keywords['executable'])
        assert package == executable == 'rviz2' or (
            package == 'nndepth' and (ROOT / 'scripts' / executable).is_file()
        )
    present = {file.name for folder in ('config', 'launch') for file in (ROOT / folder).rglob('*')}
    constants = [
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    named = {text for text in constants if text.endswith(('.yaml', '.xml', '.rviz', '.launch.py'))}
    assert named
    assert named <= present


def test_rviz_shows_topics_of_the_node():
    config = yaml.safe_load((ROOT / 'config' / 'rviz' / 'stereo.rviz').read_text())
    displays = config['Visualization Manager']['Displays']
    topics = {display['Topic']['Value']: display['Class'] for display in displays}
    assert topics == {
        'left/image_rect': 'rviz_default_plugins/Image',
        'disparity/image_color': 'rviz_default_plugins/Image',
        'points2': 'rviz_default_plugins/PointCloud2',
    }
    assert set(topics) <= {*INPUTS, *STEREO_OUTPUTS}


@pytest.fixture
def launched(monkeypatch):
    """Return a function that gives the actions of stereo.launch.py for some arguments."""
    pytest.importorskip('launch_ros.actions', reason='launch_ros is not installed')
    from launch.launch_context import LaunchContext

    monkeypatch.delenv('FASTRTPS_DEFAULT_PROFILES_FILE', raising=False)
    monkeypatch.delenv('FASTDDS_DEFAULT_PROFILES_FILE', raising=False)

    def start(**arguments: str):
        context = LaunchContext()
        context.launch_configurations.update(arguments)
        *declared, opaque = runpy.run_path(str(STEREO))['generate_launch_description']().entities
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
    return {word for word in words if word.startswith(('left/', 'right/'))}


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


def test_missing_parameter_file_is_refused(launched):
    with pytest.raises(FileNotFoundError, match='absent'):
        launched(params_file='absent.yaml')


def test_bag_plays_with_its_clock(launched):
    context, (_, node, _, timer) = launched(bag='run 1', bag_options='--rate 0.5 --loop')
    from launch.utilities import perform_substitutions

    (play,) = timer.actions
    words = [perform_substitutions(context, word) for word in play.cmd]
    assert words[:6] == ['ros2', 'bag', 'play', 'run 1', '--clock', '100']
    assert words[-3:] == ['--rate', '0.5', '--loop']
    assert parameters(command(context, node))[1] == {'use_sim_time': True}


def test_replay_offers_the_arguments_of_both():
    sources = pytest.importorskip('launch.launch_description_sources')

    def names(path: Path) -> set[str]:
        description = sources.get_launch_description_from_python_launch_file(str(path))
        return {argument.name for argument in description.get_launch_arguments()}

    assert names(REPLAY) == names(STEREO) | {'bag', 'rate', 'loop', 'start_offset'}
