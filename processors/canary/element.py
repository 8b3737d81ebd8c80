"""The runtime of ``canary_ast``; knows the model only through its host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from tolmach.pipelines.bus import InfoMessage, LoadingMessage, WarningMessage
from tolmach.pipelines.element import Context
from tolmach.pipelines.errors import ModelError, ModelMissingError
from tolmach.processors.ast import RATE_HZ
from tolmach.processors.ast.collector import Utterance
from tolmach.processors.ast.direction import Direction, Likelihoods
from tolmach.processors.ast.element import SpeechTranslation
from tolmach.processors.ast.growing import GrowingRequest
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.ast.segments import WordTimes, segments_of, to_align
from tolmach.processors.canary.known import (
    EMBEDDED,
    NO_ALIGNER,
    Embedded,
    check_pair,
    download,
    download_classifier,
    has_aligner,
    published_name,
    read_embedded,
    verify,
)
from tolmach.processors.canary.request import (
    AlignRequest,
    CanaryRequest,
    LanguageRequest,
    pad_behind,
    pad_short,
    switch_token,
    token_bound,
)
from tolmach.processors.canary.spec import DEFAULT_MIN_LOGPROB, CanarySettings, is_path
from tolmach.processors.hosting import HOSTS, HostKey, Lease, Model, Outcome, located, off_loop, report
from tolmach.processors.hosting.device import torch_gpus

Asked = TypeVar("Asked")
Found = TypeVar("Found")


class CanaryAst(SpeechTranslation[CanaryRequest]):
    """Translates utterances with a Canary model."""

    settings: CanarySettings
    can_continue = True

    def __init__(self, settings: CanarySettings, context: Context) -> None:
        # Where the decoders of small models of one's own look says little: the phrasebook's looks at the last frame.
        named = not is_path(settings.model) and not settings.model.startswith(EMBEDDED)
        self.default_policy = "align_att" if named or published_name(settings.model) else "local_agreement"
        super().__init__(settings, context)
        self.group_size = settings.batch_utterances
        self.merge = settings.merge
        self._embedded: Embedded | None = None
        self._aligner: Lease[AlignRequest, WordTimes] | None = None
        self._classifier: Lease[LanguageRequest, Likelihoods] | None = None

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
        if self.settings.mode == "segments":
            self._aligner = await self._acquire_aligner(model)  # first: whether there is one is known at once
        if self.settings.classifies:
            self._classifier = await self._acquire_classifier()
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
        device = await HOSTS.device(settings.device, torch_gpus, self.context.host)
        threads, dtype = settings.cpu_threads, settings.dtype
        if dtype == "float32" and device == "cpu":
            dtype = "auto"  # the same model
        variant = [f"{threads} threads"] * bool(threads) + [dtype] * (dtype != "auto")
        key = HostKey("canary", model, device, ", ".join(variant))
        load = partial(_load, model, device, sha256, threads, dtype)
        return await self._lease_of(key, load)

    async def _lease_of(self, key: HostKey, load: Callable[[], Model[Asked, Found]]) -> Lease[Asked, Found]:
        return await HOSTS.acquire(
            key,
            load,
            max_in_flight=self.settings.max_in_flight,
            on_progress=self._note_progress,
            place=self.context.host,
            files=[key.model] if is_path(key.model) else [],
        )

    async def _acquire_aligner(self, model: str) -> Lease[AlignRequest, WordTimes]:
        settings = self.settings
        device = await HOSTS.device(settings.device, torch_gpus, self.context.host)
        key = HostKey("canary aligner", model, device, f"{settings.cpu_threads} threads" * bool(settings.cpu_threads))
        load = partial(_load_aligner, model, device, settings.cpu_threads)
        try:
            return await self._lease_of(key, load)
        except ModelError as error:
            raise type(error)(f"{self.context.name}: {error}") from error

    async def _acquire_classifier(self) -> Lease[LanguageRequest, Likelihoods]:
        settings, name = self.settings, self.settings.language_classifier
        device = await HOSTS.device(settings.device, torch_gpus, self.context.host)
        if is_path(name):
            name = str(await off_loop(_existing, name, self.context.base_dir))
        threads = settings.cpu_threads
        key = HostKey("language classifier", name, device, f"{threads} threads" * bool(threads))
        load = partial(_load_classifier, name, device, threads)
        try:
            lease = await self._lease_of(key, load)
        except ModelError as error:
            raise type(error)(f"{self.context.name}: {error}") from error
        known = lease.info["languages"]
        if unknown := [each.source_lang for each in settings.directions if each.source_lang not in known]:
            lease.release()
            raise ModelError(
                f"{self.context.name}: {settings.language_classifier} does not know {unknown[0]!r}; it tells apart "
                f"{', '.join(known)}"
            )
        return lease

    async def warm(self) -> None:
        """Have the model translate, the aligner align and the classifier classify a second of noise, once a process."""
        if self._classifier is not None:
            await self._classifier.warm(once="classify")
        await super().warm()
        if self._aligner is not None:
            await self._aligner.warm(once="align")

    async def stop(self) -> None:
        """Throw away what is under way and release the models, which stay loaded for the next graph."""
        await super().stop()
        for lease in (self._aligner, self._classifier):
            if lease is not None:
                lease.release()
        self._aligner = self._classifier = None

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
        for slot, on in (("pnc", settings.pnc), ("itn", settings.itn)):
            if on is not None and (token := switch_token(slot, on)) not in info["switches"]:
                wish = f"`{slot}: {str(on).lower()}`"
                raise ModelError(
                    f"{self.context.name}: {self.engine} has no token {token}, so {wish} cannot be asked of it; leave "
                    f"{slot} out"
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
        wish = self.settings.language_evidence
        if wish == "prompt" or wish == "transcripts":
            return wish
        return "prompt" if self.settings.model.startswith(EMBEDDED) else "transcripts"  # if a classifier fails, too

    def request(self, utterance: Utterance) -> CanaryRequest:
        """The samples, padded, and the languages."""
        settings, samples, directions = self.settings, utterance.samples, self.settings.directions
        return CanaryRequest(
            pad_short(samples, settings.min_utterance_ms * RATE_HZ // 1000),
            *directions[0],
            settings.max_tokens or token_bound(len(samples) / RATE_HZ),
            directions=directions if len(directions) > 1 else (),
            evidence=self._evidence,
            transcript=settings.transcript or settings.mode == "segments",
            pnc=settings.pnc,
            itn=settings.itn,
            beam_size=settings.beam_size,
        )

    async def _answers(
        self, items: Sequence[CanaryRequest], spent: Callable[[float], None] | None = None, size: float = 1.0
    ) -> list[Outcome[Hypothesis]]:
        if self._classifier is not None:
            items = await self._classified(self._classifier, items)
        outcomes = await super()._answers(items, spent, size)
        if self._aligner is not None:
            await self._segment(self._aligner, items, outcomes)
        return outcomes

    async def _classified(
        self, classifier: Lease[LanguageRequest, Likelihoods], items: Sequence[CanaryRequest]
    ) -> list[CanaryRequest]:
        """The requests, with how likely their languages are where that is to be found."""
        asked = [n for n, item in enumerate(items) if item.directions]
        requests = [LanguageRequest(items[n].samples, tuple(d.source_lang for d in items[n].directions)) for n in asked]
        classified = list(items)
        for n, found in zip(asked, await classifier.submit(requests, merge=self.merge) if asked else (), strict=True):
            if isinstance(found, Exception):
                text = f"{self.settings.language_classifier} failed, the model finds the language itself: {found}"
                self.context.post(WarningMessage(text))
            else:
                classified[n] = replace(items[n], spoken=found)
        return classified

    async def _segment(
        self,
        aligner: Lease[AlignRequest, WordTimes],
        items: Sequence[CanaryRequest],
        outcomes: list[Outcome[Hypothesis]],
    ) -> None:
        """Add to each answer the spans of its sentences."""
        asked: dict[int, AlignRequest] = {}
        for n, (item, found) in enumerate(zip(items, outcomes, strict=True)):
            # What had to be padded has other times than its utterance, and no room for two sentences.
            short = len(item.samples) <= self.settings.min_utterance_ms * RATE_HZ // 1000
            if isinstance(found, Hypothesis) and not short and (text := to_align(found.text, found.source_text)):
                asked[n] = AlignRequest(item.samples, text)
        if not asked:
            return
        times = await aligner.submit(list(asked.values()), merge=self.merge)
        for (n, request), spans in zip(asked.items(), times, strict=True):
            hypothesis = outcomes[n]
            if isinstance(spans, Exception):
                text = f"the spans of an utterance's sentences are not known: {type(spans).__name__}: {spans}"
                self.context.post(WarningMessage(text))
            elif isinstance(hypothesis, Hypothesis):
                heard, understood = len(request.samples), hypothesis.source_text
                segments = segments_of(hypothesis.text, request.text, spans, heard, understood)
                outcomes[n] = replace(hypothesis, segments=segments)

    def continued(self, item: CanaryRequest, text: str) -> CanaryRequest:
        """The same request, its text begun."""
        return replace(item, prefix=text)

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
            pnc=settings.pnc,
            itn=settings.itn,
        )

    def directed(self, item: CanaryRequest, direction: Direction) -> CanaryRequest:
        """The same request with the language given."""
        return replace(item, source_lang=direction.source_lang, target_lang=direction.target_lang, directions=())


def _load(
    model: str, device: str, sha256: str | None, cpu_threads: int, dtype: str
) -> Model[CanaryRequest, Hypothesis]:
    report("importing NeMo")
    from tolmach.processors.canary.model import load  # seconds, so on the host's thread

    return load(located(model), device, sha256=sha256, cpu_threads=cpu_threads, dtype=dtype)


def _load_aligner(model: str, device: str, cpu_threads: int) -> Model[AlignRequest, WordTimes]:
    path = Path(located(model)) if is_path(model) else download(model, report)
    if not has_aligner(path):
        raise ModelError(NO_ALIGNER.format(path if is_path(model) else model))
    report("importing NeMo")
    import tolmach.processors.canary.model  # noqa: F401 -- it has NeMo say nothing
    from tolmach.processors.canary.aligner import load

    return load(path, device, cpu_threads)


def _load_classifier(name: str, device: str, cpu_threads: int) -> Model[LanguageRequest, Likelihoods]:
    path = Path(located(name)) if is_path(name) else download_classifier(name, report)
    report("importing NeMo")
    import tolmach.processors.canary.model  # noqa: F401 -- it has NeMo say nothing
    from tolmach.processors.canary.classifier import load

    return load(path, device, cpu_threads)


def fetch(settings: CanarySettings) -> Path | list[Path]:
    """Download the model if it is named, verify it if it is embedded; likewise the classifier, where one is wanted.

    Returns:
        Its file, or the files of both.

    Raises:
        ModelMissingError: If it cannot be had.
        ModelRefusedError: If the embedded model is not the one its sidecar pins.
    """
    model = _fetch_model(settings)
    if not settings.classifies:
        return model
    name = settings.language_classifier
    return [model, _existing(name, Path.cwd()) if is_path(name) else download_classifier(name)]


def _fetch_model(settings: CanarySettings) -> Path:
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
