"""The runtime of ``canary_ast``; knows the model only through its host."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from pipelines.element import Context
from pipelines.errors import ModelError, ModelMissingError
from pipelines.frames import Samples
from processors.ast.element import Hypothesis, SpeechTranslation
from processors.ast.settings import RATE_HZ
from processors.canary import embedded
from processors.canary.device import resolve
from processors.canary.request import CanaryRequest
from processors.canary.spec import EMBEDDED, CanarySettings, is_path
from processors.canary.weights import download
from processors.hosting import HOSTS, HostKey, Lease, Model, off_loop
from processors.utterances import Utterance


class CanaryAst(SpeechTranslation[CanaryRequest]):
    """Translates utterances with a Canary model."""

    settings: CanarySettings

    def __init__(self, settings: CanarySettings, context: Context) -> None:
        super().__init__(settings, context)
        self.group_size = settings.batch_utterances
        self.merge = settings.merge
        self._embedded: embedded.Embedded | None = None

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
            self._embedded = await off_loop(embedded.read, model.removeprefix(EMBEDDED))
            model, sha256 = str(self._embedded.path), self._embedded.sha256
            self.engine = self._embedded.label
            self.rejection = self._embedded.rejection
            if self.min_logprob is None:
                self.min_logprob = self._embedded.min_logprob
            self.context.post("info", self._embedded.notice)
        elif is_path(model):
            model = str(await off_loop(_existing, model, self.context.base_dir))
            self.engine = Path(model).stem
        else:
            self.engine = model.rpartition("/")[2]
        self.context.post("info", f"loading {self.engine}")
        lease = await self._acquire(model, sha256)
        try:
            self._check_languages(tuple(lease.info["languages"]))
        except ModelError:
            lease.release()
            raise
        self.context.post("info", f"loaded {self.engine}", data={"device": lease.info["device"]})
        return lease

    async def _acquire(self, model: str, sha256: str | None) -> Lease[CanaryRequest, Hypothesis]:
        device = await off_loop(resolve, self.settings.device)
        threads = self.settings.cpu_threads
        key = HostKey("canary", model, device, f"{threads} threads" if threads else "")
        load = partial(_load, model, device, sha256, threads)
        return await HOSTS.acquire(key, load, max_in_flight=self.settings.max_in_flight)

    def _check_languages(self, known: tuple[str, ...]) -> None:
        # NeMo itself takes an unknown language for the unknown token and goes on.
        for role in ("source_lang", "target_lang"):
            lang = getattr(self.settings, role)
            if lang not in known:
                raise ModelError(
                    f"{self.context.name}: {role} {lang!r} is not a language of {self.engine}; it has "
                    f"{', '.join(known)}"
                )

    def request(self, utterance: Utterance) -> CanaryRequest:
        """The samples, padded, and the languages."""
        return CanaryRequest(
            pad_short(utterance.samples, self.settings.min_utterance_ms * RATE_HZ // 1000),
            self.settings.source_lang,
            self.settings.target_lang,
            self.settings.max_tokens,
        )


def pad_short(samples: Samples, least: int) -> Samples:
    """Silence on both sides, the odd sample behind, as NeMo's transcribe() does for arrays; float32[max(n, least)]."""
    missing = max(0, least - len(samples))
    return np.pad(samples, (missing // 2, missing - missing // 2)) if missing else samples


def _load(model: str, device: str, sha256: str | None, cpu_threads: int) -> Model[CanaryRequest, Hypothesis]:
    from processors.canary.model import load  # imports NeMo: seconds, so on the host's thread

    return load(model, device, sha256=sha256, cpu_threads=cpu_threads)


def fetch(settings: CanarySettings) -> Path:
    """Download the model if it is named, verify it if it is embedded.

    Returns:
        Its file.

    Raises:
        ModelMissingError: If it cannot be had.
        ModelRefusedError: If the embedded model is not the one its sidecar pins.
    """
    if settings.model.startswith(EMBEDDED):
        held = embedded.read(settings.model.removeprefix(EMBEDDED))
        embedded.verify(held.path, held.sha256)
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
