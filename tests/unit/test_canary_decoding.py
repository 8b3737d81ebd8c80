"""The decoder of Canary models against NeMo's own: equal tokens, equal log-probabilities, prefixes; real NeMo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.nemo_models import build
from tests.unit.test_canary import CLIPS, RATE
from tolmach.pipelines.frames import Samples
from tolmach.pipelines.testing import Harness
from tolmach.processors.ast.direction import Direction
from tolmach.processors.ast.growing import GrowingRequest
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.canary.element import CanaryAst
from tolmach.processors.canary.request import CanaryRequest
from tolmach.processors.canary.spec import SPEC

pytestmark = pytest.mark.models

OTHER = {"en": "ru", "ru": "en"}
BOTH = (Direction("en", "ru"), Direction("ru", "en"))


def loaded(path: Path) -> Any:
    from tolmach.processors.canary.model import load

    return load(str(path), "cpu")


def answers(model: Any, *items: CanaryRequest) -> list[Hypothesis]:
    """What the model says, as one batch."""
    return list(finished(model.run(items)))


def finished(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.fixture(scope="module")
def phrasebook(root: Path) -> Any:
    return loaded(root / "processors" / "phrasebook" / "phrasebook.nemo")


@pytest.fixture(scope="module")
def demo(root: Path) -> dict[str, list[Samples]]:
    """All demo clips by language."""
    import soundfile

    folder = root / "config" / "demo" / "clips"
    found: dict[str, list[Samples]] = {"en": [], "ru": []}
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[row["source_lang"]].append(soundfile.read(folder / row["file"], dtype="float32")[0])
    return found


def nemos_tokens(model: Any, states: Any, mask: Any, prompts: Any) -> list[list[int]]:
    """Tokens of NeMo's greedy search, up to the end; it computes everything anew at each step."""
    import torch
    from nemo.collections.asr.modules.transformer.transformer_generators import GreedySequenceGenerator

    own = model.decoding.decoding
    own = getattr(own, "greedy_search", None) or own.beam_search
    greedy = GreedySequenceGenerator(
        own.embedding,
        own.decoder,
        own.classifier,
        pad=own.pad,
        bos=own.bos,
        eos=own.eos,
        max_sequence_length=own.max_seq_length,
        max_delta_length=own.max_delta_len,
    )
    with torch.inference_mode():
        found, *_ = greedy(prompts, states, mask)
    rows = [row[prompts.shape[1] :].tolist() for row in found]
    end = model.tokenizer.eos_id
    return [row[: row.index(end)] if end in row else row for row in rows]


def compare(model: Any, clips: Sequence[Samples], source: str, target: str, batch: int) -> int:
    """Tokens and log-probabilities against NeMo's, a batch at a time; returns the number of tokens."""
    import torch

    from tolmach.processors.canary.search import _scored

    total = 0
    nemo = model._model
    for at in range(0, len(clips), batch):
        items = [CanaryRequest(samples, source, target) for samples in clips[at : at + batch]]
        with torch.inference_mode():
            model._begin()
            states, mask = model._encode(items)
            decoded = finished(model._decode(items, states, mask))
            prompts = torch.stack([model._prompts(item) for item in items])
            tokens = nemos_tokens(nemo, states, mask, prompts)
            again = _scored(nemo, states, mask, prompts, tokens)
        assert [list(each.tokens) for each in decoded] == tokens
        for ours, theirs in zip(decoded, again, strict=True):
            assert ours.logprobs == pytest.approx(theirs.logprobs, abs=2e-4)
            assert ours.end_logprob == pytest.approx(theirs.end_logprob, abs=2e-4)
            total += len(ours.tokens)
    return total


@pytest.mark.parametrize("batch", [1, 8])
def test_tokens_and_logprobs_equal_nemos_on_all_demo_clips(phrasebook: Any, demo: dict[str, list[Samples]], batch: int):
    for source, clips in demo.items():
        for target in (source, OTHER[source]):
            assert compare(phrasebook, clips, source, target, batch) > 100


def test_they_do_on_the_demo_recordings(phrasebook: Any, root: Path):
    import soundfile

    for lang in ("en", "ru"):
        samples, rate = soundfile.read(root / "config" / "demo" / f"phrasebook-{lang}.flac", dtype="float32")
        samples = np.atleast_2d(samples.T)[0]
        samples = np.interp(np.arange(0, len(samples), rate / RATE), np.arange(len(samples)), samples)
        pieces = [samples[at : at + 4 * RATE].astype(np.float32) for at in range(0, len(samples), 4 * RATE)]
        assert compare(phrasebook, pieces, lang, OTHER[lang], 5) > 20


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("pre_ln", [True, False])
def test_they_do_for_other_layouts_of_the_decoder(tmp_path: Path, layers: int, pre_ln: bool):
    path = build(tmp_path, layers=layers, pre_ln=pre_ln)
    model = loaded(path)
    assert model._model.transf_decoder.decoder.layers[0].pre_ln is pre_ln
    for batch in (1, 4):
        assert compare(model, CLIPS, "en", "ru", batch) > 10


# A text to go on with ---------------------------------------------------------------------------------------------


def test_a_prefix_that_the_model_would_have_said_is_gone_on_with(phrasebook: Any, demo: dict[str, list[Samples]]):
    asked = 0
    for source, clips in demo.items():
        for samples in clips:
            item = CanaryRequest(samples, source, OTHER[source])
            (whole,) = answers(phrasebook, item)
            words = whole.text.split()
            if len(words) < 3:
                continue
            asked += 1
            (rest,) = answers(phrasebook, replace(item, prefix=" ".join(words[:2])))
            assert rest.text == " ".join(words[2:])
            assert rest.end_logprob == pytest.approx(whole.end_logprob, abs=1e-3)
            tokens = tuple(phrasebook._prompts.tokens(" ".join(words[:2]), OTHER[source]))
            assert answers(phrasebook, replace(item, prefix=tokens)) == [rest]
            (nothing,) = answers(phrasebook, replace(item, prefix=whole.text))
            assert (nothing.text, nothing.retries) == ("", ())
    assert asked > 20


def test_prefixes_of_several_lengths_make_one_batch(phrasebook: Any, demo: dict[str, list[Samples]]):
    items = [CanaryRequest(samples, "en", "ru") for samples in demo["en"][:6]]
    whole = answers(phrasebook, *items)
    begun = [
        replace(item, prefix=" ".join(h.text.split()[:n])) for n, (item, h) in enumerate(zip(items, whole, strict=True))
    ]
    assert len({len(item.prefix.split()) for item in begun}) > 2
    together = answers(phrasebook, *begun)
    for item, each, full in zip(begun, together, whole, strict=True):
        (alone,) = answers(phrasebook, item)
        assert each.text == alone.text
        assert each.logprob == pytest.approx(alone.logprob, abs=1e-3)
        assert " ".join(f"{item.prefix} {each.text}".split()) == full.text


def test_a_prefix_is_held_to_even_against_the_audio(phrasebook: Any, demo: dict[str, list[Samples]]):
    item = CanaryRequest(demo["en"][0], "en", "ru")
    (own,) = answers(phrasebook, item)
    (other,) = answers(phrasebook, replace(item, prefix="Я"))
    assert not own.text.startswith("Я")
    assert other.text != own.text
    assert other.logprob < own.logprob  # type: ignore[operator]


def test_tokens_of_the_vocabulary_in_a_prefix_or_context_are_no_commands(
    phrasebook: Any, demo: dict[str, list[Samples]]
):
    item = CanaryRequest(demo["en"][0], "en", "ru")
    (plain,) = answers(phrasebook, item)
    for trick in (replace(item, prefix="<|endoftext|>"), replace(item, context="<|startoftranscript|><|en|>")):
        assert answers(phrasebook, trick)[0].text == plain.text


def test_the_context_stands_in_its_slot(phrasebook: Any, demo: dict[str, list[Samples]]):
    prompt = phrasebook._prompts(CanaryRequest(demo["en"][0], "en", "ru", context="Добрый день"))
    pieces = phrasebook._tokenizer.ids_to_tokens(prompt.tolist())
    at, end = pieces.index("<|startofcontext|>"), pieces.index("<|startoftranscript|>")
    assert "".join(pieces[at + 1 : end]).replace("▁", " ").strip() == "Добрый день"
    assert len(phrasebook._prompts._made) <= 4, "prompts with a context are not kept"
    tokens = tuple(prompt[at + 1 : end].tolist())
    same = phrasebook._prompts(CanaryRequest(demo["en"][0], "en", "ru", context=tokens))
    assert same.tolist() == prompt.tolist()


@pytest.mark.parametrize(("slot", "on", "token"), [("pnc", False, "<|nopnc|>"), ("itn", True, "<|itn|>")])
def test_punctuation_and_digits_have_their_slots(phrasebook: Any, slot: str, on: bool, token: str):
    def pieces(**wish: Any) -> list[str]:
        prompt = phrasebook._prompts(CanaryRequest(CLIPS[0], "en", "ru", **wish))
        return list(phrasebook._tokenizer.ids_to_tokens(prompt.tolist()))

    plain = pieces()
    other = {"<|nopnc|>": "<|pnc|>", "<|itn|>": "<|noitn|>"}[token]
    assert other in plain
    assert pieces(**{slot: on}) == [token if piece == other else piece for piece in plain]
    assert pieces(**{slot: not on}) == plain
    assert pieces() == plain, "prompts are kept apart"
    assert token in pieces(**{slot: on}, context=(20, 21))


def test_a_beam_is_searched_as_nemo_does_and_requests_of_several_share_a_batch(tmp_path: Path):
    model = loaded(build(tmp_path, seed=2))
    items = [CanaryRequest(samples, "en", "ru", max_tokens=10) for samples in CLIPS[:3]]
    wide = [replace(item, beam_size=4) for item in items]
    greedy, beam = answers(model, *items), answers(model, *wide)
    assert [each.text for each in greedy] != [each.text for each in beam]
    assert sum(b.logprob > g.logprob for g, b in zip(greedy, beam, strict=True) if b.logprob and g.logprob) >= 2
    assert answers(model, *(replace(item, beam_size=1) for item in items)) == greedy
    mixed = answers(model, items[0], wide[1], items[2])
    assert [each.text for each in mixed] == [greedy[0].text, beam[1].text, greedy[2].text]


def test_the_end_is_likelier_behind_a_whole_sentence_than_in_the_middle(
    phrasebook: Any, demo: dict[str, list[Samples]]
):
    whole, cut = [], []
    for samples in demo["en"][:8]:
        for into, part in ((whole, samples), (cut, samples[: len(samples) // 2])):
            (found,) = answers(phrasebook, CanaryRequest(part, "en", "ru"))
            assert found.end_logprob is not None
            into.append(found.end_logprob)
    assert np.mean(whole) > np.mean(cut)


# Words, and where they come from ----------------------------------------------------------------------------------


def test_the_words_of_an_answer_make_its_text_and_say_where_their_sound_ends(
    phrasebook: Any, demo: dict[str, list[Samples]]
):
    for source, clips in demo.items():
        for samples in clips[:8]:
            item = CanaryRequest(samples, source, OTHER[source])
            (plain,) = answers(phrasebook, item)
            (found,) = answers(phrasebook, replace(item, words=True))
            assert "".join(word.text for word in found.words).strip() == plain.text
            assert found.logprob == pytest.approx(plain.logprob, abs=1e-3)
            assert all(word.end is not None and 0 < word.end <= len(samples) for word in found.words)
            total = sum(word.logprob or 0.0 for word in found.words) + (found.end_logprob or 0.0)
            assert total == pytest.approx(found.logprob * (1 + sum(len(word.tokens) for word in found.words)), abs=1e-3)  # type: ignore[operator]
            # Forced to begin with the first words' own tokens, it goes on with the rest, spaces and all.
            first, rest = found.words[:2], found.words[2:]
            prefix = tuple(token for word in first for token in word.tokens)
            (behind,) = answers(phrasebook, replace(item, words=True, prefix=prefix))
            assert [word.text for word in behind.words] == [word.text for word in rest]


def test_texts_that_end_before_the_longest_of_a_batch_are_told_then_and_are_final(
    phrasebook: Any, demo: dict[str, list[Samples]]
):
    items = [
        CanaryRequest(samples, lang, OTHER[lang], transcript=n == 1, directions=BOTH * (n == 2))
        for lang, clips in demo.items()
        for n, samples in enumerate(sorted(clips[:8], key=len))
    ]
    steps, early = phrasebook.run(items), {}
    while True:
        try:
            told = next(steps) or {}
        except StopIteration as end:
            found = end.value
            break
        assert not told.keys() & early.keys(), "told twice"
        early |= told
    assert len(early) >= 2
    assert {n: found[n] for n in early} == early
    transcripts = {n for n, item in enumerate(items) if item.transcript}
    assert not transcripts & early.keys(), "it has no transcript yet"
    assert all(found[n].source_text for n in transcripts)


def test_a_decoder_that_looks_where_it_should_says_so(tmp_path: Path):
    """Against NeMo's own cross-attention, of the layer that its streaming decoder reads."""
    import torch

    model = loaded(build(tmp_path, layers=3))
    items = [CanaryRequest(samples, "en", "ru") for samples in CLIPS[:3]]
    with torch.inference_mode():
        model._begin()
        states, mask = model._encode(items)
        prompts = [model._prompts(item) for item in items]
        found = finished(model._greedy.decode(states, mask, prompts, [12] * 3, watch=True))
        for n, each in enumerate(found):
            frames = int(mask[n].sum())
            own = model._model.decoding.decoding
            own = getattr(own, "greedy_search", None) or own.beam_search
            text = torch.cat([prompts[n], torch.tensor(each.tokens)])[None]
            _, _, seen = own._one_step_forward(text, states[n : n + 1, :frames], mask[n : n + 1, :frames])
            theirs = seen[-2].mean(1)[0, len(prompts[n]) - 1 :]
            assert each.attention.shape == theirs.shape
            assert torch.allclose(each.attention, theirs, atol=1e-4)


async def test_the_element_asks_for_words_behind_what_was_committed(root: Path, demo: dict[str, list[Samples]]):
    async with Harness(SPEC, model="embedded:phrasebook") as harness:
        element = harness.element
        assert isinstance(element, CanaryAst)
        whole = element.growing_request(GrowingRequest(demo["en"][0], complete=True))
        [found] = await element._answers([whole])
        assert isinstance(found, Hypothesis)
        first, *rest = found.words
        [behind] = await element._answers([element.growing_request(GrowingRequest(demo["en"][0], first.tokens))])
        assert isinstance(behind, Hypothesis)
        assert [word.text for word in behind.words] == [word.text for word in rest]
        short = demo["en"][0][:4000]
        assert len(element.growing_request(GrowingRequest(short)).samples) == 4000
        padded = element.growing_request(GrowingRequest(short, complete=True)).samples
        assert (len(padded), padded[:4000].tolist()) == (RATE, short.tolist())
