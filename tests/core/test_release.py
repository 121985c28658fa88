"""What a release needs: equal versions, files that tools of ROS and PyPI read, workflows."""

import re
import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

import nndepth_core
from nndepth_core.cli.errors import EXTRA_OF

ROOT = Path(__file__).parents[2]
PACKAGE = ElementTree.parse(ROOT / 'package.xml').getroot()


def test_versions_are_equal():
    in_setup = re.search(r"version='(.+)'", (ROOT / 'setup.py').read_text())
    assert in_setup is not None
    assert in_setup[1] == PACKAGE.findtext('version') == nndepth_core.__version__


def test_tools_of_ros_releases_read_the_package_and_its_changelog(tmp_path):
    package = pytest.importorskip('catkin_pkg.package')
    changelog = pytest.importorskip('catkin_pkg.changelog')
    warnings = []
    read = package.parse_package(str(ROOT / 'package.xml'), warnings=warnings)
    read.validate(warnings=warnings)
    assert warnings == []
    assert {url.type for url in read.urls} == {'website', 'repository', 'bugtracker'}
    assert all(maintainer.email for maintainer in read.maintainers)
    text = (ROOT / 'CHANGELOG.rst').read_text()
    released = re.sub('^Forthcoming\n-+$', f'9.9.9 (2030-01-31)\n{"-" * 18}', text, flags=re.M)
    (tmp_path / 'CHANGELOG.rst').write_text(released)
    versions = changelog.get_changelog_from_path(str(tmp_path / 'CHANGELOG.rst'), 'nndepth')
    newest = '9.9.9' if 'Forthcoming' in text else nndepth_core.__version__
    assert next(versions.foreach_version())[0] == newest
    assert versions.get_content_of_version(newest)[0].bullets


def test_the_repository_has_one_address():
    addresses = {url.text.removesuffix('/issues') for url in PACKAGE.iter('url')}
    for name in ('setup.py', 'mkdocs.yml'):
        addresses |= set(re.findall(r'https://[\w./-]+/nndepth\b', (ROOT / name).read_text()))
    assert len(addresses) == 1


def test_the_wheel_holds_the_weights_and_its_page_links_to_the_repository(monkeypatch):
    setuptools = pytest.importorskip('setuptools')
    given = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **values: given.update(values))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / 'setup.py'))
    weights = ROOT / 'nndepth_core' / 'weights'
    patterns = given['package_data']['nndepth_core.weights']
    packed = {path for pattern in patterns for path in weights.glob(pattern) if path.is_file()}
    bundled = {path for path in (weights / 'bundled').rglob('*') if path.is_file()}
    assert {path.suffix for path in bundled} >= {'.onnx', '.safetensors'}
    assert bundled <= packed
    text = given['long_description']
    targets = re.findall(r'\]\(([^)]+)\)', text)
    assert len(targets) > 10
    assert all(re.match(r'https://|#', target) for target in targets)
    for target in targets:
        if target.startswith(given['url']):
            assert (ROOT / target.partition('/main/')[2]).exists(), target


def test_workflows_run_what_exists_on_the_distributions_that_are_told():
    flows = {path.name: path.read_text() for path in (ROOT / '.github/workflows').glob('*.yml')}
    assert flows.keys() == {'ci.yml', 'docs.yml', 'release.yml'}
    for text in flows.values():
        assert yaml.safe_load(text)['jobs']
        assert all((ROOT / name).is_file() for name in re.findall(r'\.ci/\w+(?:\.py)?', text))
        targets = re.findall(r'run: make (\S+)', text)
        assert all(f'\n{name}:' in (ROOT / 'Makefile').read_text() for name in targets)
    matrix = yaml.safe_load(flows['ci.yml'])['jobs']['ros']['strategy']['matrix']['include']
    told = (ROOT / 'docs' / 'releasing.md').read_text()
    assert all(row['distribution'].capitalize() in told for row in matrix)


def test_extras_that_errors_name_exist():
    setup = (ROOT / 'setup.py').read_text()
    assert EXTRA_OF
    for extra in EXTRA_OF.values():
        assert f"    '{extra}': " in setup
