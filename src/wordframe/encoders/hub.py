"""From the name a user gives to a local folder of transformers' files, and quiet around transformers.

A folder is taken as it is; anything else is a hub id, answered from the hub's cache when there is no network. Only
what loading needs is fetched: configuration, tokenizer, and weights as safetensors where the model has them.
Neighbours: ``clip.py`` loads what is found here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wordframe.errors import EncoderError

_SMALL_FILES = ["*.json", "*.txt", "*.model"]
_WITHOUT_NETWORK = "without a network use --encoder offline, or the path of a folder that holds the model"


def find_folder(name: str) -> Path:
    """The folder called ``name``, else the files of the hub's model ``name``.

    Raises:
        EncoderError: there is neither, or it cannot be fetched; the message says what to do.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name.startswith(("/", ".", "~")) or name.count("/") > 1 or "\\" in name:
        raise EncoderError(f"no encoder at {name}: give a folder, an OpenAI .pt file, a hub id, or 'offline'")
    return _fetch(name)


def _fetch(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=[*_SMALL_FILES, "model*.safetensors"]))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(hub_id, allow_patterns=[*_SMALL_FILES, "pytorch_model*.bin"]))
    except HFValidationError as error:
        raise EncoderError(f"{hub_id!r} is no folder, and no hub id either: a hub id looks like owner/model") from error
    except GatedRepoError as error:
        raise EncoderError(
            f"the model {hub_id} is gated: accept its terms on its hub page, then log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise EncoderError(
            f"the hub has no model {hub_id}, or it is private: check the spelling, or log in with `hf auth login`"
        ) from error
    except OSError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EncoderError(f"cannot fetch {hub_id} from the hub ({reason}); {_WITHOUT_NETWORK}") from error
    return folder


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bar and no advice from transformers inside the block; what goes wrong is still raised."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
