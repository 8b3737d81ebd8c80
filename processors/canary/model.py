"""The Canary model itself: loading, and one batch from samples to texts with their log-probabilities.

The only module, with :mod:`tolmach.processors.canary.nemo_file`, that imports NeMo; it is imported on the host's
thread.

**Steps.** A batch is computed in steps, between which another caller's may have one
(:meth:`tolmach.processors.hosting.Model.run`): the encoder's pass over the batch is one, then every :data:`STEP_TOKENS`
tokens. So nobody waits for a long utterance; with one utterance a batch (the default) the longest step is the encoder's
pass over the longest utterance. A beam of more than one is searched by NeMo, in one step.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Generator, Mapping, Sequence
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
from nemo.collections.asr.modules.transformer.transformer_generators import (  # noqa: E402
    BeamSearchSequenceGenerator,
    GreedySequenceGenerator,
)

from tolmach.pipelines.errors import ModelError  # noqa: E402
from tolmach.processors.ast import RATE_HZ  # noqa: E402
from tolmach.processors.ast.guards import without_tokens  # noqa: E402
from tolmach.processors.ast.hypothesis import Hypothesis  # noqa: E402
from tolmach.processors.canary import precision  # noqa: E402
from tolmach.processors.canary.known import KnownLanguages, Shape, download, recognise, verify  # noqa: E402
from tolmach.processors.canary.nemo_file import Connector  # noqa: E402
from tolmach.processors.canary.request import CanaryRequest  # noqa: E402
from tolmach.processors.canary.spec import DEFAULT_MIN_LOGPROB, is_path  # noqa: E402
from tolmach.processors.hosting import report  # noqa: E402
from tolmach.processors.hosting.device import explain_out_of_memory, is_out_of_memory  # noqa: E402
from tolmach.processors.hosting.torch_threads import use_threads  # noqa: E402
from tolmach.processors.languages import LANGUAGES, is_in_script, letters_of, script_of  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

# NeMo restores through a process-wide state (AppState): two at a time would mix their files up.
_RESTORING = threading.Lock()

PROMPT_FORMAT = "canary2"
"""The prompt of canary-1b-v2, canary-1b-flash and canary-180m-flash."""

SMALL = 50_000_000
"""Parameters below which one thread is the fastest: the embedded model (4.5 M) takes 50 ms an utterance with one thread
on an idle machine and with two, but ten times as long with two when another program wants the cores (barriers)."""

STEP_TOKENS = 8
"""Tokens a step. canary-1b-v2 on two CPU threads takes 0.05 s a token of a short utterance, 0.18 s of one of 20 s."""

WARM_TOKENS = 8
"""Tokens that a warm-up decodes, whether or not the model has anything to say."""

RETRY_SAMPLES = 2 * RATE_HZ
"""Utterances shorter than this that decode to nothing are tried once more, with :data:`RETRY_SILENCE` around them: very
short clips that Canary leaves empty often decode when more silence stands around them (NeMo's users; see also
``min_utterance_ms``)."""

RETRY_SILENCE = 2 * RATE_HZ
"""Samples of silence that a second try adds, half of it on each side."""

_SLOTS = {
    "decodercontext": "",
    "emotion": "<|emo:undefined|>",
    "pnc": "<|pnc|>",
    "itn": "<|noitn|>",
    "timestamp": "<|notimestamp|>",
    "diarize": "<|nodiarize|>",
}
"""What NeMo's ``canary2`` prompt function fills in where a model has no ``prompt_defaults``."""

_SPECIAL = re.compile(r"<\|.*>|<(?:unk|pad|s|/s)>")
"""Pieces of the vocabulary that are no text."""


def load(
    model: str,
    device: str,
    *,
    sha256: str | None = None,
    cpu_threads: int = 0,
    dtype: str = "auto",
) -> CanaryModel:
    """Load a model.

    Args:
        model: Path of a ``.nemo`` file, or a hub name.
        device: ``cpu`` or ``cuda:N``.
        sha256: SHA-256 that the file must have, or None for the user's own choice of file.
        cpu_threads: CPU threads to compute with; 0 lets the size decide.
        dtype: Arithmetic of the weights, or ``auto`` (:func:`tolmach.processors.canary.precision.choose`).

    Raises:
        ModelMissingError: If it cannot be had.
        ModelRefusedError: If it is not the file that was pinned, or its archive leads out of its folder.
        OutOfMemoryError: If it does not fit; says what would.
        ModelError: If it is not a Canary model.
    """
    if device == "cpu":
        precision.choose(dtype, device, 0)  # refuses before gigabytes are read
    path = Path(model) if is_path(model) else download(model, report)
    if sha256 is not None:
        verify(path, sha256)
    connector = Connector(
        report, lambda weights_bytes: precision.check_main_memory(weights_bytes, precision.main_memory())
    )
    if path.is_dir():
        connector.model_extracted_dir = str(path)
    with _RESTORING:
        try:
            # On the CPU first, also for a card: there it would stand twice.
            restored = EncDecMultiTaskModel.restore_from(
                str(path), map_location=torch.device("cpu"), save_restore_connector=connector
            )
        except ModelError as error:
            if str(path) in str(error) or is_out_of_memory(error):
                raise
            raise ModelError(f"{path} is not a usable Canary model: {error}") from error
        except Exception as error:
            if is_out_of_memory(error):
                raise explain_out_of_memory(error, f"loading {path}", f"what fits: {precision.SMALLER}") from error
            raise ModelError(f"{path} is not a usable Canary model: {type(error).__name__}: {error}") from error
    return CanaryModel(_move(restored, device, dtype), model, cpu_threads)


def _move(model: Any, device: str, dtype: str) -> Any:
    """Bring a model to its device, in the arithmetic that fits there; one tensor at a time."""
    target = torch.device(device)
    parameters = sum(p.numel() for p in model.parameters())
    if target.type == "cuda":
        free, _ = torch.cuda.mem_get_info(target)
        chosen = precision.choose(dtype, device, parameters, free, torch.cuda.get_device_capability(target))
        report(f"moving the weights to {device} in {chosen}")
    else:
        chosen = precision.choose(dtype, device, parameters)
    try:
        for name, part in model.named_children():
            # Log-mel features have a range that half precision has not.
            part.to(target, torch.float32 if name == "preprocessor" else getattr(torch, chosen))
    except Exception as error:
        if is_out_of_memory(error):  # another process took it meanwhile
            raise explain_out_of_memory(
                error, f"moving the model to {device}", f"what fits: device cpu, or {precision.SMALLER}"
            ) from error
        raise
    return model


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
        weights = next(model.encoder.parameters())
        self._device, self._dtype = weights.device, weights.dtype
        self._parameters = sum(p.numel() for p in model.parameters())
        self._cpu_threads = cpu_threads or (1 if self._parameters < SMALL else 0)
        self._tokenizer = model.tokenizer
        self._pieces = [str(model.tokenizer.ids_to_tokens([i])[0]) for i in range(model.tokenizer.vocab_size)]
        self._special = frozenset(i for i, piece in enumerate(self._pieces) if _SPECIAL.fullmatch(piece))
        self._tokens = _language_tokens(model.tokenizer)
        self._known = _known(model, name, self._tokens)
        self._prompts: dict[tuple[str, str], torch.Tensor] = {}
        self._allowed: dict[str, torch.Tensor] = {}
        # transcribe() sets both for its own time only: noise in the features, and padding that depends on the batch.
        model.preprocessor.featurizer.dither = 0.0
        model.preprocessor.featurizer.pad_to = 0

    @property
    def info(self) -> Mapping[str, Any]:
        """What it is and where, plain values.

        ``languages`` it has learnt as far as is known, and whether that is ``sure``; ``tokens``, languages it has
        tokens for; ``published``, the hub name of the model it is or was made from, or None; ``device``, ``dtype`` and
        ``parameters``.
        """
        return {
            "languages": list(self._known.languages),
            "sure": self._known.sure,
            "tokens": list(self._tokens),
            "published": self._known.published,
            "device": str(self._device),
            "dtype": str(self._dtype).removeprefix("torch."),
            "parameters": self._parameters,
        }

    @torch.inference_mode()
    def warm(self, items: Sequence[CanaryRequest] = ()) -> None:
        """Everything that a request needs once: encode, a handful of tokens whatever the audio is, their scores."""
        lang = self._tokens[0]
        items = items or [CanaryRequest(torch.zeros(RATE_HZ).numpy(), lang, lang)]
        self._begin()
        prompts = self._prompts_of(items)
        states, mask = self._encode(items)
        limits = [WARM_TOKENS] * len(items)
        not_the_end = torch.ones(len(self._pieces), dtype=torch.bool, device=self._device)
        not_the_end[self._tokenizer.eos_id] = False
        tokens = _result(self._decode(states, mask, prompts, limits, not_the_end))
        self._score(states, mask, prompts, tokens)

    @torch.inference_mode()
    def run(self, items: Sequence[CanaryRequest]) -> Generator[None, None, list[Hypothesis]]:
        """Translate a batch: the same texts as ``transcribe()`` gives for these arrays as one batch.

        They differ from it where NeMo's search of a beam of one goes on behind an end of sequence, where a special
        token would have become text, and where a second try was better (both depend on the batch alone):

        * A very short utterance that decodes to nothing is encoded once more with more silence around it.
        * A text without a letter of the target language's script is decoded once more without the tokens that have
          letters of others; kept if the model finds it likely nevertheless.
        """
        found = yield from self._translate(items)
        again = [n for n, each in enumerate(found) if not each.text and len(items[n].samples) < RETRY_SAMPLES]
        if again:
            yield
            padded = [items[n].padded(len(items[n].samples) + RETRY_SILENCE) for n in again]
            for n, second in zip(again, (yield from self._translate(padded)), strict=True):
                found[n] = (second if second.text else found[n]).tried_again("empty")
        return found

    def _translate(self, items: Sequence[CanaryRequest]) -> Generator[None, None, list[Hypothesis]]:
        self._begin()
        prompts = self._prompts_of(items)
        states, mask = self._encode(items)
        yield
        found = yield from self._hypotheses(items, states, mask, prompts)
        scripts = [script_of(item.target_lang) for item in items]
        for script in sorted(set(scripts)):
            wrong = [n for n, each in enumerate(found) if scripts[n] == script and not is_in_script(each.text, script)]
            allowed = self._allowed_in(script)
            if not wrong or allowed is None:
                continue
            rows = torch.tensor(wrong, device=self._device)
            seconds = yield from self._hypotheses(
                [items[n] for n in wrong], states[rows], mask[rows], prompts[rows], allowed
            )
            for n, second in zip(wrong, seconds, strict=True):
                likely = second.logprob is not None and second.logprob >= DEFAULT_MIN_LOGPROB
                better = likely and any(map(str.isalpha, second.text))  # not some dots and dashes
                found[n] = (second if better else found[n]).tried_again("wrong script")
        return found

    def _begin(self) -> None:
        use_threads(self._cpu_threads)
        # NeMo leaves encoder or decoder in train() mode after a search, in which batch norm and dropout differ.
        self._model.eval()

    def _arithmetic(self) -> Any:
        """Half precision as NeMo has it: masks are float32, so matrix products bring their operands together."""
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)

    def _encode(self, items: Sequence[CanaryRequest]) -> tuple[torch.Tensor, torch.Tensor]:
        """The encoder's states, [n, frames, width], and their mask, [n, frames]."""
        longest = max(len(item.samples) for item in items)
        signal = torch.zeros(len(items), longest)
        for row, item in zip(signal, items, strict=True):
            row[: len(item.samples)] = torch.from_numpy(item.samples)
        lengths = torch.tensor([len(item.samples) for item in items], device=self._device)
        features, frames = self._model.preprocessor(input_signal=signal.to(self._device), length=lengths)
        with self._arithmetic():
            _, _, states, mask = self._model.forward(
                processed_signal=features.to(self._dtype), processed_signal_length=frames
            )
        return states, mask

    def _prompts_of(self, items: Sequence[CanaryRequest]) -> torch.Tensor:
        """Prompt tokens, int64[n, p]."""
        return torch.stack([self._prompt(item.source_lang, item.target_lang) for item in items])

    def _prompt(self, source_lang: str, target_lang: str) -> torch.Tensor:
        """Prompt tokens, int64[p]."""
        pair = (source_lang, target_lang)
        if pair not in self._prompts:
            for lang in pair:
                if lang not in self._tokens:
                    raise ModelError(f"the model has no language {lang!r}; it has {', '.join(self._tokens)}")
            turn = self._model.prompt.get_default_dialog_slots()[0]
            given = {slot: value for slot, value in turn["slots"].items() if value is not None}
            slots = {**_SLOTS, **given, "source_lang": source_lang, "target_lang": target_lang}
            encoded = self._model.prompt.encode_dialog(turns=[{"role": turn["role"], "slots": slots}])
            self._prompts[pair] = encoded["context_ids"].to(self._device)
        return self._prompts[pair]

    def _hypotheses(
        self,
        items: Sequence[CanaryRequest],
        states: torch.Tensor,
        mask: torch.Tensor,
        prompts: torch.Tensor,
        allowed: torch.Tensor | None = None,
    ) -> Generator[None, None, list[Hypothesis]]:
        limits = [item.max_tokens for item in items]
        tokens = yield from self._decode(states, mask, prompts, limits, allowed)
        scores = self._score(states, mask, prompts, tokens)
        decode = self._model.decoding.decode_ids_to_str
        texts = [without_tokens(decode([token for token in row if token not in self._special])) for row in tokens]
        yield
        return [Hypothesis(text, score) for text, score in zip(texts, scores, strict=True)]

    def _decode(
        self,
        states: torch.Tensor,
        mask: torch.Tensor,
        prompts: torch.Tensor,
        limits: Sequence[int | None],
        allowed: torch.Tensor | None,
    ) -> Generator[None, None, list[list[int]]]:
        """Tokens of each text up to the first end of sequence, which is left out.

        Args:
            states: Of the encoder.
            mask: Theirs.
            prompts: What the decoder begins with.
            limits: Most tokens of each; None for the model's own bound.
            allowed: bool[vocabulary], or None: which tokens may come.
        """
        inference = self._model.decoding.decoding
        search = getattr(inference, "greedy_search", None) or inference.beam_search
        # A beam of one is greedy, except that NeMo's goes on behind an end that comes first. (Exact types: those with a
        # language model search otherwise.)
        beam = type(search) is BeamSearchSequenceGenerator
        if type(search) is GreedySequenceGenerator and search.temperature is None:
            most = 0
        elif beam and (search.beam_size == 1 or allowed is not None):
            most = 1  # NeMo's beam is one token longer
        else:
            return self._search(search, states, mask, prompts, limits)
        most += search._prepare_for_search(prompts, states)[2]
        bounds = [most if limit is None else min(most, limit) for limit in limits]
        end, pad = self._tokenizer.eos_id, self._tokenizer.pad_id
        tokens: list[list[int]] = [[] for _ in bounds]
        under_way = {n for n, bound in enumerate(bounds) if bound > 0}
        inputs, memory, at = prompts, None, 0
        for step in range(max(bounds, default=0)):
            if step and step % STEP_TOKENS == 0:
                yield
            with self._arithmetic():
                scores, memory, _ = search._one_step_forward(inputs, states, mask, memory, at, return_scores=False)
            last = scores[:, -1] if allowed is None else scores[:, -1].masked_fill(~allowed, -torch.inf)
            best = last.argmax(dim=-1).tolist()
            for n in tuple(under_way):
                if best[n] == end:
                    under_way.remove(n)
                    continue
                tokens[n].append(best[n])
                if len(tokens[n]) == bounds[n]:
                    under_way.remove(n)
            if not under_way:
                break
            following = [best[n] if n in under_way else pad for n in range(len(best))]
            inputs, at = torch.tensor(following, device=self._device)[:, None], prompts.shape[1] + step
        return tokens

    def _search(
        self,
        search: Any,
        states: torch.Tensor,
        mask: torch.Tensor,
        prompts: torch.Tensor,
        limits: Sequence[int | None],
    ) -> list[list[int]]:
        """NeMo's own search, bounded by the largest limit; in one step."""
        with self._bound(search, limits, prompts.shape[1]), self._arithmetic():
            decoded = self._model.decoding.decode_predictions_tensor(
                encoder_hidden_states=states, encoder_input_mask=mask, decoder_input_ids=prompts
            )
        self._model.eval()
        best = [each[0] if isinstance(each, list) else each for each in decoded]
        rows = [[int(token) for token in each.y_sequence] for each in best]
        end = self._tokenizer.eos_id
        return [row[: row.index(end)] if end in row else row for row in rows]

    @contextmanager
    def _bound(self, search: Any, limits: Sequence[int | None], prompt_length: int) -> Iterator[None]:
        """Bound NeMo's search to the largest limit, if there is one for all."""
        if None in limits:
            yield
            return
        own = search.max_seq_length
        search.max_seq_length = min(own, prompt_length + max(limit for limit in limits if limit is not None))
        try:
            yield
        finally:
            search.max_seq_length = own

    def _allowed_in(self, script: str) -> torch.Tensor | None:
        """bool[vocabulary]: tokens without letters of another script, and the end; None for scripts not told apart."""
        if script not in self._allowed:
            belongs = letters_of(script)
            if belongs is None:
                return None
            fits = [
                n not in self._special and all(belongs(char) for char in piece if char.isalpha())
                for n, piece in enumerate(self._pieces)
            ]
            fits[self._tokenizer.eos_id] = True
            self._allowed[script] = torch.tensor(fits, device=self._device)
        return self._allowed[script]

    def _score(
        self, states: torch.Tensor, mask: torch.Tensor, prompts: torch.Tensor, tokens: Sequence[Sequence[int]]
    ) -> list[float]:
        """Mean log-probability of each text's tokens (special ones left out) and of its end, natural log.

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
        with self._arithmetic():
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
            text = [n for n, token in enumerate(row) if token not in self._special] + [len(row)]
            means.append(float(steps[text].double().mean()))
        return means


def _result(steps: Generator[None, None, list[list[int]]]) -> list[list[int]]:
    """What a generator returns, all its steps taken at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return list(end.value)


def _language_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Languages that the tokenizer has a token for (``<|ru|>``), sorted."""
    special = getattr(tokenizer, "special_tokens", None) or tokenizer.vocab
    codes = {found.group(1) for token in special if (found := re.fullmatch(r"<\|([a-z]{2,3})\|>", token))}
    return tuple(sorted(code for code in codes if code in LANGUAGES))


def _known(model: Any, name: str, tokens: Sequence[str]) -> KnownLanguages:
    """What is known of a model's languages: by name, by shape, by the parts of its tokenizer, by its tokens."""
    parts = [lang.partition("-")[0] for lang in getattr(model.tokenizer, "langs", ())]  # one tokenizer a language
    encoder, decoder = model.cfg.encoder, model.cfg.transf_decoder
    shape = Shape(
        int(model.tokenizer.vocab_size),
        int(encoder.get("n_layers", 0)),
        int(encoder.get("d_model", 0)),
        int(decoder.get("config_dict", decoder).get("num_layers", 0)),
    )
    return recognise(name, shape, tokens, parts)
