"""The runtime of ``whisper_ast``; knows the model only through its host."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from tolmach.pipelines.bus import InfoMessage
from tolmach.pipelines.element import Context
from tolmach.pipelines.errors import ModelError, ModelMissingError
from tolmach.processors.ast import RATE_HZ
from tolmach.processors.ast.collector import Utterance
from tolmach.processors.ast.direction import Direction
from tolmach.processors.ast.element import SpeechTranslation
from tolmach.processors.ast.growing import GrowingRequest
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.hosting import HOSTS, HostKey, Lease, Model, located, off_loop
from tolmach.processors.whisper import weights
from tolmach.processors.whisper.request import WhisperRequest
from tolmach.processors.whisper.spec import PACKAGE_BASE, WhisperSettings, is_path

MIN_LOGPROB = -1.25
"""Gate when none is set. Whisper base, Russian into English: human speech scored -0.79 to -1.17, noise, music and near
silence -1.28 to -1.84. (Whisper's own -1.0 is where it tries again by sampling, not where it gives up.)"""


class WhisperAst(SpeechTranslation[WhisperRequest]):
    """Translates utterances with Whisper."""

    settings: WhisperSettings
    default_policy = "align_att"
    can_continue = True

    def __init__(self, settings: WhisperSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.default_min_logprob = MIN_LOGPROB
        name = settings.model.removeprefix("package:").rstrip("/").rpartition("/")[2]
        self.engine = name if "whisper" in name else f"whisper-{name}"

    async def open(self) -> Lease[WhisperRequest, Hypothesis]:
        """Acquire the model and check that it has the language.

        Raises:
            ModelMissingError: If it is not on this machine and cannot be fetched.
            ModelRefusedError: If packaged weights are not the pinned ones.
            ModelError: If it is no multilingual Whisper model, or has not this language.
        """
        settings = self.settings
        model = settings.model
        if is_path(model):
            model = str(await off_loop(_existing, model, self.context.base_dir))
        device = await HOSTS.device(settings.device, _gpus, self.context.host)
        threads = f", {settings.cpu_threads} threads" if settings.cpu_threads else ""
        key = HostKey("whisper", model, device, settings.compute_type + threads)
        load = partial(_load, model, device, settings.compute_type, settings.cpu_threads)
        self.context.post(InfoMessage(f"loading {self.engine}"))
        files = [model] if is_path(model) else []
        in_flight, place = settings.max_in_flight, self.context.host
        lease = await HOSTS.acquire(key, load, max_in_flight=in_flight, place=place, files=files)
        known = lease.info["languages"]
        unknown = [spoken for spoken, _ in settings.directions if spoken not in known]
        if unknown:
            lease.release()
            raise ModelError(
                f"{self.context.name}: source_lang {unknown[0]!r} is not a language of {self.engine}; it has "
                f"{', '.join(known)}"
            )
        self.context.post(InfoMessage(f"loaded {self.engine}", {"device": lease.info["device"]}))
        return lease

    def request(self, utterance: Utterance) -> WhisperRequest:
        """The samples, the language and the search."""
        settings, directions = self.settings, self.settings.directions
        source_lang, target_lang = directions[0]
        return WhisperRequest(
            utterance.samples,
            source_lang,
            source_lang == target_lang,
            settings.beam_size,
            settings.no_speech_threshold,
            directions=directions if len(directions) > 1 else (),
            transcript=settings.transcript,
            segments=settings.mode == "segments",
        )

    def growing_request(self, request: GrowingRequest) -> WhisperRequest:
        """What follows the prefix, word by word."""
        whole = self.request(Utterance(0, 0, 0, request.samples))
        return replace(
            whole,
            transcript=False,
            words=True,
            padding=self.settings.padding_ms * RATE_HZ // 1000,
            prefix=request.prefix,
            context=request.context,
        )

    def continued(self, item: WhisperRequest, text: str) -> WhisperRequest:
        """The same request, its text begun."""
        return replace(item, continues=text)

    def directed(self, item: WhisperRequest, direction: Direction) -> WhisperRequest:
        """The same request with the language given."""
        source_lang, target_lang = direction
        return replace(item, source_lang=source_lang, transcribe=source_lang == target_lang, directions=())


def fetch(settings: WhisperSettings) -> list[Path]:
    """Join packaged weights, download named ones.

    Returns:
        The model's files.

    Raises:
        ModelMissingError: If they cannot be had.
        ModelRefusedError: If packaged weights are not the pinned ones.
    """
    if settings.model == PACKAGE_BASE:
        folder = weights.joined_model()
    elif is_path(settings.model):
        folder = _existing(settings.model, Path.cwd())
    else:
        from tolmach.processors.whisper.model import download

        folder = download(settings.model)
    # Resolved: the hub's cache shows a model as a folder of links.
    return sorted(path.resolve() for path in folder.iterdir() if path.is_file())


def _load(model: str, device: str, compute_type: str, cpu_threads: int) -> Model[WhisperRequest, Hypothesis]:
    from tolmach.processors.whisper.model import download, load  # imports CTranslate2, so on the host's thread

    if model == PACKAGE_BASE:
        return load(weights.joined_model(), device, compute_type, cpu_threads)
    return load(Path(located(model)) if is_path(model) else download(model), device, compute_type, cpu_threads)


def _gpus() -> int:
    import ctranslate2

    return int(ctranslate2.get_cuda_device_count())


def _existing(model: str, base_dir: Path) -> Path:
    path = (base_dir / Path(model).expanduser()).resolve()
    if not (path / "model.bin").is_file():
        raise ModelMissingError(
            f"{path} is no CTranslate2 Whisper model (a folder with model.bin); give such a folder, a size such as "
            f"base, or {PACKAGE_BASE}"
        )
    return path
