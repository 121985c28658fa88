"""Weights on the Hugging Face hub, fetched through huggingface_hub into its cache.

That library keeps what it fetched, goes on where a connection broke, lets one of several processes
fetch a file, and reads the user's settings: HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE, HF_TOKEN and
`hf auth login`.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import ModuleType

from nndepth_core.files.writing import sha256_of
from nndepth_core.weights.checkpoint import CheckpointError, some
from nndepth_core.weights.licenses import license_of_card
from nndepth_core.weights.settings import CONFIG, SNAPSHOT_WEIGHTS

_log = logging.getLogger(__name__)

_SCHEME = re.compile(r'hf:(//)?')
_REPOSITORY = r'[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*'
_ADDRESS = re.compile(
    rf'(?P<repository>{_REPOSITORY})(@(?P<revision>[^/@\s]+))?(/(?P<file>[^@]*[^/@]))?'
)
_PAGE = re.compile(
    rf'https?://(www\.)?(huggingface\.co|hf\.co)/(?P<repository>{_REPOSITORY})'
    r'(/(tree|blob|resolve|raw)/(?P<revision>[^/@\s?#]+)(/(?P<file>[^@?#]*[^/@?#]))?)?/?([?#].*)?'
)
"""The address of a page of the hub, or of a file, as a browser shows it."""
_SUFFIXES = ('.safetensors', '.pth', '.pt', '.ckpt', '.bin')
ONNX = 'model.onnx'
"""The name of an ONNX file in a repository that has config.json, but no weights."""
_PLAIN = ('model', 'pytorch_model', 'weights', 'checkpoint')
"""Names of files that do not say which weights they hold."""
_MAIN = 'main'
"""The revision that is meant where none is named."""


class HubError(ValueError):
    """Weights do not come from the hub; the message says why."""


@dataclass(frozen=True)
class HubAddress:
    """A repository of the hub, or a file in it.

    Attributes:
        repository: 'owner/name'.
        revision: a branch, a tag or a commit; None stands for main.
        file: its path in the repository; None stands for the weights that the repository holds.
    """

    repository: str
    revision: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """Read `[hf://]owner/name[@revision][/file]`, or the address of its page on the hub.

        Raises:
            ValueError: it has another form.
        """
        match = _PAGE.fullmatch(text) or _ADDRESS.fullmatch(_SCHEME.sub('', text, count=1))
        if match is None or '..' in PurePosixPath(match['file'] or '').parts:
            raise ValueError(
                f'{text!r} is no address on the Hugging Face hub; write owner/name, '
                'owner/name@revision or owner/name/file, or give the path of a checkpoint file'
            )
        return cls(match['repository'], match['revision'], match['file'])

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        revision = f'@{self.revision}' if self.revision else ''
        return self.repository + revision + (f'/{self.file}' if self.file else '')

    def holds(self, other: HubAddress) -> bool:
        """Whether a file of the hub is at this address, whatever its revision."""
        same = self.repository.lower() == other.repository.lower()
        return same and self.file in (None, other.file)


@dataclass(frozen=True)
class HubFile:
    """A file of weights that was fetched from the hub.

    Attributes:
        path: of the file in the cache; a configuration lies beside it where the hub has one.
        address: where it lies on the hub, with the commit.
        license: what the model card states, None where that is not known.
        sha256: of the file.
    """

    path: Path
    address: HubAddress
    license: str | None
    sha256: str

    @property
    def name(self) -> str:
        """What the weights are called: like the file, or the repository where that tells more."""
        stem = self.path.stem
        return self.address.repository.partition('/')[2] if stem in _PLAIN else stem


@dataclass(frozen=True)
class _Listing:
    """What a repository holds at a commit; `cached` are its files that lie in the cache."""

    commit: str
    files: tuple[str, ...]
    license: str | None = None
    cached: Mapping[str, Path] = field(default_factory=dict)


def find_address(source: str | Path, revision: str | None = None) -> HubAddress | None:
    """Tell which address of the hub a text means; None for what is a local path.

    A path that exists is local, and so is one whose first folder exists or that has the form of
    a path only, such as './weights.pth'.

    Args:
        source: what was typed.
        revision: one that was given beside it.

    Raises:
        ValueError: the address has another form, or two revisions are given.
    """
    text = str(source)
    if not Path(text).exists() and _may_be_address(text):
        address = HubAddress.parse(text)
        if revision and address.revision not in (None, revision):
            raise ValueError(f'{text} names another revision than {revision}; give one of them')
        return replace(address, revision=address.revision or revision)
    if revision:
        raise ValueError(
            f'revision {revision} is given for {text}, which is no address on the Hugging Face '
            'hub; leave it out'
        )
    return None


def fetch_file(address: HubAddress) -> HubFile:
    """Fetch weights, and the configuration beside them, unless they lie in the cache already.

    Raises:
        HubError: they do not come; says why.
        CheckpointError: huggingface_hub is not installed.
    """
    hub = _library()
    with _explained(hub, address):
        listing = _list(hub, address)
        name = _choose(address, listing.files)
        beside = [str(PurePosixPath(name).with_name(CONFIG))]
        if name.endswith('.onnx'):  # what its tensors mean may be written beside it
            beside.append(str(PurePosixPath(name).with_suffix('.yaml')))
        paths = [
            listing.cached.get(file) or _download(hub, address, file, listing.commit)
            for file in (*beside, name)
            if file in listing.files
        ]
    sha256 = _verify(paths[-1], address)
    return HubFile(
        paths[-1], HubAddress(address.repository, listing.commit, name), listing.license, sha256
    )


def by_hand(address: HubAddress, options: str = '') -> str:
    """Say how to get weights of the hub to a machine without a way to it.

    Args:
        address: of the weights.
        options: of the command that imports them.
    """
    folder = address.repository.partition('/')[2]
    files = address.file or f'{CONFIG} {SNAPSHOT_WEIGHTS[0]}'
    source = f'{folder}/{address.file}' if address.file else folder
    return f'{copying(address, files)} and run: nndepth weights import {source}{options}'


def copying(address: HubAddress, files: str = '') -> str:
    """Say how to copy a repository, or files of it, to a machine without a way to the hub."""
    folder = address.repository.partition('/')[2]
    words = ['hf download', address.repository, files]
    words += ['--revision', address.revision] if address.revision else []
    command = ' '.join(filter(None, [*words, '--local-dir', folder]))
    return f'on a machine with a network run `{command}`, copy the folder {folder} here'


def _may_be_address(text: str) -> bool:
    if _SCHEME.match(text) or re.match(r'https?://', text):
        return True
    first, _, rest = text.partition('/')
    if Path(first).exists():
        return False
    if re.match(f'{_REPOSITORY}@', text):
        return True
    is_file = '/' not in rest and rest.endswith(_SUFFIXES)  # no repository is called like a file
    return bool(_ADDRESS.fullmatch(text)) and not is_file and '..' not in text.split('/')


def _library() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ModuleNotFoundError as error:
        raise CheckpointError(
            'weights of the Hugging Face hub cannot be fetched without huggingface_hub; '
            'pip install "nndepth[torch]"'
        ) from error
    return huggingface_hub


def _list(hub: ModuleType, address: HubAddress) -> _Listing:
    """Ask the hub what a repository holds; where it cannot be asked, take what the cache holds."""
    try:
        info = hub.HfApi().model_info(address.repository, revision=address.revision)
    except (hub.errors.OfflineModeIsEnabled, hub.errors.HTTPError) as error:
        answered = isinstance(error, hub.errors.HfHubHTTPError)
        if answered and error.response.status_code < 500:
            raise
        listing = _list_cached(hub, address)
        if listing is None:
            raise
        reason = 'HF_HUB_OFFLINE is set' if hub.constants.is_offline_mode() else 'it is no answer'
        _log.warning(
            'the hub was not asked for %s (%s); commit %s in its cache is taken',
            address.repository,
            reason,
            listing.commit,
        )
        return listing
    files = tuple(sibling.rfilename for sibling in info.siblings or ())
    card = info.card_data.to_dict() if info.card_data else {}
    return _Listing(info.sha, files, license_of_card(card.get('license')))


def _list_cached(hub: ModuleType, address: HubAddress) -> _Listing | None:
    """What the cache holds of a revision; None where that is no weights."""
    try:
        repositories = hub.scan_cache_dir(hub.constants.HF_HUB_CACHE).repos
    except hub.CacheNotFound:
        return None
    for repository in repositories:
        if (repository.repo_type, repository.repo_id) != ('model', address.repository):
            continue
        for snapshot in repository.revisions:
            if (address.revision or _MAIN) not in (*snapshot.refs, snapshot.commit_hash):
                continue
            root = snapshot.snapshot_path
            paths = {file.file_path.relative_to(root).as_posix(): file for file in snapshot.files}
            cached = {name: file.file_path for name, file in paths.items()}
            listing = _Listing(snapshot.commit_hash, tuple(sorted(cached)), None, cached)
            wanted = [address.file] if address.file else _weights(listing.files) or [ONNX]
            return listing if any(name in cached for name in wanted) else None
    return None


def _choose(address: HubAddress, files: tuple[str, ...]) -> str:
    """Name the file of weights that an address means."""
    where = f'{address.repository} on the hub'
    if address.file:
        if address.file not in files:
            held = some(_weights(files), 8) or 'no weights'
            raise HubError(f'{where} has no file {address.file}; it has {held}')
        return address.file
    for name in SNAPSHOT_WEIGHTS:
        if {name, CONFIG} <= set(files):
            return name
    if any(name.endswith('.index.json') for name in files):
        raise HubError(
            f'{where} holds its weights in several parts; load them by transformers, and import '
            "what save_pretrained(FOLDER, max_shard_size='100GB') writes"
        )
    weights = _weights(files)
    if not weights and {ONNX, CONFIG} <= set(files):
        return ONNX
    if not weights:
        raise HubError(
            f'{where} holds no weights in a format known here ({", ".join(_SUFFIXES)}), but '
            f'{some(files) or "nothing"}; choose another repository'
        )
    preferred = [name for name in weights if name.endswith(_SUFFIXES[0])] or weights
    if len(preferred) > 1:
        raise HubError(
            f'{where} holds {len(preferred)} files of weights; name one of them, as in '
            f'{address.repository}/{preferred[0]}: {some(preferred, 8)}'
        )
    return preferred[0]


def _weights(files: Iterable[str]) -> list[str]:
    return sorted(name for name in files if name.endswith(_SUFFIXES))


def _download(hub: ModuleType, address: HubAddress, file: str, commit: str) -> Path:
    path = Path(hub.hf_hub_download(address.repository, file, revision=address.revision or _MAIN))
    if f'/snapshots/{commit}/' not in path.as_posix():
        raise HubError(f'{address.repository} has just been changed; run the command again')
    return path


def _verify(path: Path, address: HubAddress) -> str:
    """Return the hash of a file; the cache names large ones by it, and they are compared.

    A file that differs is removed.
    """
    blob = path.resolve()
    sha256 = sha256_of(blob)
    if re.fullmatch(r'[0-9a-f]{64}', blob.name) and sha256 != blob.name:
        blob.unlink()
        path.unlink(missing_ok=True)
        raise HubError(
            f'{path.name} of {address.repository} came damaged, since its sha256 is not '
            f'{blob.name}, and was removed; run the command again'
        )
    return sha256


@contextmanager
def _explained(hub: ModuleType, address: HubAddress) -> Iterator[None]:
    """Turn what huggingface_hub raises into sentences with a cure."""
    try:
        yield
    except HubError:
        raise
    except hub.errors.HFValidationError as error:
        raise ValueError(
            f'{address.repository} can be no repository on the hub '
            f'({str(error).splitlines()[0]}); check its name'
        ) from error
    except (OSError, hub.errors.HTTPError, hub.errors.OfflineModeIsEnabled) as error:
        raise HubError(_reason(hub, address, error)) from error


def _reason(hub: ModuleType, address: HubAddress, error: Exception) -> str:
    endpoint = hub.constants.ENDPOINT
    page = f'{endpoint}/{address.repository}'
    errors = hub.errors
    cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else None
    error = cause if isinstance(cause, Exception) else error
    if isinstance(error, errors.OfflineModeIsEnabled):
        return (
            f'HF_HUB_OFFLINE is set, and {address.repository} is not in the cache, '
            f'{hub.constants.HF_HUB_CACHE}'
        )
    if isinstance(error, errors.GatedRepoError):
        return (
            f'{address.repository} is gated; accept its terms at {page} and log in by `hf auth '
            'login`, or set HF_TOKEN to a token of yours that may read it'
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f'the hub has no repository {address.repository}, or it is private; check the name '
            f'at {endpoint}, or log in by `hf auth login`, or set HF_TOKEN'
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f'{address.repository} has no revision {address.revision}; see {page}/commits'
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return (
                f'the hub refuses access to {address.repository} (HTTP {status}); log in by '
                '`hf auth login`, or set HF_TOKEN to a token that is valid'
            )
        return f'the hub, {endpoint}, answers with HTTP {status}; try again later'
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f'{hub.constants.HF_HUB_CACHE} has no room for it ({error.strerror}); free some, or '
            'set HF_HOME to a folder with more'
        )
    if isinstance(error, OSError) and error.filename:
        return f'{error.filename} cannot be written ({error.strerror})'
    detail = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f'the hub, {endpoint}, cannot be reached ({detail})'
