"""What holds the package together: versions, walls between the rooms, files that others name."""

import ast
import importlib.util
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from nndepth_core.models import model_names
from nndepth_ros.outputs import POINTS_FILTERED
from nndepth_ros.parameters import COMPARE_PARAMETERS, MONO_PARAMETERS, STEREO_PARAMETERS
from nndepth_ros.parameters.rigs import RIGS_PARAMETERS

ROOT = Path(__file__).parents[2]
CORE = ROOT / 'nndepth_core'
SOURCES = sorted([*CORE.rglob('*.py'), *(ROOT / 'nndepth_ros').rglob('*.py')])
PACKAGE = ElementTree.parse(ROOT / 'package.xml').getroot()
CMAKE = (ROOT / 'CMakeLists.txt').read_text()

# Modules that exist to use a package the base install lacks.
HOMES_OF_OPTIONAL = (
    'nndepth_core.app.page',
    'nndepth_core.benchmark.gpu',
    'nndepth_core.export.onnx',
    'nndepth_core.export.quantize',
    'nndepth_core.engines.torch',
    'nndepth_core.engines.onnx',
    'nndepth_core.engines.optimize',
    'nndepth_core.config.recipes',
    'nndepth_core.config.training',
    'nndepth_core.models',
    'nndepth_core.blocks',
    'nndepth_core.encoders',
    'nndepth_core.training',
    'nndepth_core.data.loader',
    'nndepth_core.view.foxglove_sink',
    'nndepth_core.view.rerun_sink',
)
# What the rooms at the bottom may import of ours, beside themselves.
MAY_IMPORT = {
    'nndepth_core.files': (),
    'nndepth_core.blocks': (),
    'nndepth_core.encoders': ('nndepth_core.blocks',),
    'nndepth_core.models': (
        'nndepth_core.blocks',
        'nndepth_core.encoders',
        'nndepth_core.spec',
        'nndepth_core.third_party',
    ),
}
# Modules that are meant to know whether depth comes from a pair or from a single image.
KNOW_THE_TASK = (
    'nndepth_core.app',
    'nndepth_core.benchmark.authors',
    'nndepth_core.benchmark.filters',
    'nndepth_core.benchmark.measure',
    'nndepth_core.benchmark.official',
    'nndepth_core.benchmark.rendering',
    'nndepth_core.blocks.correlation',
    'nndepth_core.blocks.cost_volume',
    'nndepth_core.blocks.group_correlation',
    'nndepth_core.blocks.row_matching',
    'nndepth_core.blocks.sparse_correlation',
    'nndepth_core.calibrated',
    'nndepth_core.calibration',
    'nndepth_core.camera',
    'nndepth_core.cli',
    'nndepth_core.config.settings',
    'nndepth_core.config.training',
    'nndepth_core.data.augment',
    'nndepth_core.data.datasets',
    'nndepth_core.data.image_files',
    'nndepth_core.data.inspect',
    'nndepth_core.data.inspect_depth',
    'nndepth_core.data.sample',
    'nndepth_core.data.synthetic',
    'nndepth_core.data.window',
    'nndepth_core.engines.contract',
    'nndepth_core.engines.maps',
    'nndepth_core.engines.onnx',
    'nndepth_core.engines.reference',
    'nndepth_core.engines.contract_check',
    'nndepth_core.engines.sgbm',
    'nndepth_core.engines.tensors',
    'nndepth_core.estimator',
    'nndepth_core.evaluation.agreement',
    'nndepth_core.evaluation.metrics',
    'nndepth_core.evaluation.mono',
    'nndepth_core.evaluation.mono_metrics',
    'nndepth_core.evaluation.regions',
    'nndepth_core.evaluation.stereo',
    'nndepth_core.export.quantize',
    'nndepth_core.filters.chain',
    'nndepth_core.io',
    'nndepth_core.models',
    'nndepth_core.plausibility',
    'nndepth_core.rectification',
    'nndepth_core.spec',
    'nndepth_core.testing.fuzzing',
    'nndepth_core.testing.raw_rig',
    'nndepth_core.training.masked',
    'nndepth_core.training.mono',
    'nndepth_core.training.mono_losses',
    'nndepth_core.training.losses',
    'nndepth_core.training.nano_loss',
    'nndepth_core.training.stereo',
    'nndepth_core.uncertainty',
    'nndepth_core.view.capture',
    'nndepth_core.view.foxglove_sink',
    'nndepth_core.view.frame',
    'nndepth_core.view.rerun_sink',
    'nndepth_core.view.source',
    'nndepth_core.visualization',
    'nndepth_ros.bag',
    'nndepth_ros.bag_survey',
    'nndepth_ros.bag_topics',
    'nndepth_ros.cameras',
    'nndepth_ros.compare_bag',
    'nndepth_ros.compare_command',
    'nndepth_ros.compare_node',
    'nndepth_ros.compressed',
    'nndepth_ros.conversions',
    'nndepth_ros.demo',
    'nndepth_ros.depth_node',
    'nndepth_ros.doctor',
    'nndepth_ros.encodings',
    'nndepth_ros.fuzzing',
    'nndepth_ros.hop_benchmark',
    'nndepth_ros.known_depths',
    'nndepth_ros.live_scale',
    'nndepth_ros.mono_node',
    'nndepth_ros.mono_pipeline',
    'nndepth_ros.multi_stereo_node',
    'nndepth_ros.node_benchmark',
    'nndepth_ros.outputs',
    'nndepth_ros.parameters.compare',
    'nndepth_ros.parameters.mono',
    'nndepth_ros.parameters.stereo',
    'nndepth_ros.pseudo_label',
    'nndepth_ros.pseudo_label_command',
    'nndepth_ros.replay',
    'nndepth_ros.rigs_benchmark',
    'nndepth_ros.stereo_node',
    'nndepth_ros.stereo_pipeline',
    'nndepth_ros.synchronizer',
    'nndepth_ros.view_bag',
    'nndepth_ros.view_command',
)
# Although the folder as a whole may know it, these serve every task in the same way.
SERVE_EVERY_TASK = (
    'nndepth_core.data.datasets.hdf5',
    'nndepth_core.data.datasets.mixture',
)
# They only pass on what others define.
DOORS = ('nndepth_core', 'nndepth_ros.parameters')
TASK_WORDS = {'left', 'right', 'stereo', 'mono', 'disparity', 'disparities'}
ROSDEP_KEYS = {
    'cv2': 'python3-opencv',
    'numpy': 'python3-numpy',
    'tf2_ros': 'tf2_ros_py',
    'tqdm': 'python3-tqdm',
    'yaml': 'python3-yaml',
}
ONLY_FROM_PIP = {
    'accelerate',
    'backports',
    'compression',
    'foxglove',
    'google',
    'gradio',
    'h5py',
    'huggingface_hub',
    'jsonargparse',
    'lz4',
    'mcap',
    'onnx',
    'onnx_ir',
    'onnxruntime',
    'onnxscript',
    'ray',
    'rerun',
    'rosbags',
    'safetensors',
    'torch',
    'transformers',
    'typing_extensions',
}


def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, at any depth; imported names included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path} has a relative import'
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return names


def names_in(path: Path) -> set[str]:
    """Identifiers of a file, its imports, and strings that could be a key; no sentences."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        for field in ('id', 'attr', 'arg', 'name', 'asname', 'module', 'value'):
            name = getattr(node, field, None)
            if isinstance(name, str) and re.fullmatch(r'[\w.]+', name):
                names.add(name)
    return names


def task_words(path: Path) -> set[str]:
    """Words of one task in the names of a file; 'nano_stereo' is the name of a network."""
    text = ' '.join(names_in(path))
    for network in model_names():
        text = text.replace(network, '')
    return TASK_WORDS & {word.lower() for word in re.findall('[A-Z]?[a-z]+', text)}


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f'{package}.') for package in packages)


def is_ros(name: str) -> bool:
    top = name.partition('.')[0]
    return top.endswith(('_msgs', '_interfaces')) or top in {
        'ament_index_python',
        'cv_bridge',
        'launch',
        'launch_ros',
        'message_filters',
        'nndepth',
        'nndepth_ros',
        'rclpy',
        'rosbag2_py',
    }


def module_name(path: Path) -> str:
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


def test_package_xml_names_what_is_imported():
    assert PACKAGE.tag == 'package'
    assert PACKAGE.get('format') == '3'
    assert PACKAGE.findtext('name') == 'nndepth'
    declared = {element.text for element in PACKAGE if element.tag.endswith('depend')}
    used = {name.partition('.')[0] for path in SOURCES for name in imports(path)}
    used -= {'nndepth', 'nndepth_core', 'nndepth_ros', *sys.stdlib_module_names, *ONLY_FROM_PIP}
    assert {ROSDEP_KEYS.get(name, name) for name in used} <= declared


def test_core_imports_neither_ros_nor_optional_packages(in_new_process):
    modules = [module_name(path) for path in sorted(CORE.rglob('*.py'))]
    modules = [name for name in modules if not within(name, HOMES_OF_OPTIONAL)]
    code = f'import importlib, sys; [importlib.import_module(name) for name in {modules}]'
    code += '; print(*sys.modules)'
    loaded = {name.partition('.')[0] for name in in_new_process(code).split()}
    assert not loaded & {'onnxruntime', 'torch', 'transformers'}
    assert not {name for name in loaded if is_ros(name)}


@pytest.mark.parametrize('path', SOURCES, ids=module_name)
def test_walls(path):
    name, found = module_name(path), imports(path)
    assert not {other for other in found if within(other, ('torchvision', 'timm'))}
    if within(name, ('nndepth_core',)):
        assert not {other for other in found if is_ros(other)}
    for room, rooms in MAY_IMPORT.items():
        if within(name, (room,)):
            ours = {other for other in found if within(other, ('nndepth_core', 'nndepth_ros'))}
            assert all(within(other, (room, *rooms)) for other in ours)
    if within(name, ('nndepth_core.engines',)) and path.name != 'torch.py':
        assert not {other for other in found if within(other, ('nndepth_core.models',))}


@pytest.mark.parametrize('path', SOURCES, ids=module_name)
def test_words_of_a_task_stay_in_modules_that_know_it(path):
    name = module_name(path)
    if name not in DOORS and (not within(name, KNOW_THE_TASK) or within(name, SERVE_EVERY_TASK)):
        assert not task_words(path)


@pytest.mark.parametrize('name', KNOW_THE_TASK)
def test_modules_that_know_the_task_need_to(name):
    assert any(task_words(path) for path in SOURCES if within(module_name(path), (name,)))


def test_picture_of_the_architecture_is_up_to_date():
    script = ROOT / 'scripts' / 'draw_architecture.py'
    spec = importlib.util.spec_from_file_location(script.stem, script)
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    picture = drawing.draw(drawing.read_graph())
    assert drawing.PICTURE.read_text() == picture, f'run python scripts/{script.name}'


def test_files_named_by_cmake_exist():
    programs = re.findall(r'scripts/\w+', CMAKE)
    assert programs
    assert all(os.access(ROOT / program, os.X_OK) for program in programs)
    messages = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'msg').iterdir()}
    assert set(re.findall(r'msg/\w+\.msg', CMAKE)) == messages
    packages = re.findall(r'ament_python_install_package\((\w+)\)', CMAKE)
    assert {path.parent.name for path in ROOT.glob('*/__init__.py')} == set(packages)
    directories = re.search(r'install\(DIRECTORY ([\w ]+) DESTINATION', CMAKE)
    suites = re.search(r'foreach\(suite ([\w ]+)\)', CMAKE)
    assert directories is not None
    assert suites is not None
    assert all((ROOT / name).is_dir() for name in directories[1].split())
    assert all((ROOT / 'tests' / name).is_dir() for name in suites[1].split())


@pytest.mark.parametrize('name', ['voxel_layer', 'stvl'])
def test_costmaps_take_the_filtered_cloud_and_clear_farther_than_they_mark(name):
    values = yaml.safe_load((ROOT / 'config' / 'nav2' / f'{name}.yaml').read_text())
    costmap = values['local_costmap']['local_costmap']['ros__parameters']
    layer = costmap[costmap['plugins'][0]]
    mark, clear = (layer[source] for source in layer['observation_sources'].split())
    assert {mark['topic'], clear['topic']} == {f'/stereo/{POINTS_FILTERED}'}
    assert (mark['marking'], mark['clearing']) == (True, False)
    assert (clear['marking'], clear['clearing']) == (False, True)
    marked = mark.get('obstacle_max_range', mark.get('obstacle_range'))
    assert marked < clear.get('raytrace_max_range', clear.get('max_z'))


@pytest.mark.parametrize(
    ('name', 'table'),
    [
        ('stereo', STEREO_PARAMETERS),
        ('mono', MONO_PARAMETERS),
        ('compare', COMPARE_PARAMETERS),
    ],
)
def test_parameter_file_holds_every_parameter_at_its_default(name, table):
    text = (ROOT / 'config' / f'{name}.yaml').read_text()
    values = yaml.safe_load(text)['/**']['ros__parameters']
    for group in ('filter', 'cloud', 'sgbm', 'onnx'):
        values |= {f'{group}.{name}': value for name, value in values.pop(group, {}).items()}
    defaults = {row.name: row.default for row in table}
    assert values == defaults
    assert all(type(values[name]) is type(default) for name, default in defaults.items())
    marks = dict(re.findall(r'^ +(\w+): .*# \[(live|read-only)\]', text, re.MULTILINE))
    assert marks == {
        row.name.rpartition('.')[2]: 'live' if row.live else 'read-only' for row in table
    }


def test_parameter_file_of_rigs_holds_defaults_of_the_process_and_of_each_node():
    text = (ROOT / 'config' / 'multi_stereo.yaml').read_text()
    values = yaml.safe_load(text)['/**']['ros__parameters']
    defaults = {row.name: row.default for row in (*RIGS_PARAMETERS, *STEREO_PARAMETERS)}
    assert set(values) >= {row.name for row in RIGS_PARAMETERS} - {'rigs'}
    assert values == {name: defaults[name] for name in values}
    examples = yaml.safe_load(
        re.sub(r'^( *)# ', r'\1', text[text.index('# /front') :], flags=re.M)
    )
    assert set(examples) == {'/front/stereo_node', '/rear/stereo_node'}
    for example in examples.values():
        given = example['ros__parameters']
        given |= {f'filter.{name}': value for name, value in given.pop('filter', {}).items()}
        for name, value in given.items():
            assert type(value) is type(defaults[name]), name
