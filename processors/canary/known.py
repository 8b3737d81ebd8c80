"""The Canary models that are known: what the published ones translate, where they come from, and those that ship.

Cheap to import: neither NeMo nor, while a file is in its cache, a client of the hub.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from tolmach.pipelines.errors import ModelError, ModelMissingError, ModelRefusedError
from tolmach.pipelines.models import hub
from tolmach.pipelines.models.caches import cache_dir
from tolmach.processors.ast import require_language

if TYPE_CHECKING:
    from tolmach.pipelines.models.download import TellProgress

log = logging.getLogger(__name__)

# fmt: off
CANARY_1B_V2 = (
    "bg", "hr", "cs", "da", "nl", "en", "et", "fi", "fr", "de", "el", "hu", "it",
    "lv", "lt", "mt", "pl", "pt", "ro", "ru", "sk", "sl", "es", "sv", "uk",
)
# fmt: on
"""The 25 languages of https://huggingface.co/nvidia/canary-1b-v2 (model card, "Supported languages")."""

CANARY_FLASH = ("en", "de", "es", "fr")
"""The languages of https://huggingface.co/nvidia/canary-1b-flash and canary-180m-flash."""

PUBLISHED = {
    "nvidia/canary-1b-v2": CANARY_1B_V2,
    "nvidia/canary-1b-flash": CANARY_FLASH,
    "nvidia/canary-180m-flash": CANARY_FLASH,
}
"""Languages by hub name. Their tokenizers hold tokens for many more languages, which the models never learnt."""


class Shape(NamedTuple):
    """What tells models apart that tell no name.

    Attributes:
        vocabulary: Tokens of the tokenizer.
        encoder_layers: Layers of the encoder.
        encoder_width: Its ``d_model``.
        decoder_layers: Layers of the decoder.
    """

    vocabulary: int
    encoder_layers: int
    encoder_width: int
    decoder_layers: int


SHAPES = {Shape(16384, 32, 1024, 8): "nvidia/canary-1b-v2"}
"""Of those whose tokenizers hold tokens for languages that they never learnt. (Those of the flash models are put
together from one tokenizer a language, and say by that which they are.)"""

PIVOT = "en"
"""All of them transcribe every language but translate only from and into English (the same model cards)."""


def published_name(model: str) -> str | None:
    """The hub name of a published model given by name, or by a path that has kept the name; None for others."""
    path = PurePath(model)
    name = f"nvidia/{path.stem}" if path.suffix == ".nemo" else model
    return name if name in PUBLISHED else None


class KnownLanguages(NamedTuple):
    """What is known of a loaded model's languages.

    Attributes:
        languages: Those it may be asked for, sorted.
        published: Hub name of the model that it is, or has been made from; None if that is not known.
        sure: Whether it has learnt them; if not, all that is known is that it has tokens for them.
    """

    languages: tuple[str, ...]
    published: str | None
    sure: bool


def recognise(name: str, shape: Shape, tokens: Sequence[str], parts: Sequence[str] = ()) -> KnownLanguages:
    """Which languages a model has learnt, by its name, its shape and its tokenizer.

    Args:
        name: Hub name or path.
        shape: What it looks like.
        tokens: Languages that its tokenizer has tokens for.
        parts: Languages of which its tokenizer has a part of its own.
    """
    published = published_name(name) or SHAPES.get(shape)
    if published is not None:
        return KnownLanguages(tuple(sorted(set(PUBLISHED[published]) & set(tokens))), published, True)
    if parts:
        return KnownLanguages(tuple(sorted(set(parts) & set(tokens))), None, True)
    return KnownLanguages(tuple(sorted(tokens)), None, False)


def check_pair(model: str, source_lang: str, target_lang: str, called: str = "") -> None:
    """Refuse a language, or a direction, that a published model does not translate.

    Args:
        model: Hub name or path; nothing is refused of models that are not in :data:`PUBLISHED`, by name or as a file
            that has kept its name (their tokens would promise too much).
        source_lang: Language that is spoken.
        target_lang: Language of the text.
        called: What to call the model, if not that.

    Raises:
        ValueError: Says what the model can do.
    """
    published = published_name(model)
    if published is None:
        return
    known, called = PUBLISHED[published], called or model
    require_language("source_lang", source_lang, known, called)
    require_language("target_lang", target_lang, known, called)
    if source_lang != target_lang and PIVOT not in (source_lang, target_lang):
        raise ValueError(
            f"{called} translates only from and into English, not {source_lang} to {target_lang}; "
            f"use two graphs through English, or target_lang {source_lang} to transcribe"
        )


# Those that ship: a ``.nemo`` and a JSON sidecar that says what it is -----------------------------------------------

FOLDER = Path(__file__).resolve().parent.parent
"""Where ``NAME/NAME.nemo`` and ``NAME/NAME.json`` lie."""

EMBEDDED = "embedded:"
"""What the names of those begin with that ship: ``embedded:phrasebook``."""

EMBEDDED_LABELS = {"phrasebook": ("demonstration phrasebook", "not in the phrasebook")}
"""By what follows: as what each speaks to people, and what it says of speech it does not know."""


class Embedded(NamedTuple):
    """What the sidecar says, and the model's label.

    Attributes:
        path: The ``.nemo`` file.
        sha256: SHA-256 that the file must have, hexadecimal.
        label: What the model is, as people should read it ("demonstration phrasebook").
        notice: What people should know before they take it for more than it is.
        languages: Languages it was trained on.
        min_logprob: Its gate: least mean log-probability of a token (natural log) for a text to pass.
        rejection: What it says of speech below the gate.
    """

    path: Path
    sha256: str
    label: str
    notice: str
    languages: tuple[str, ...]
    min_logprob: float
    rejection: str


def read_embedded(model: str) -> Embedded:
    """The embedded model of this name, :data:`EMBEDDED` included.

    Raises:
        ModelMissingError: If the installation lacks its files.
        ModelError: If its sidecar is broken.
    """
    name = model.removeprefix(EMBEDDED)
    folder = FOLDER / name
    sidecar = folder / f"{name}.json"
    path = folder / f"{name}.nemo"
    for file in (sidecar, path):
        if not file.is_file():
            raise ModelMissingError(f"{model}: this installation of tolmach lacks {file}; install it again")
    label, rejection = EMBEDDED_LABELS[name]
    try:
        data = json.loads(sidecar.read_text(encoding="utf-8"))
        return Embedded(
            path=path,
            sha256=str(data["sha256"]).lower(),
            label=label,
            notice=str(data["notice"]),
            languages=tuple(map(str, data["languages"])),
            min_logprob=float(data["min_logprob"]),
            rejection=rejection,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{model}: {sidecar} is broken ({error!r}); install tolmach again") from error


def verify(path: Path, sha256: str) -> None:
    """Check a file against its pin.

    Raises:
        ModelRefusedError: If it is another file.
    """
    import hashlib  # with OpenSSL, which a check does without

    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ModelRefusedError(f"{path} has SHA-256 {found}, not the pinned {sha256}; install tolmach again")


# What a file holds ----------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """One of the models that a ``.nemo`` file may hold.

    Attributes:
        config: Member with its configuration.
        weights: Member with its weights.
    """

    config: str
    weights: str


MODEL = Part("model_config.yaml", "model_weights.ckpt")
ALIGNER = Part("timestamps_asr_model_config.yaml", "timestamps_asr_model_weights.ckpt")
"""What only timestamps need (``EncDecMultiTaskModel.__restore_timestamps_asr_model``)."""

WITHOUT_ALIGNER = ("nvidia/canary-1b-flash", "nvidia/canary-180m-flash")
"""Published models that bring none: their own decoder may write time tokens into a transcript (model cards)."""

NO_ALIGNER = (
    "mode segments needs an aligner, and {} has none; nvidia/canary-1b-v2 brings one in its file. mode utterance gives "
    "one text an utterance, mode simultaneous gives clauses"
)


def has_aligner(path: Path) -> bool:
    """Whether a ``.nemo`` file, or a folder that it was unpacked into, holds an aligner. Reads the names in it alone.

    Raises:
        ModelError: If it is no archive, or cannot be read.
    """
    import tarfile  # 1 ms that `check` need not wait for

    if path.is_dir():
        return all((path / name).is_file() for name in ALIGNER)
    try:
        with tarfile.open(path, "r:*") as archive:
            return set(ALIGNER) <= {Path(member.name).as_posix() for member in archive}
    except (tarfile.TarError, OSError) as error:
        raise ModelError(f"{path} is not a usable Canary model: {error}") from error


# Where those with a hub name come from --------------------------------------------------------------------------

_PINNED = {
    "nvidia/canary-1b-v2": (6_358_958_080, "ae5ef1bf06812a95a1594a8f5f0ee9c51f35418e5ba96939fa6b98ab00431094"),
}
"""Length and SHA-256, the same at both public revisions of the repository."""


CLASSIFIERS = {
    "langid_ambernet": "https://api.ngc.nvidia.com/v2/models/nvidia/nemo/langid_ambernet/versions/1.12.0/files/ambernet.nemo"
}
"""Classifiers of spoken languages by NeMo's names for them, and where NeMo says that they are
(``EncDecSpeakerLabelModel.list_available_models``). Nobody has published digests; they are loaded as weights only."""

MAX_CLASSIFIER_BYTES = 1 << 30


def classifier_file(name: str) -> Path:
    """Where the file of a classifier lies, or would after a download."""
    return cache_dir() / "nemo" / PurePath(urlsplit(CLASSIFIERS[name]).path).name


def download_classifier(name: str, progress: TellProgress = log.info) -> Path:
    """The file of a classifier, fetched unless it is in the cache. Blocks.

    Raises:
        DownloadError: If it cannot be had.
        ModelRefusedError: If what comes is no such file.
    """
    path = classifier_file(name)
    if not path.is_file():
        from tolmach.pipelines.models.download import DownloadError, Remote, download  # `check` need not pay for it

        try:
            download(Remote(CLASSIFIERS[name], name, max_bytes=MAX_CLASSIFIER_BYTES), path, progress)
        except DownloadError as error:
            raise DownloadError(
                f"{error}. Without a network, run `tolmach fetch GRAPH` elsewhere and put the file at {path}"
            ) from error
    return path


def hub_file(name: str) -> hub.HubFile:
    """The file of a model: NeMo calls it after the repository (``ModelPT.from_pretrained``)."""
    size_bytes, sha256 = _PINNED.get(name, (None, None))
    return hub.HubFile(name, f"{name.rpartition('/')[2]}.nemo", size_bytes, sha256)


def download(name: str, progress: TellProgress = log.info) -> Path:
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
