"""Fetching published checkpoints from where their authors put them. Needs no torch itself."""

from __future__ import annotations

import shutil
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen
from zipfile import BadZipFile, ZipFile

from tqdm import tqdm

from nndepth_core.files.writing import sha256_of, temporary_folder
from nndepth_core.weights.catalogue import Checkpoint, catalogue, find_checkpoint
from nndepth_core.weights.formats import check_expansion, kind_of
from nndepth_core.weights.hub import HubError, HubFile, by_hand, fetch_file, find_address
from nndepth_core.weights.importing import import_weights, require_torch
from nndepth_core.weights.store import cache_folder, stored_weights

_BLOCK = 1 << 18
_TIMEOUT = 30.0
"""Seconds without a byte after which the server counts as unreachable."""


class DownloadError(ValueError):
    """A checkpoint did not arrive; the message says why and how to get it by hand."""


def fetch_weights(identifier: str) -> Path:
    """Download a published checkpoint and store it; one that is in the store is left alone.

    Args:
        identifier: network and name in the catalogue, e.g. 'raft_stereo/middlebury', or an address
            on the Hugging Face hub, from which `import_weights` takes them.

    Returns:
        The stored file.

    Raises:
        DownloadError: it cannot be downloaded or is not what the catalogue describes.
        CheckpointError: torch is missing, or what came does not fit the network.
        ValueError: the catalogue holds no such checkpoint.
    """
    model = identifier.partition('/')[0]
    if model not in catalogue() and find_address(identifier):
        try:
            return import_weights(identifier)
        except HubError as error:
            raise HubError(
                f'model {model!r} is unknown, see `nndepth weights list`; as a repository: {error}'
            ) from error
    checkpoint = find_checkpoint(identifier)
    if stored := stored_weights(checkpoint.model, name=checkpoint.name):
        return stored
    require_torch()
    if checkpoint.hub:
        return _store(checkpoint, download_from_hub(checkpoint))
    with temporary_folder(cache_folder()) as folder:
        return _store(checkpoint, download(checkpoint, folder))


def download_from_hub(checkpoint: Checkpoint) -> HubFile:
    """Fetch a checkpoint from the Hugging Face hub and check its hash where it is known.

    Raises:
        DownloadError: it does not come, or is another file.
    """
    address = checkpoint.hub[0]
    try:
        fetched = fetch_file(address)
        _verify(fetched.path, checkpoint.sha256, fetched.sha256)
    except (HubError, DownloadError) as error:
        raise DownloadError(
            f'{checkpoint.id} was not downloaded: {error}; '
            f'{by_hand(address, _options(checkpoint))}'
        ) from error
    return fetched


def download(checkpoint: Checkpoint, folder: Path) -> Path:
    """Download a checkpoint into a folder and check its length and, where known, its hash.

    Returns:
        The file, under the name that its authors gave it.

    Raises:
        DownloadError: it did not arrive whole, or is another file.
    """
    file = folder / checkpoint.file
    try:
        if checkpoint.url is None:
            raise DownloadError('no direct link to it is known')
        arrived = folder / 'download'
        _get(checkpoint.url, arrived, checkpoint.file)
        if checkpoint.archive:
            _unpack(arrived, file)
        else:
            arrived.replace(file)
        _verify(file, checkpoint.sha256, sha256_of(file))
    except (HTTPError, HTTPException, ConnectionError, TimeoutError, DownloadError) as error:
        raise DownloadError(
            f'{checkpoint.id} was not downloaded: {error}. Get {checkpoint.file} by hand from '
            f'{checkpoint.page} and run: {import_command(checkpoint)}'
        ) from error
    return file


def import_command(checkpoint: Checkpoint) -> str:
    """Give the command that stores a checkpoint once its file was downloaded by hand."""
    return f'nndepth weights import {checkpoint.file}{_options(checkpoint)}'


def _store(checkpoint: Checkpoint, file: Path | HubFile) -> Path:
    return import_weights(
        file, checkpoint.model, checkpoint.variants[0], checkpoint.name, published=checkpoint
    )


def _options(checkpoint: Checkpoint) -> str:
    """The options with which `nndepth weights import` stores a checkpoint as what it is."""
    return (
        f' --model {checkpoint.model} --variant {checkpoint.variants[0]} --name {checkpoint.name}'
    )


def _get(url: str, file: Path, label: str) -> None:
    with _open(url) as response:
        headers = response.headers
        if headers.get_content_type() == 'text/html':
            raise DownloadError('its address answers with a web page, such as a login or a notice')
        length = headers.get('Content-Length', '')
        due = int(length) if length.isdecimal() else None
        with (
            file.open('wb') as out,
            tqdm(total=due, desc=label, unit='B', unit_scale=True, disable=None) as bar,
        ):
            while block := response.read(_BLOCK):
                bar.update(out.write(block))
    came = file.stat().st_size
    if due is not None and came != due:
        raise DownloadError(f'only {came} of {due} bytes came')


def _open(url: str) -> HTTPResponse:
    try:
        return urlopen(Request(url, headers={'User-Agent': 'nndepth'}), timeout=_TIMEOUT)
    except HTTPError:  # an answer, though not the file
        raise
    except URLError as error:
        raise DownloadError(f'its server cannot be reached ({error.reason})') from error


def _unpack(archive: Path, file: Path) -> None:
    """Take the one file out of an archive, whatever folder it lies in there."""
    try:
        with ZipFile(archive) as content:
            members = [name for name in content.namelist() if Path(name).name == file.name]
            if not members:
                raise DownloadError('the archive at its address does not hold it')
            check_expansion([content.getinfo(members[0])], archive.stat().st_size)
            with content.open(members[0]) as source, file.open('wb') as target:
                shutil.copyfileobj(source, target)
    except DownloadError:
        raise
    except (BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise DownloadError(f'the archive at its address cannot be unpacked ({error})') from error


def _verify(file: Path, due: str | None, sha256: str) -> None:
    """Refuse a file of no known kind, or with another hash than is due."""
    try:
        kind_of(file)
    except ValueError as error:
        raise DownloadError(f'what came {error}') from error
    if due and not sha256.startswith(due):
        raise DownloadError(f'what came has sha256 {sha256}, {due} is due')
