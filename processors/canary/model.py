"""The Canary model itself: loading, and one batch from samples to texts with their log-probabilities.

The only module, with :mod:`processors.canary.nemo_file`, that imports NeMo; it is imported on the host's thread.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before NeMo is imported, because they speak while it is: its telemetry says that it is off, and hydra calls a factory
# function that NeMo's configurations name an error. None of it is for the user of a graph.
logging.getLogger("nv_one_logger").setLevel(logging.ERROR)
logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)

import nemo.utils  # noqa: E402

# NeMo logs to stdout, and keeps every record it makes in memory for a log file that never comes.
nemo.utils.logging.set_verbosity(nemo.utils.logging.ERROR)

import torch  # noqa: E402
from nemo.collections.asr.models import EncDecMultiTaskModel  # noqa: E402

from pipelines.errors import ModelError  # noqa: E402
from processors.ast.element import Hypothesis  # noqa: E402
from processors.ast.settings import RATE_HZ  # noqa: E402
from processors.canary import embedded  # noqa: E402
from processors.canary.nemo_file import Connector  # noqa: E402
from processors.canary.request import CanaryRequest  # noqa: E402
from processors.canary.spec import is_path  # noqa: E402
from processors.canary.weights import download  # noqa: E402
from processors.hosting import report  # noqa: E402
from processors.languages import LANGUAGES  # noqa: E402
from processors.torch_threads import use_threads  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

# NeMo restores through a process-wide state (AppState): two at a time would mix their files up.
_RESTORING = threading.Lock()

PROMPT_FORMAT = "canary2"
"""The prompt of canary-1b-v2, canary-1b-flash and canary-180m-flash."""

SMALL = 50_000_000
"""Parameters below which one thread is the fastest: the embedded model (4.5 M) takes 50 ms an utterance with one thread
on an idle machine and with two, but ten times as long with two when another program wants the cores (barriers)."""

_SLOTS = {
    "decodercontext": "",
    "emotion": "<|emo:undefined|>",
    "pnc": "<|pnc|>",
    "itn": "<|noitn|>",
    "timestamp": "<|notimestamp|>",
    "diarize": "<|nodiarize|>",
}
"""What NeMo's ``canary2`` prompt function fills in where a model has no ``prompt_defaults``."""


def load(model: str, device: str, *, sha256: str | None = None, cpu_threads: int = 0) -> CanaryModel:
    """Load a model.

    Args:
        model: Path of a ``.nemo`` file, or a hub name.
        device: ``cpu`` or ``cuda:N``.
        sha256: SHA-256 that the file must have, or None for the user's own choice of file.
        cpu_threads: CPU threads to compute with; 0 lets the size decide.

    Raises:
        ModelMissingError: If it cannot be had.
        ModelRefusedError: If it is not the file that was pinned, or its archive leads out of its folder.
        ModelError: If it is not a Canary model, or the device is not there.
    """
    target = torch.device(device)
    if target.type == "cuda" and (not torch.cuda.is_available() or target.index >= torch.cuda.device_count()):
        raise ModelError(f"no device {device}: PyTorch sees {torch.cuda.device_count()} GPUs here; use device: cpu")
    path = Path(model) if is_path(model) else download(model, report)
    if sha256 is not None:
        embedded.verify(path, sha256)
    connector = Connector()
    if path.is_dir():
        connector.model_extracted_dir = str(path)
    with _RESTORING:
        try:
            restored = EncDecMultiTaskModel.restore_from(
                str(path), map_location=target, save_restore_connector=connector
            )
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"{path} is not a usable Canary model: {type(error).__name__}: {error}") from error
    return CanaryModel(restored, model, cpu_threads)


class CanaryModel:
    """A loaded model; all calls from one thread.

    Args:
        model: The NeMo model.
        name: What it was loaded as, for messages.
        cpu_threads: CPU threads to compute with; 0 lets the size decide.

    Raises:
        ModelError: If it is not a model this class can drive.
    """

    def __init__(self, model: Any, name: str, cpu_threads: int = 0) -> None:
        if not isinstance(model, EncDecMultiTaskModel):
            raise ModelError(f"{name} is a {type(model).__name__}, not a Canary model (EncDecMultiTaskModel)")
        if model.prompt_format != PROMPT_FORMAT or model.sample_rate != RATE_HZ:
            raise ModelError(
                f"{name} takes {model.prompt_format!r} prompts at {model.sample_rate} Hz; supported are "
                f"{PROMPT_FORMAT!r} prompts at {RATE_HZ} Hz (canary-1b-v2, canary-1b-flash, canary-180m-flash)"
            )
        self._model = model
        self._device = next(model.parameters()).device
        self._parameters = sum(p.numel() for p in model.parameters())
        self._cpu_threads = cpu_threads or (1 if self._parameters < SMALL else 0)
        self._languages = _languages(model.tokenizer)
        self._prompts: dict[tuple[str, str], torch.Tensor] = {}
        # transcribe() sets both for its own time only: noise in the features, and padding that depends on the batch.
        model.preprocessor.featurizer.dither = 0.0
        model.preprocessor.featurizer.pad_to = 0

    @property
    def info(self) -> Mapping[str, Any]:
        """Languages, device and size."""
        return {
            "languages": list(self._languages),
            "device": str(self._device),
            "parameters": self._parameters,
        }

    def warm(self, items: Sequence[CanaryRequest] = ()) -> None:
        """Translate, a second of silence if nothing else is given."""
        lang = self._languages[0]
        self.run(items or [CanaryRequest(torch.zeros(RATE_HZ).numpy(), lang, lang)])

    @torch.inference_mode()
    def run(self, items: Sequence[CanaryRequest]) -> list[Hypothesis]:
        """Translate a batch: the same numbers, in the same order, as ``transcribe()`` on these arrays as one batch."""
        use_threads(self._cpu_threads)
        # After every decode NeMo leaves encoder or decoder in train() mode, in which batch norm and dropout differ.
        self._model.eval()
        signal, lengths = self._collate(items)
        _, _, states, mask = self._model.forward(input_signal=signal, input_signal_length=lengths)
        prompts = torch.stack([self._prompt(item.source_lang, item.target_lang) for item in items])
        with self._bound(items, prompts.shape[1]):
            decoded = self._model.decoding.decode_predictions_tensor(
                encoder_hidden_states=states, encoder_input_mask=mask, decoder_input_ids=prompts
            )
        best = [each[0] if isinstance(each, list) else each for each in decoded]
        self._model.eval()
        scores = self._score(states, mask, prompts, [[int(token) for token in each.y_sequence] for each in best])
        return [Hypothesis(each.text.strip(), score) for each, score in zip(best, scores, strict=True)]

    def _collate(self, items: Sequence[CanaryRequest]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(len(item.samples) for item in items)
        signal = torch.zeros(len(items), longest)
        for row, item in zip(signal, items, strict=True):
            row[: len(item.samples)] = torch.from_numpy(item.samples)
        lengths = torch.tensor([len(item.samples) for item in items])
        return signal.to(self._device), lengths.to(self._device)

    def _prompt(self, source_lang: str, target_lang: str) -> torch.Tensor:
        """Prompt tokens, int64[p]."""
        pair = (source_lang, target_lang)
        if pair not in self._prompts:
            for lang in pair:
                if lang not in self._languages:
                    raise ModelError(f"the model has no language {lang!r}; it has {', '.join(self._languages)}")
            turn = self._model.prompt.get_default_dialog_slots()[0]
            given = {slot: value for slot, value in turn["slots"].items() if value is not None}
            slots = {**_SLOTS, **given, "source_lang": source_lang, "target_lang": target_lang}
            encoded = self._model.prompt.encode_dialog(turns=[{"role": turn["role"], "slots": slots}])
            self._prompts[pair] = encoded["context_ids"].to(self._device)
        return self._prompts[pair]

    @contextmanager
    def _bound(self, items: Sequence[CanaryRequest], prompt_length: int) -> Iterator[None]:
        """Bound the decoder to the largest ``max_tokens`` of the batch, if all of it is bounded."""
        limits = [item.max_tokens for item in items]
        if None in limits:
            yield
            return
        inference = self._model.decoding.decoding
        search = getattr(inference, "greedy_search", None) or inference.beam_search
        own = search.max_seq_length
        search.max_seq_length = min(own, prompt_length + max(limit for limit in limits if limit is not None))
        try:
            yield
        finally:
            search.max_seq_length = own

    def _score(
        self, states: torch.Tensor, mask: torch.Tensor, prompts: torch.Tensor, tokens: Sequence[Sequence[int]]
    ) -> list[float]:
        """Mean log-probability of each text's tokens and of its end, natural log.

        NeMo's ``token_confidence`` returns zeros for this model (3.0.0), so the decoder reads its own text once more
        (teacher forcing), with the encoder's states at hand: one step instead of one a token.
        """
        model = self._model
        end = model.tokenizer.eos_id
        start = prompts.shape[1]
        lengths = torch.tensor([start + len(row) for row in tokens], device=self._device)
        inputs = torch.full((len(tokens), int(lengths.max())), model.tokenizer.pad_id, device=self._device)
        for into, prompt, row in zip(inputs, prompts, tokens, strict=True):
            into[: start + len(row)] = torch.cat([prompt, torch.tensor(row, dtype=prompt.dtype, device=self._device)])
        valid = torch.arange(inputs.shape[1], device=self._device)[None] < lengths[:, None]
        hidden = model.transf_decoder(
            input_ids=inputs,
            decoder_mask=valid.to(inputs.dtype),
            encoder_embeddings=states,
            encoder_mask=mask,
        )
        logprobs = model.log_softmax(hidden_states=hidden)
        means = []
        for each, row in zip(logprobs, tokens, strict=True):
            wanted = torch.tensor([*row, end], device=self._device)
            steps = each[start - 1 : start + len(row)].gather(1, wanted[:, None])
            means.append(float(steps.double().mean()))
        return means


def _languages(tokenizer: Any) -> tuple[str, ...]:
    """Languages that the tokenizer has a token for (``<|ru|>``), sorted."""
    special = getattr(tokenizer, "special_tokens", None) or tokenizer.vocab
    codes = {found.group(1) for token in special if (found := re.fullmatch(r"<\|([a-z]{2,3})\|>", token))}
    return tuple(sorted(code for code in codes if code in LANGUAGES))
