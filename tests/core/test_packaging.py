"""What holds the package together: versions, walls between the rooms, files that others name."""

import ast
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

import nndepth_core
from nndepth_ros.parameters import MONO_PARAMETERS, STEREO_PARAMETERS

ROOT = Path(__file__).parents[2]
CORE = ROOT / 'nndepth_core'
SOURCES = sorted([*CORE.rglob('*.py'), *(ROOT / 'nndepth_ros').rglob('*.py')])
PACKAGE = ElementTree.parse(ROOT / 'package.xml').getroot()
CMAKE = (ROOT / 'CMakeLists.txt').read_text()

# Modules that exist to use a package the base install lacks.
HOMES_OF_OPTIONAL = (
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
)
ROSDEP_KEYS = {
    'cv2': 'python3-opencv',
    'numpy': 'python3-numpy',
    'tqdm': 'python3-tqdm',
    'yaml': 'python3-yaml',
}
ONLY_FROM_PIP = {
    'accelerate',
    'backports',
    'compression',
    'h5py',
    'jsonargparse',
    'lz4',
    'mcap',
    'onnx',
    'onnx_ir',
    'onnxruntime',
    'onnxscript',
    'rosbags',
    'safetensors',
    'torch',
    'transformers',
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


def test_versions_are_equal():
    in_setup = re.search(r"version='(.+)'", (ROOT / 'setup.py').read_text())
    assert in_setup is not None
    assert in_setup[1] == PACKAGE.findtext('version') == nndepth_core.__version__


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
    if within(name, ('nndepth_core.models',)):
        strangers = ('nndepth_core.training', 'nndepth_core.data')
        assert not {other for other in found if within(other, strangers)}
    if within(name, ('nndepth_core.blocks',)):
        ours = {other for other in found if within(other, ('nndepth_core', 'nndepth_ros'))}
        assert all(within(other, ('nndepth_core.blocks',)) for other in ours)
    if within(name, ('nndepth_core.engines',)) and path.name != 'torch.py':
        assert not {other for other in found if within(other, ('nndepth_core.models',))}


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


@pytest.mark.parametrize(
    ('task', 'table'), [('stereo', STEREO_PARAMETERS), ('mono', MONO_PARAMETERS)]
)
def test_parameter_file_holds_every_parameter_at_its_default(task, table):
    text = (ROOT / 'config' / f'{task}.yaml').read_text()
    values = yaml.safe_load(text)['/**']['ros__parameters']
    for group in ('sgbm', 'onnx'):
        values |= {f'{group}.{name}': value for name, value in values.pop(group, {}).items()}
    defaults = {row.name: row.default for row in table}
    assert values == defaults
    assert all(type(values[name]) is type(default) for name, default in defaults.items())
    marks = dict(re.findall(r'^ +(\w+): .*# \[(live|read-only)\]', text, re.MULTILINE))
    assert marks == {
        row.name.rpartition('.')[2]: 'live' if row.live else 'read-only' for row in table
    }
