"""Models of the Hugging Face Hub in its local cache: which files are needed, fetched once, found again offline.

A model is fetched in two steps: first what describes it (a few kilobytes to some megabytes), so that one which cannot
be used is refused before its weights are paid for, then one form of the weights: safetensors if there are any, else
PyTorch's. A download that was cut short, by whatever, goes on where it was. ``huggingface_hub`` does the transfer,
shows its bars where standard error is a terminal, and follows the settings its users know: ``HF_ENDPOINT``,
``HF_HUB_OFFLINE``, ``HF_TOKEN``, ``HF_HOME``. A commit that lies whole in the cache is taken from there and nobody is
asked.
Neighbours: ``named.py`` (which commits are meant), ``_loading.py`` (files into parts).
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wordframe.disk import content_hash, hold_lock
from wordframe.errors import EncoderError

_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")
_TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_VOCABULARIES = ("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", "spiece.model")
_OLD_VOCABULARIES = ("sentencepiece.bpe.model", "tokenizer.model")
"""Megabytes that say nothing new where there is a ``tokenizer.json``."""
_WEIGHTS = (("model", "safetensors"), ("pytorch_model", "bin"))
_COMMIT, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
_MEANWHILE = "meanwhile --encoder offline needs no download, and so does the path of a folder that holds the model"


def split_revision(name: str) -> tuple[str, str | None]:
    """``owner/model@revision`` in its two parts.

    >>> split_revision("owner/model@main"), split_revision("owner/model")
    (('owner/model', 'main'), ('owner/model', None))
    """
    repository, _, revision = name.partition("@")
    return repository, revision or None


def fetch(hub_id: str, revision: str | None = None, *, accept: Callable[[Path], object] = lambda folder: None) -> Path:
    """The folder ``…/snapshots/COMMIT`` of the hub's cache that holds a model, fetched as far as it is not there.

    Args:
        revision: a commit, branch or tag; default: the hub's ``main``.
        accept: called with the folder before the weights are fetched; raises if the model is of no use.

    Raises:
        EncoderError: the hub has no such model, refuses it or cannot be reached; the message says what to do.
    """
    there = cached_model(hub_id, revision)
    if there is not None and revision == there.name and _is_described(_names(there)):
        return there  # a commit never changes, so nobody need be asked
    try:
        return _download(hub_id, revision, accept)
    except EncoderError:
        raise
    except Exception as error:
        # OSError, ValueError, and the errors of whatever HTTP library this version of huggingface_hub uses
        if there is not None:
            return there
        raise EncoderError(_explained(error, hub_id, revision)) from error


def cached_model(hub_id: str, revision: str | None = None) -> Path | None:
    """The folder in the hub's cache where a model's settings and whole weights lie; None if they do not."""
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"
    try:
        commit = revision or "main"
        if not _COMMIT.fullmatch(commit):
            commit = (place / "refs" / commit).read_text(encoding="utf-8").strip()
        folder = place / "snapshots" / commit
        names = _names(folder)
    except OSError:
        return None
    weights = weight_files(names)
    parts = [int(match[1]) for name in weights if (match := re.search(r"-of-(\d+)\.", name))]
    whole = len(parts) == parts[0] if parts else bool(weights) and not weights[0].endswith(".index.json")
    return folder if whole and "config.json" in names else None


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}  # a broken link is no file


def _is_described(names: Collection[str]) -> bool:
    """Whether all lies beside the weights. Of our own downloads it does, since they fetch it first; another program may
    have fetched weights alone."""
    vocabulary = any(name in names for name in (*_VOCABULARIES, *_OLD_VOCABULARIES))
    return vocabulary and "tokenizer_config.json" in names and any(name in names for name in _SETTINGS[1:])


def described_by(names: Collection[str]) -> list[str]:
    """Those of a repository's files that are needed beside the weights."""
    old = () if "tokenizer.json" in names else _OLD_VOCABULARIES
    wanted = (*_SETTINGS, *_TOKENIZER, *_VOCABULARIES, *old)
    return [name for name in wanted if name in names]


def weight_files(names: Collection[str]) -> list[str]:
    """One form of the weights, whole or in parts with their index; nothing where there is none that can be read.

    >>> weight_files(["pytorch_model.bin", "model.safetensors", "tf_model.h5", "model.fp16.safetensors"])
    ['model.safetensors']
    """
    for stem, suffix in _WEIGHTS:
        if f"{stem}.{suffix}" in names:
            return [f"{stem}.{suffix}"]
        index = f"{stem}.{suffix}.index.json"
        if index in names:
            part = re.compile(rf"{stem}-\d+-of-\d+\.{suffix}")
            return [index, *sorted(name for name in names if part.fullmatch(name))]
    return []


def _download(hub_id: str, revision: str | None, accept: Callable[[Path], object]) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    listed = HfApi().model_info(hub_id, revision=revision)
    names = {file.rfilename for file in listed.siblings or ()}
    weights = weight_files(names)
    if "config.json" not in names or not weights:
        lacking = "weights (model.safetensors or pytorch_model.bin)" if "config.json" in names else "config.json"
        raise EncoderError(f"the hub's {hub_id} has no {lacking}: it is no model in transformers' format")
    with _bars_at_a_terminal():
        folder = Path(snapshot_download(hub_id, revision=revision, allow_patterns=described_by(names)))
        accept(folder)
        # by the commit of the first step, so that a push in between cannot mix two
        for name in weights:
            _fetch_blob(hub_id, folder, name)
        snapshot_download(hub_id, revision=folder.name, allow_patterns=weights)
    return folder


def _fetch_blob(hub_id: str, folder: Path, name: str) -> None:
    """Bring one large file into the cache, where ``snapshot_download`` finds its content and only links it.

    ``huggingface_hub`` takes up a connection that breaks, but drops what it has when its process ends. Gigabytes are
    worth keeping: the part stays beside its place and the next run asks for the rest. What was put together of two runs
    is checked against the hash that names it.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented to lie there

    file = get_hf_file_metadata(hf_hub_url(hub_id, name, revision=folder.name))
    blobs = folder.parent.parent / "blobs"
    if file.etag is None or not _SHA256.fullmatch(file.etag) or (blobs / file.etag).exists():
        return
    headers = build_hf_headers()
    if urlsplit(file.location).netloc != urlsplit(hf_hub_url(hub_id, name)).netloc:
        headers.pop("authorization", None)  # the address is signed; the token is for the hub alone
    blobs.mkdir(exist_ok=True)  # where links are not to be had, small files lie in their places
    part = blobs / f"{file.etag}.wordframe-part"

    def busy() -> Exception:
        return EncoderError(f"another process is downloading {hub_id}; wait until it has ended")

    with hold_lock(part.with_suffix(".lock"), busy=busy):
        with part.open("ab") as output:
            http_get(
                file.location,
                output,
                resume_size=output.tell(),
                headers=headers,
                expected_size=file.size,
                displayed_filename=name,
            )
        if content_hash(part) != file.etag:
            part.unlink()
            raise EncoderError(f"what the hub sent of {hub_id} is damaged; run the same command again")
        part.replace(blobs / file.etag)
    part.with_suffix(".lock").unlink(missing_ok=True)


@contextlib.contextmanager
def _bars_at_a_terminal() -> Iterator[None]:
    """The hub's own bars inside the block where somebody sees them; some of them would fill a log, too."""
    from huggingface_hub import utils

    bars: Any = utils
    if sys.stderr.isatty() or bars.are_progress_bars_disabled():
        yield
        return
    bars.disable_progress_bars()
    try:
        yield
    finally:
        bars.enable_progress_bars()


def _explained(error: Exception, hub_id: str, revision: str | None) -> str:
    """One line: what was not to be had, from where, why, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    endpoint = constants.ENDPOINT
    if isinstance(error, HFValidationError):
        return f"{hub_id!r} is no folder, and no hub id either: a hub id looks like owner/model"
    if isinstance(error, GatedRepoError):  # a kind of RepositoryNotFoundError, so it comes first
        return (
            f"the model {hub_id} is gated: accept its terms at {endpoint}/{hub_id}, then log in with `hf auth login` "
            f"or set HF_TOKEN; {_MEANWHILE}"
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"the hub at {endpoint} has no model {hub_id}, or it is private: check the spelling, or log in with "
            "`hf auth login`"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"the model {hub_id} has no revision {revision!r} at {endpoint}: leave it out, or check the spelling"
    if constants.HF_HUB_OFFLINE or isinstance(error, OfflineModeIsEnabled):
        return (
            f"cannot fetch {hub_id} from the hub (HF_HUB_OFFLINE is set, and the model is not whole in "
            f"{constants.HF_HUB_CACHE}); unset it once to download; {_MEANWHILE}"
        )
    reason = (str(error) or repr(error)).strip().splitlines()[0].rstrip(".")
    return (
        f"cannot fetch {hub_id} from the hub at {endpoint} ({reason}); check the network and HF_ENDPOINT, then run the "
        f"same command again, which goes on where the download was; {_MEANWHILE}"
    )
