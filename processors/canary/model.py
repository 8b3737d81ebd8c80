"""The Canary model itself: loading, and one batch from samples to texts with their log-probabilities.

Imported on the host's thread: this module and those it stands on (:mod:`.decoding`, :mod:`.nemo_file`) are the only
ones that import NeMo.

**Steps.** A batch is computed in steps, between which another caller's may have one
(:meth:`tolmach.processors.hosting.Model.run`): the encoder's pass over the batch is one, then every
:data:`.decoding.STEP_TOKENS` tokens. So nobody waits for a long utterance; with one utterance a batch (the default) the
longest step is the encoder's pass over the longest utterance. A beam of more than one is searched by NeMo, in one step.

**Rooms.** What the decoder begins with is in :mod:`.prompts`, how it goes on in :mod:`.decoding` (greedy, as published)
and :mod:`.search` (NeMo's own search, for the rest).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias, TypeVar, cast

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
from nemo.collections.asr.parts.submodules.multitask_decoding import (  # noqa: E402
    MultiTaskDecoding,
    MultiTaskDecodingConfig,
)
from omegaconf import OmegaConf  # noqa: E402

from tolmach.pipelines.errors import ModelError  # noqa: E402
from tolmach.processors.ast import RATE_HZ  # noqa: E402
from tolmach.processors.ast.direction import Likelihoods  # noqa: E402
from tolmach.processors.ast.guards import without_tokens  # noqa: E402
from tolmach.processors.ast.hypothesis import Hypothesis  # noqa: E402
from tolmach.processors.ast.policies import Word  # noqa: E402
from tolmach.processors.canary import precision  # noqa: E402
from tolmach.processors.canary.alignment import looked_at, words_of  # noqa: E402
from tolmach.processors.canary.decoding import Decoded, GreedyDecoder  # noqa: E402
from tolmach.processors.canary.known import KnownLanguages, Shape, download, recognise, verify  # noqa: E402
from tolmach.processors.canary.nemo_file import restore  # noqa: E402
from tolmach.processors.canary.prompts import PROMPT_FORMAT, Prompts, switches  # noqa: E402
from tolmach.processors.canary.request import CanaryRequest  # noqa: E402
from tolmach.processors.canary.search import search  # noqa: E402
from tolmach.processors.canary.spec import DEFAULT_MIN_LOGPROB, is_path  # noqa: E402
from tolmach.processors.canary.spoken import TRANSCRIPT_TOKENS, by_prompt, by_transcripts  # noqa: E402
from tolmach.processors.hosting import report  # noqa: E402
from tolmach.processors.hosting.device import explain_out_of_memory, is_out_of_memory  # noqa: E402
from tolmach.processors.hosting.torch_threads import use_threads  # noqa: E402
from tolmach.processors.languages import is_in_script, letters_of, script_of  # noqa: E402

SMALL = 50_000_000
"""Parameters below which one thread is the fastest: the embedded model (4.5 M) takes 50 ms an utterance with one thread
on an idle machine and with two, but ten times as long with two when another program wants the cores (barriers)."""

WARM_TOKENS = 8
"""Tokens that a warm-up decodes, whether or not the model has anything to say."""

RETRY_SAMPLES = 2 * RATE_HZ
"""Utterances shorter than this that decode to nothing are tried once more, with :data:`RETRY_SILENCE` around them: very
short clips that Canary leaves empty often decode when more silence stands around them (NeMo's users; see also
``min_utterance_ms``)."""

RETRY_SILENCE = 2 * RATE_HZ
"""Samples of silence that a second try adds, half of it on each side."""

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
    restored = restore(
        path,
        EncDecMultiTaskModel,
        report=report,
        check_room=lambda weights_bytes: precision.check_main_memory(weights_bytes, precision.main_memory()),
    )
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


Found = TypeVar("Found")

Early: TypeAlias = Mapping[int, Hypothesis] | None
"""What a step of a batch has brought to its end, by the item's number."""


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
        self._frame_samples = int(model.encoder.subsampling_factor * model.cfg.preprocessor.window_stride * RATE_HZ)
        self._special = frozenset(i for i, piece in enumerate(self._pieces) if _SPECIAL.fullmatch(piece))
        self._classes = int(model.log_softmax.mlp.last_linear_layer.out_features)
        self._prompts = Prompts(model, self._device)
        self._known = _known(model, name, self._prompts.languages)
        self._greedy = GreedyDecoder(model) if GreedyDecoder.fits(model) else None
        self._allowed: dict[str, torch.Tensor] = {}
        self._decodings: dict[int, Any] = {}
        # transcribe() sets both for its own time only: noise in the features, and padding that depends on the batch.
        model.preprocessor.featurizer.dither = 0.0
        model.preprocessor.featurizer.pad_to = 0

    @property
    def info(self) -> Mapping[str, Any]:
        """What it is and where, plain values.

        ``languages`` it has learnt as far as is known, and whether that is ``sure``; ``tokens``, languages it has
        tokens for, and ``switches``, its tokens of punctuation and digits; ``published``, the hub name of the model it
        is or was made from, or None; ``device``, ``dtype`` and ``parameters``.
        """
        return {
            "languages": list(self._known.languages),
            "sure": self._known.sure,
            "tokens": list(self._prompts.languages),
            "published": self._known.published,
            "device": str(self._device),
            "dtype": str(self._dtype).removeprefix("torch."),
            "parameters": self._parameters,
            "switches": list(switches(self._tokenizer)),
        }

    @torch.inference_mode()
    def warm(self, items: Sequence[CanaryRequest] = ()) -> None:
        """Everything that a request needs once: encode, and a handful of tokens whatever the audio is."""
        lang = self._prompts.languages[0]
        items = items or [CanaryRequest(torch.zeros(RATE_HZ).numpy(), lang, lang)]
        self._begin()
        states, mask = self._encode(items)
        not_the_end = torch.ones(self._classes, dtype=torch.bool, device=self._device)
        not_the_end[self._tokenizer.eos_id] = False
        few = [replace(item, max_tokens=WARM_TOKENS) for item in items]
        _exhausted(self._decode(few, states, mask, not_the_end))

    @torch.inference_mode()
    def run(self, items: Sequence[CanaryRequest]) -> Generator[Early, None, list[Hypothesis]]:
        """Translate a batch: the same texts as ``transcribe()`` gives for these arrays as one batch.

        Texts that end before the longest one of the batch are given with the step in which they end.

        They differ from it where NeMo's search of a beam of one goes on behind an end of sequence, where a special
        token would have become text, and where a second try was better (both depend on the batch alone):

        * A very short utterance that decodes to nothing is encoded once more with more silence around it.
        * A text without a letter of the target language's script is decoded once more without the tokens that have
          letters of others; kept if the model finds it likely nevertheless.
        """
        found = yield from self._translate(items, early=True)
        again = [n for n, each in enumerate(found) if not each.text and _may_be_too_short(items[n])]
        if again:
            yield None
            padded = [items[n].padded(len(items[n].samples) + RETRY_SILENCE) for n in again]
            for n, second in zip(again, (yield from self._translate(padded)), strict=True):
                found[n] = (second if second.text else found[n]).tried_again("empty")
        return found

    def _translate(
        self, items: Sequence[CanaryRequest], *, early: bool = False
    ) -> Generator[Early, None, list[Hypothesis]]:
        self._begin()
        states, mask = self._encode(items)
        yield None
        items, spoken = yield from self._find_languages(items, states, mask)
        scripts = [script_of(item.target_lang) for item in items]

        def with_languages(n: int, each: Hypothesis) -> Hypothesis:
            return replace(each, source_lang=items[n].source_lang, languages=spoken[n]) if n in spoken else each

        steps = self._hypotheses(items, states, mask)
        while True:
            try:
                ended = next(steps) or {}
            except StopIteration as end:
                found: list[Hypothesis] = end.value
                break
            whole = {n: each for n, each in ended.items() if early and _is_final(items[n], each, scripts[n])}
            yield {n: with_languages(n, each) for n, each in whole.items()}
        for script in sorted(set(scripts)):
            wrong = [
                n
                for n, each in enumerate(found)
                if scripts[n] == script and _may_be_tried_again(items[n]) and not is_in_script(each.text, script)
            ]
            allowed = self._allowed_in(script)
            if not wrong or allowed is None or self._greedy is None:
                continue
            rows = torch.tensor(wrong, device=self._device)
            again = self._hypotheses([items[n] for n in wrong], states[rows], mask[rows], allowed)
            seconds = yield from _untold(again)
            for n, second in zip(wrong, seconds, strict=True):
                likely = second.logprob is not None and second.logprob >= DEFAULT_MIN_LOGPROB
                better = likely and any(map(str.isalpha, second.text))  # not some dots and dashes
                found[n] = (second if better else found[n]).tried_again("wrong script")
        found = yield from self._with_transcripts(items, found, states, mask)
        return [with_languages(n, each) for n, each in enumerate(found)]

    def _find_languages(
        self, items: Sequence[CanaryRequest], states: torch.Tensor, mask: torch.Tensor
    ) -> Generator[Early, None, tuple[list[CanaryRequest], dict[int, Likelihoods]]]:
        """The items with one direction each, and how likely the languages of those were that had several."""
        decided, spoken = list(items), dict[int, Likelihoods]()
        for n, item in enumerate(items):
            if not item.directions:
                continue
            langs = [direction.source_lang for direction in item.directions]
            if item.spoken:
                spoken[n] = item.spoken
            elif item.evidence == "prompt" and self._greedy is not None:
                prompts = [self._prompts.of(*direction) for direction in item.directions]
                with self._arithmetic():
                    spoken[n] = by_prompt(self._greedy, states[n : n + 1], mask[n : n + 1], prompts, langs)
            else:
                few = [replace(_transcript(item, lang), max_tokens=TRANSCRIPT_TOKENS) for lang in langs]
                rows = torch.full((len(few),), n, device=self._device)
                heard = yield from _untold(self._hypotheses(few, states[rows], mask[rows]))
                spoken[n] = by_transcripts(langs, [each.logprob if each.text else None for each in heard])
            source_lang = max(spoken[n], key=lambda each: each[1])[0]
            target_lang = dict(item.directions)[source_lang]
            decided[n] = replace(item, source_lang=source_lang, target_lang=target_lang, directions=())
        return decided, spoken

    def _with_transcripts(
        self, items: Sequence[CanaryRequest], found: list[Hypothesis], states: torch.Tensor, mask: torch.Tensor
    ) -> Generator[Early, None, list[Hypothesis]]:
        """What was found, with what was understood where that is wanted: written down from the same states."""
        wanted = [n for n, item in enumerate(items) if item.transcript]
        other = [n for n in wanted if items[n].source_lang != items[n].target_lang]
        said = {n: found[n].text for n in wanted}
        if other:
            rows = torch.tensor(other, device=self._device)
            texts = [_transcript(items[n], items[n].source_lang) for n in other]
            heard = yield from _untold(self._hypotheses(texts, states[rows], mask[rows]))
            said.update(zip(other, (each.text for each in heard), strict=True))
        return [replace(each, source_text=said.get(n)) for n, each in enumerate(found)]

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

    def _hypotheses(
        self,
        items: Sequence[CanaryRequest],
        states: torch.Tensor,
        mask: torch.Tensor,
        allowed: torch.Tensor | None = None,
    ) -> Generator[Early, None, list[Hypothesis]]:
        """What the decoder makes of the states; with each step, what has ended in it."""
        steps = self._decode(items, states, mask, allowed)
        made: dict[int, Hypothesis] = {}
        while True:
            try:
                ended = next(steps)
            except StopIteration as end:
                decoded: list[Decoded] = end.value
                break
            now = {n: self._hypothesis(items[n], each) for n, each in ended.items()}
            made |= now
            yield now
        yield None
        return [made.get(n) or self._hypothesis(items[n], each) for n, each in enumerate(decoded)]

    def _hypothesis(self, item: CanaryRequest, decoded: Decoded) -> Hypothesis:
        """The text, its mean log-probability (tokens that are no text left out, the end among them) and its end's."""
        prefix = self._prompts.tokens(item.prefix, item.target_lang)
        text = self._text(decoded.tokens, prefix)
        counted = [
            logprob
            for token, logprob in zip(decoded.tokens, decoded.logprobs, strict=True)
            if token not in self._special
        ]
        logprob = fmean([*counted, decoded.end_logprob])
        words = self._words(item, decoded, prefix) if item.words else ()
        return Hypothesis(without_tokens(text), logprob, end_logprob=decoded.end_logprob, words=words)

    def _text(self, tokens: Sequence[int], prefix: Sequence[int] = ()) -> str:
        """What the tokens say behind the prefix's, with the space between them if there is one."""
        decode = self._model.decoding.decode_ids_to_str
        plain = [token for token in tokens if token not in self._special]
        # Whether a word begins with the first token is known only from both together.
        whole = str(decode([*prefix, *plain])) if plain else ""
        return whole[len(decode(list(prefix))) :] if prefix else whole

    def _words(self, item: CanaryRequest, decoded: Decoded, prefix: Sequence[int]) -> tuple[Word, ...]:
        if decoded.attention is None:
            raise RuntimeError("words were wanted and the decoder was not watched")
        looks = looked_at(decoded.attention)
        kept = [n for n, token in enumerate(decoded.tokens) if token not in self._special]
        tokens = [decoded.tokens[n] for n in kept]
        return words_of(
            tokens,
            [self._pieces[token] for token in tokens],
            [decoded.logprobs[n] for n in kept],
            [looks[n] for n in kept],
            self._frame_samples,
            len(item.samples),
            lambda some: self._text(some, prefix),
        )

    def _decode(
        self,
        items: Sequence[CanaryRequest],
        states: torch.Tensor,
        mask: torch.Tensor,
        allowed: torch.Tensor | None = None,
    ) -> Generator[dict[int, Decoded], None, list[Decoded]]:
        """Tokens of each text up to the first end of sequence, which is left out.

        Args:
            items: What is asked.
            states: Of the encoder.
            mask: Theirs.
            allowed: bool[classes], or None: which tokens may come.
        """
        beams = sorted({item.beam_size or 0 for item in items})
        if len(beams) > 1:  # requests of several graphs
            found: dict[int, Decoded] = {}
            for beam_size in beams:
                rows = [n for n, item in enumerate(items) if (item.beam_size or 0) == beam_size]
                at = torch.tensor(rows, device=self._device)
                part = _untold(self._decode([items[n] for n in rows], states[at], mask[at], allowed))
                while True:
                    try:
                        next(part)
                    except StopIteration as end:
                        found.update(zip(rows, end.value, strict=True))
                        break
                    yield {}
            return [found[n] for n in range(len(items))]
        prompts = [self._prompts(item) for item in items]
        limits = [item.max_tokens for item in items]
        decoding = self._decoding(beams[0])
        nemos = decoding.decoding
        nemos = getattr(nemos, "greedy_search", None) or nemos.beam_search
        # A beam of one is greedy, except that NeMo's goes on behind an end that comes first. (Exact types: those with a
        # language model search otherwise.)
        beam = type(nemos) is BeamSearchSequenceGenerator
        greedy = (type(nemos) is GreedySequenceGenerator and nemos.temperature is None) or (
            beam and (nemos.beam_size == 1 or allowed is not None)
        )
        watch = any(item.words for item in items)
        if self._greedy is None and watch:
            raise ModelError("the decoder of this model is not known well enough to see where it looks")
        if self._greedy is None or not (greedy or watch):
            with self._arithmetic():
                return search(self._model, decoding, states, mask, prompts, limits)
        bounds = []
        for prompt, limit in zip(prompts, limits, strict=True):
            own = nemos._prepare_for_search(prompt[None], states)[2] + beam  # NeMo's beam is one token longer
            bounds.append(own if limit is None else min(own, limit))
        steps = self._greedy.decode(states, mask, prompts, bounds, allowed, watch=watch)
        while True:
            try:
                with self._arithmetic():
                    ended = next(steps)
            except StopIteration as end:
                return list(end.value)
            yield ended

    def _decoding(self, beam_size: int) -> Any:
        """NeMo's search with this beam; with 0, as the model is configured."""
        if beam_size == 0:
            return self._model.decoding
        if beam_size not in self._decodings:
            config = OmegaConf.create(OmegaConf.to_container(self._model.cfg.decoding, resolve=True))
            wished = {"strategy": "beam", "beam": {"beam_size": beam_size, "return_best_hypothesis": True}}
            self._decodings[beam_size] = MultiTaskDecoding(
                decoding_cfg=OmegaConf.merge(OmegaConf.structured(MultiTaskDecodingConfig), config, wished),
                transformer_decoder=self._model.transf_decoder,
                log_softmax_module=self._model.log_softmax,
                tokenizer=self._tokenizer,
            )
        return self._decodings[beam_size]

    def _allowed_in(self, script: str) -> torch.Tensor | None:
        """bool[classes]: tokens without letters of another script, and the end; None for scripts not told apart."""
        if script not in self._allowed:
            belongs = letters_of(script)
            if belongs is None:
                return None
            fits = [
                n not in self._special and all(belongs(char) for char in piece if char.isalpha())
                for n, piece in enumerate(self._pieces)
            ]
            fits[self._tokenizer.eos_id] = True
            fits += [False] * (self._classes - len(fits))
            self._allowed[script] = torch.tensor(fits, device=self._device)
        return self._allowed[script]


def _may_be_tried_again(item: CanaryRequest) -> bool:
    # Behind a prefix nothing, or a full stop, is a good answer: all was said before.
    return not item.prefix and not item.words


def _transcript(item: CanaryRequest, lang: str) -> CanaryRequest:
    """The request for what was said, in the language that was spoken."""
    return replace(
        item, source_lang=lang, target_lang=lang, directions=(), transcript=False, prefix="", context="", words=False
    )


def _may_be_too_short(item: CanaryRequest) -> bool:
    return len(item.samples) < RETRY_SAMPLES and _may_be_tried_again(item)


def _is_final(item: CanaryRequest, found: Hypothesis, script: str) -> bool:
    """Whether nothing will be added to an answer, and nothing tried again."""
    tried_again = _may_be_tried_again(item) and not is_in_script(found.text, script)
    return not (item.transcript or tried_again or (not found.text and _may_be_too_short(item)))


def _untold(steps: Generator[object, None, Found]) -> Generator[None, None, Found]:
    """The same steps without what ends in them: it is no answer yet, or has other numbers."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Found", end.value)
        yield


def _exhausted(steps: Generator[object, None, object]) -> None:
    """Take all steps at once."""
    for _ in steps:
        pass


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
