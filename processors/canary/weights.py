"""Where Canary models with a hub name come from. Imports neither NeMo nor, while the file is in the cache, a client."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tolmach.pipelines.errors import ModelMissingError, ModelRefusedError
from tolmach.pipelines.models import hub

if TYPE_CHECKING:
    from tolmach.pipelines.models.download import Progress

__all__ = ["download", "hub_file"]

log = logging.getLogger(__name__)

_KNOWN = {
    "nvidia/canary-1b-v2": (6_358_958_080, "ae5ef1bf06812a95a1594a8f5f0ee9c51f35418e5ba96939fa6b98ab00431094"),
}
"""Length and SHA-256, the same at both public revisions of the repository."""


def hub_file(name: str) -> hub.HubFile:
    """The file of a model: NeMo calls it after the repository (``ModelPT.from_pretrained``)."""
    size_bytes, sha256 = _KNOWN.get(name, (None, None))
    return hub.HubFile(name, f"{name.rpartition('/')[2]}.nemo", size_bytes, sha256)


def download(name: str, progress: Progress = log.info) -> Path:
    """The file of a model, fetched unless it is in the hub's cache. Blocks.

    Args:
        name: Name on the hub, ``owner/model``.
        progress: Told how far it is, one line at a time.

    Returns:
        A ``.nemo`` file; a folder, if the repository keeps the model unpacked.

    Raises:
        ModelMissingError: If it cannot be had.
        ModelRefusedError: If what comes is not the file it should be.
    """
    try:
        return hub.fetch(hub_file(name), progress)
    except hub.NotInRepositoryError:
        return _unpacked(name)
    except ModelRefusedError:
        raise
    except ModelMissingError as error:
        raise _missing(name, error) from error


def _unpacked(name: str) -> Path:
    from nemo.collections.asr.models import EncDecMultiTaskModel  # seconds

    try:
        return Path(EncDecMultiTaskModel.from_pretrained(name, return_model_file=True))
    except Exception as error:  # the hub's clients raise whatever their transport raises
        raise _missing(name, error) from error


def _missing(name: str, error: Exception) -> ModelMissingError:
    return ModelMissingError(
        f"the model {name} is not on this machine and could not be downloaded: {error}. `tolmach fetch GRAPH` on a "
        "machine with internet fetches it into the Hugging Face cache, which may be copied here, and --set model=PATH "
        "takes a .nemo file from anywhere. Without it: {type: whisper_ast} translates into English, and "
        "model: embedded:phrasebook demonstrates 1600 travel phrases"
    )
