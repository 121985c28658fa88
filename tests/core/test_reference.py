"""The parts of the documentation that are written from the code say all that the code does."""

import importlib
import io
import re
from contextlib import redirect_stdout, suppress
from pathlib import Path

import numpy as np
import pytest
import yaml

from nndepth_core.cli import COMMANDS
from nndepth_core.plausibility import BaselineLimits, examine_baseline, examine_levels
from nndepth_core.plausibility.projections import examine_projections
from nndepth_ros.outputs import MONO_OUTPUTS, STEREO_OUTPUTS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / 'docs').rglob('*.md'))
HOME = 'https://example.org/nndepth'
BAGS = ('mcap', 'rosbags')
NEEDED = {
    'compare': BAGS,
    'pseudo-label': BAGS,
    'replay': BAGS,
    'train': ('torch', 'jsonargparse'),
    'view': BAGS,
}
"""Packages without which the options of a command are not known."""


@pytest.fixture(scope='module')
def writer():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / 'scripts')
        yield importlib.import_module('write_reference')


def flat(values, above=''):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f'{above}{name}.')
        else:
            yield f'{above}{name}', value


def rows_of(text):
    cells = [re.split(r'(?<!\\)\|', line)[1:-1] for line in text.splitlines() if line[:2] == '| ']
    return {row[0].strip(' `'): [cell.strip() for cell in row[1:]] for row in cells[1:]}


@pytest.mark.parametrize('node', ['stereo', 'mono', 'compare', 'multi_stereo'])
def test_every_parameter_of_a_node_has_a_row(writer, node):
    text = (ROOT / 'config' / f'{node}.yaml').read_text()
    values = dict(flat(yaml.safe_load(text)['/**']['ros__parameters']))
    rows = rows_of(writer.part('parameters', node))
    if node == 'multi_stereo':  # the file also shows two of those of each rig
        values = {'rigs': [], 'batch': values['batch'], 'batch_window': values['batch_window']}
        text += 'rigs: # [read-only]\nbatch: # [read-only]\nbatch_window: # [read-only]'
    assert rows.keys() - {'parameter'} == values.keys()
    for name, value in values.items():
        default, allowed, meaning = rows[name]
        shown = yaml.safe_load(default.strip('`'))
        assert shown == value, name
        last = name.rpartition('.')[2]
        fixed = re.search(rf'\b{last}:.*# \[read-only\]', text) is not None
        assert ('*Read-only.*' in meaning) == fixed, name
        assert allowed.split(',')[0] == {'str': 'string'}.get(
            type(value).__name__, type(value).__name__
        )
        assert len(meaning) > 10, name


def test_ranges_and_words_are_told(writer):
    rows = rows_of(writer.part('parameters', 'stereo'))
    assert rows['confidence_threshold'][1] == 'float, 0 to 1'
    assert rows['target_rate'][1] == 'float, `auto`'
    assert rows['image_transport'][1] == 'string, `raw`, `compressed`'
    assert rows['max_pixels'][1] == 'int, 1 to 2147483647'


def test_a_parameter_that_its_file_lacks_is_named(writer, monkeypatch):
    tables = importlib.import_module('reference.parameters')
    row = tables.Parameter('new_one', 1, 'Not in the file.')
    monkeypatch.setitem(tables.TABLES, 'mono', (*tables.TABLES['mono'], row))
    with pytest.raises(ValueError, match='new_one'):
        writer.part('parameters', 'mono')


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_every_option_of_a_command_is_told(writer, name):
    for package in NEEDED.get(name, ()):
        pytest.importorskip(package)
    out = io.StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        importlib.import_module(COMMANDS[name][0]).main(['--help'])
    options = set(re.findall(r'(?<![\w-])--[a-z][\w.-]*\w', out.getvalue())) - {'--help'}
    text = writer.part('commands', name)
    assert text.startswith(f'## nndepth {name}\n')
    assert {option for option in options if option not in text} == set()
    assert '%(' not in text


def test_commands_below_a_command_are_told(writer):
    text = writer.part('commands', 'weights')
    for action in ('list', 'show', 'import', 'fetch', 'path', 'remove'):
        assert f'### nndepth weights {action}\n' in text
    assert '`--revision REVISION`\n:   The branch, tag or commit' in text


def test_every_code_of_a_finding_is_told(writer):
    made = re.compile(r"""\b(?:Finding|ScaleError)\(\s*f?'([\w ]+)""")
    sources = [path for x in ('nndepth_core', 'nndepth_ros') for path in (ROOT / x).rglob('*.py')]
    codes = {code for path in sources for code in made.findall(path.read_text())}
    told = re.findall(r'^### `(.+)`', writer.part('findings'), re.MULTILINE)
    assert len(codes) > 40
    assert {code for code in codes if not any(x.startswith(code) for x in told)} == set()


def found_in_code():
    same = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    yield from examine_levels(same, same)
    yield from examine_levels(np.zeros_like(same), same)
    yield from examine_baseline(30.0, 500.0, BaselineLimits())
    left = [500.0, 0, 900, 0, 0, 20.0, 240, 0, 0, 0, 1, 0]
    right = [510.0, 0, 320, -50, 0, 500.0, 241, 0, 0, 0, 1, 0]
    yield from examine_projections(left, right, 640, 480)


def test_wordings_are_those_that_the_code_gives(writer):
    entries = importlib.import_module('reference.findings').entries()
    found = [*found_in_code()]
    assert {finding.code for finding in found} >= {
        'same_picture',
        'levels_left',
        'baseline',
        'principal_point',
        'field_of_view',
        'fx_mismatch',
        'cy_mismatch',
    }
    for finding in found:
        fitting = [x for x in entries if re.fullmatch(as_pattern(x.code), finding.code)]
        texts = [text for entry in fitting for text in entry.texts]
        assert any(re.fullmatch(as_pattern(text), finding.text) for text in texts), finding
        assert any(finding.level.name in entry.levels for entry in fitting)


def as_pattern(text):
    """The regular expression of a code or wording; what is open in it fits everything."""
    text = re.sub(r'\\(.)', r'\1', re.sub(r'(?<!\\)\*[^*]+\*|<[^<>]+>', '…', text))
    return re.escape(text).replace('…', '.*')


@pytest.mark.parametrize(
    ('node', 'outputs'), [('stereo_node', STEREO_OUTPUTS), ('mono_node', MONO_OUTPUTS)]
)
def test_every_topic_is_on_the_page_of_its_node(writer, node, outputs):
    path = f'reference/{node}.md'
    text = writer.filled((ROOT / 'docs' / path).read_text(), path, HOME)
    assert {topic for topic in outputs if f'`{topic}`' not in text} == set()


def test_every_message_is_shown(writer):
    path = 'reference/messages.md'
    text = writer.filled((ROOT / 'docs' / path).read_text(), path, HOME)
    for message in (ROOT / 'msg').iterdir():
        assert f'## nndepth/{message.stem}\n' in text
        assert message.read_text().strip() in text


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_are_whole_and_their_links_lead_somewhere(writer, page):
    if '<!-- reference: commands -->' in page.read_text():
        for package in {package for packages in NEEDED.values() for package in packages}:
            pytest.importorskip(package)
    text = writer.filled(page.read_text(), page.relative_to(ROOT / 'docs').as_posix(), HOME)
    assert '<!-- reference:' not in text
    for target in re.findall(r'\]\(([^()\s]+)\)', writer.outside_code(text, str)):
        file = target.partition('#')[0]
        if file and ':' not in file and not file.startswith('\\'):
            assert (page.parent / file).exists(), target


def test_links_out_of_the_documentation_lead_to_the_repository(writer):
    text = writer.filled(
        '[a](../config/stereo.yaml) [b](../config) [c](clouds.md#x)', 'x.md', HOME
    )
    assert text == (
        f'[a]({HOME}/blob/main/config/stereo.yaml) [b]({HOME}/tree/main/config) [c](clouds.md#x)'
    )
    assert writer.filled('[ab.md](ab.md)', 'x.md', HOME) == '[ab](ab.md)'
    code = '```md\n[a](nowhere.md)\n```'
    assert writer.filled(code, 'x.md', HOME) == code


def test_parts_of_the_readme_link_from_the_page_that_shows_them(writer):
    text = writer.filled('<!-- reference: readme Train, evaluate -->', 'deep/x.md', HOME)
    assert '](../training.md)' in text
    text = writer.filled('[figures](../../README.md#measured)', 'deep/x.md', HOME)
    assert text == '[figures](../measured.md)'


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('[a](nowhere.md)', 'nowhere.md'),
        ('[a](../README.md#models)', '#models'),
        ('<!-- reference: readme Nothing -->', 'Nothing'),
        ('<!-- reference: nothing -->', 'nothing'),
    ],
)
def test_what_is_wrong_on_a_page_is_named(writer, text, named):
    with pytest.raises(ValueError, match=named):
        writer.filled(text, 'x.md', HOME)
