"""The runtime of ``canary_ast``; knows the model only through its host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tolmach.pipelines.bus import InfoMessage, LoadingMessage, WarningMessage
from tolmach.pipelines.element import Context
from tolmach.pipelines.errors import ModelError, ModelMissingError
from tolmach.processors.ast import RATE_HZ
from tolmach.processors.ast.collector import Utterance
from tolmach.processors.ast.direction import Direction
from tolmach.processors.ast.element import SpeechTranslation
from tolmach.processors.ast.growing import GrowingRequest
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.canary.known import (
    EMBEDDED,
    Embedded,
    check_pair,
    download,
    published_name,
    read_embedded,
    verify,
)
from tolmach.processors.canary.request import CanaryRequest, pad_behind, pad_short, token_bound
from tolmach.processors.canary.spec import DEFAULT_MIN_LOGPROB, CanarySettings, is_path
from tolmach.processors.hosting import HOSTS, HostKey, Lease, Model, off_loop, report
from tolmach.processors.hosting.device import resolve_device, torch_gpus


class CanaryAst(SpeechTranslation[CanaryRequest]):
    """Translates utterances with a Canary model."""

    settings: CanarySettings

    def __init__(self, settings: CanarySettings, context: Context) -> None:
        super().__init__(settings, context)
        self.group_size = settings.batch_utterances
        self.merge = settings.merge
        self._embedded: Embedded | None = None

    @property
    def empty_rejection(self) -> str:
        """An embedded model answers nothing to speech it does not know; the others, to what is no speech."""
        return self._embedded.rejection if self._embedded else super().empty_rejection

    async def open(self) -> Lease[CanaryRequest, Hypothesis]:
        """Acquire the model and check that it has the languages.

        Raises:
            ModelMissingError: If it is not on this machine and cannot be fetched.
            ModelRefusedError: If the embedded model is not the one its sidecar pins.
            ModelError: If it is not a Canary model, or has not these languages.
        """
        model = self.settings.model
        sha256 = None
        if model.startswith(EMBEDDED):
            self._embedded = await off_loop(read_embedded, model)
            model, sha256 = str(self._embedded.path), self._embedded.sha256
            self.engine = self._embedded.label
            self.rejection = self._embedded.rejection
            self.default_min_logprob = self._embedded.min_logprob
            self.context.post(InfoMessage(self._embedded.notice))
        elif is_path(model):
            model = str(await off_loop(_existing, model, self.context.base_dir))
            self.engine = Path(model).stem
        else:
            self.engine = model.rpartition("/")[2]
        self.context.post(InfoMessage(f"loading {self.engine}"))
        lease = await self._acquire(model, sha256)
        try:
            self._check_languages(lease.info)
        except ModelError:
            lease.release()
            raise
        info = lease.info
        if info["published"] is not None and self.default_min_logprob is None:
            self.default_min_logprob = DEFAULT_MIN_LOGPROB
        self.context.post(InfoMessage(f"loaded {self.engine}", {"device": info["device"], "dtype": info["dtype"]}))
        return lease

    async def _acquire(self, model: str, sha256: str | None) -> Lease[CanaryRequest, Hypothesis]:
        settings = self.settings
        device = await off_loop(resolve_device, settings.device, torch_gpus)
        threads, dtype = settings.cpu_threads, settings.dtype
        if dtype == "float32" and device == "cpu":
            dtype = "auto"  # the same model
        variant = [f"{threads} threads"] * bool(threads) + [dtype] * (dtype != "auto")
        key = HostKey("canary", model, device, ", ".join(variant))
        load = partial(_load, model, device, sha256, threads, dtype)
        return await HOSTS.acquire(key, load, max_in_flight=settings.max_in_flight, on_progress=self._note_progress)

    def _note_progress(self, text: str) -> None:
        self.context.post(LoadingMessage(f"loading {self.engine}: {text}"))

    def _check_languages(self, info: Mapping[str, Any]) -> None:
        # NeMo itself takes an unknown language for the unknown token and goes on.
        settings, published = self.settings, info["published"]
        claimed = settings.trained_languages
        known = [lang for lang in claimed if lang in info["tokens"]] if claimed else info["languages"]
        looks_like = "" if published is None or published_name(settings.model) else f", which looks like {published}"
        for role, lang in ((role, getattr(each, role)) for each in settings.directions for role in each._fields):
            if lang not in known:
                own = "; name the languages of a model of your own in `trained_languages`" if looks_like else ""
                raise ModelError(
                    f"{self.context.name}: {role} {lang!r} is not a language of {self.engine}{looks_like}; it has "
                    f"{', '.join(known)}{own}"
                )
        if claimed:
            return
        if published is not None:
            try:
                for direction in settings.directions:
                    check_pair(published, *direction, f"{self.engine}{looks_like},")
            except ValueError as error:
                raise ModelError(f"{self.context.name}: {error}") from None
        elif not info["sure"] and self._embedded is None:
            wanted = " and ".join(sorted({lang for direction in settings.directions for lang in direction}))
            text = (
                f"{self.engine} is no published model: it has tokens for {len(known)} languages, and whether it has "
                f"learnt {wanted} is not known (`trained_languages`)"
            )
            self.context.post(WarningMessage(text))

    @property
    def _evidence(self) -> Literal["prompt", "transcripts"]:
        if self.settings.language_evidence == "auto":
            return "prompt" if self.settings.model.startswith(EMBEDDED) else "transcripts"
        return self.settings.language_evidence

    def request(self, utterance: Utterance) -> CanaryRequest:
        """The samples, padded, and the languages."""
        settings, samples, directions = self.settings, utterance.samples, self.settings.directions
        return CanaryRequest(
            pad_short(samples, settings.min_utterance_ms * RATE_HZ // 1000),
            *directions[0],
            settings.max_tokens or token_bound(len(samples) / RATE_HZ),
            directions=directions if len(directions) > 1 else (),
            evidence=self._evidence,
            transcript=settings.transcript,
        )

    def growing_request(self, request: GrowingRequest) -> CanaryRequest:
        """What follows the prefix, word by word; nothing is put around audio that others will follow."""
        settings, samples, directions = self.settings, request.samples, self.settings.directions
        return CanaryRequest(
            pad_behind(samples, settings.min_utterance_ms * RATE_HZ // 1000) if request.complete else samples,
            *directions[0],
            settings.max_tokens or token_bound(len(samples) / RATE_HZ),
            prefix=request.prefix,
            words=True,
            directions=directions if len(directions) > 1 else (),
            evidence=self._evidence,
        )

    def directed(self, item: CanaryRequest, direction: Direction) -> CanaryRequest:
        """The same request with the language given."""
        return replace(item, source_lang=direction.source_lang, target_lang=direction.target_lang, directions=())


def _load(
    model: str, device: str, sha256: str | None, cpu_threads: int, dtype: str
) -> Model[CanaryRequest, Hypothesis]:
    report("importing NeMo")
    from tolmach.processors.canary.model import load  # seconds, so on the host's thread

    return load(model, device, sha256=sha256, cpu_threads=cpu_threads, dtype=dtype)


def fetch(settings: CanarySettings) -> Path:
    """Download the model if it is named, verify it if it is embedded.

    Returns:
        Its file.

    Raises:
        ModelMissingError: If it cannot be had.
        ModelRefusedError: If the embedded model is not the one its sidecar pins.
    """
    if settings.model.startswith(EMBEDDED):
        held = read_embedded(settings.model)
        verify(held.path, held.sha256)
        return held.path
    if is_path(settings.model):
        return _existing(settings.model, Path.cwd())
    return download(settings.model).resolve()  # out of the snapshot of links, to the file itself


def _existing(model: str, base_dir: Path) -> Path:
    path = (base_dir / Path(model).expanduser()).resolve()
    if not path.is_file():
        raise ModelMissingError(
            f"no model file {path}; give the path of a .nemo file, the hub name nvidia/canary-1b-v2, or "
            "embedded:phrasebook (a demonstration of 1600 travel phrases)"
        )
    return path
