"""The phrasebook recipe: its sentences, its chance, its resuming, and the weights that came out of it."""

import hashlib
import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tolmach.processors.phrasebook
from tolmach.processors.phrasebook.recipe import augment, corpus, unknown_text
from tolmach.processors.phrasebook.recipe.batches import Batches, TrainingBatch, loader
from tolmach.processors.phrasebook.recipe.companions import companions
from tolmach.processors.phrasebook.recipe.config import MixSettings, Recipe, TrainSettings, seeded, stable_seed
from tolmach.processors.phrasebook.recipe.evaluate import choose_gate
from tolmach.processors.phrasebook.recipe.library import ClipLibrary
from tolmach.processors.phrasebook.recipe.sampling import Planner
from tolmach.processors.phrasebook.recipe.sentences import LANGUAGES, build, split, words
from tolmach.processors.phrasebook.recipe.trainer import Trainer
from tolmach.processors.phrasebook.recipe.voices import espeak_voices

HOME = Path(tolmach.processors.phrasebook.__file__).parent
MEL_BANDS = 8
SETTINGS = TrainSettings(batch=4, pool_batches=2, minutes=10, warmup_steps=2, augment_ramp_steps=4)


def tone(frequency_hz: float, seconds: float) -> np.ndarray:
    """Makes float32[n], 16 kHz: speech enough for code that never listens."""
    return np.sin(2 * np.pi * frequency_hz * np.arange(int(16000 * seconds)) / 16000).astype(np.float32) * 0.5


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ClipLibrary:
    """A corpus of tones on disk: some phrases in both languages, unknown and human clips."""
    root = tmp_path_factory.mktemp("corpus")
    fields = {"text": "", "template": "unknown", "en": "", "ru": ""}
    sentences = split()[0][::60]
    phrases = [
        (
            tone(200 + 7 * i, 0.6 + i % 3 * 0.3),
            {"en": s.en, "ru": s.ru, "template": s.template, "text": "", "language": language, "voice": voice},
        )
        for i, s in enumerate(sentences)
        for language, voice in (("en", "flite:slt"), ("ru", "espeak:ru+m1"), ("en", "piper:joe"))
    ]
    unknown = [(tone(900 + i, 1.0), {**fields, "language": "en", "voice": "flite:slt"}) for i in range(5)]
    human = [(tone(500 + i, 3.0), {**fields, "language": "", "voice": "asterisk-fr"}) for i in range(5)]
    corpus.write_shard(root / "phrase-all", 0, phrases[:20])
    corpus.write_shard(root / "phrase-all", 1, phrases[20:])
    corpus.write_shard(root / "unknown-all", 0, unknown)
    corpus.write_shard(root / "human-fr", 0, human)
    return ClipLibrary.load(root)


class TestSentences:
    def test_there_are_no_duplicates_and_every_text_is_a_sentence(self):
        items = build()
        assert 1500 < len(items) < 1800
        assert len({item.en for item in items}) == len({(item.en, item.ru) for item in items}) == len(items)
        for item in items:
            for text in (item.en, item.ru):
                assert text[0].isupper()
                assert text[-1] in ".?"
                assert "  " not in text

    def test_held_out_sentences_are_unseen_but_their_words_are_not(self):
        train, held = split()
        assert len(train) + len(held) == len(build())
        assert not {item.en for item in train} & {item.en for item in held}
        assert not {item.ru for item in train} & {item.ru for item in held}
        known = {word for item in train for word in words(item.en) + words(item.ru)}
        assert {word for item in held for word in words(item.en) + words(item.ru)} <= known
        assert all(item.template != "fixed" for item in held)
        assert 0.08 < len(held) / len(build()) <= 0.10

    def test_the_split_is_the_one_the_weights_were_trained_with(self):
        digest = hashlib.sha256("\n".join(item.en for item in split()[1]).encode()).hexdigest()
        assert digest == "02db2439ace7276c169d78a78ce9e79ffd3cdc6109aa74266efc1093e4209b2f"

    def test_the_split_depends_on_its_seed_alone(self):
        assert split(3) == split(3) != split(4)

    def test_companions_are_no_phrasebook_sentences_but_use_its_words(self):
        taken = {text for item in build() for text in (item.en, item.ru)}
        known = {word for item in split()[0] for word in words(item.en) + words(item.ru)} | {"нужно"}
        assert companions() == companions.__wrapped__()
        for item in companions():
            assert not {item.en, item.ru} & taken
            assert set(words(item.en) + words(item.ru)) <= known

    def test_held_out_voices_are_not_among_the_training_voices(self):
        for language in LANGUAGES:
            assert not set(espeak_voices(language)) & set(espeak_voices(language, held_out=True))


class TestUnknownText:
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_no_unknown_sentence_is_in_the_phrasebook(self, language):
        made = unknown_text.generate(random.Random(1), language, 400, ["one two three four five six"])
        assert len(set(made)) == 400
        phrasebook = {words(item.text(language)) for item in build()}
        assert not [text for text in made if words(text) in phrasebook]

    def test_several_phrases_in_a_row_are_known(self):
        assert unknown_text.is_known(words("Thank you. Goodbye."))
        assert not unknown_text.is_known(words("Thank Goodbye you."))


class TestChance:
    def test_seeds_are_the_same_in_every_process(self):
        assert stable_seed("clip", 7, "Привет.") == 4736937154236518445
        assert seeded("a", "b").random() != seeded("ab").random()

    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(0, 2**32), seconds=st.floats(0.3, 2.0), strength=st.floats(0, 1))
    def test_augmentation_follows_its_generator(self, seed, seconds, strength):
        audio = tone(220, seconds)

        def once() -> np.ndarray:
            rng = np.random.default_rng(seed)
            out = augment.speed(augment.tempo(audio, rng.uniform(0.8, 1.3)), rng.uniform(0.9, 1.1))
            return augment.disturb(augment.edges(out, rng, strength), rng, strength, tone(90, 0.5))

        first = once()
        np.testing.assert_array_equal(first, once())
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
        assert np.abs(first).max() <= 1

    @pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
    def test_tempo_changes_the_length_and_keeps_the_pitch(self, factor):
        out = augment.tempo(tone(300, 2.0), factor)
        assert len(out) == pytest.approx(32000 / factor, rel=0.06)
        spectrum = np.abs(np.fft.rfft(out[4000:-4000] * np.hanning(len(out) - 8000)))
        assert np.argmax(spectrum) / (len(out) - 8000) * 16000 == pytest.approx(300, abs=6)


class TestCorpus:
    def test_a_shard_without_its_lines_does_not_exist(self, tmp_path):
        fields = {
            "en": "Yes.",
            "ru": "Да.",
            "template": "fixed",
            "text": "Yes.",
            "language": "en",
            "voice": "flite:slt",
        }
        corpus.write_shard(tmp_path, 0, [(tone(200, 0.5), fields), (tone(300, 0.25), fields)])
        (tmp_path / "0001.i16").write_bytes(b"\0\0" * 100)
        read = list(corpus.read_part(tmp_path))
        assert [clip.samples for clip, _ in read] == [8000, 4000]
        np.testing.assert_allclose(read[1][1] / 32767, tone(300, 0.25), atol=1e-4)

    def test_the_jobs_do_not_change_between_runs(self):
        small = Recipe().corpus.model_copy(
            update={"espeak_per_sentence": 1, "unknown_foreign": 16, "unknown_flite": 50}
        )
        for name in ("phrase-espeak-ru", "unknown-flite", "test-C"):
            assert corpus.parts(small)[name]() == corpus.parts(small)[name]()

    def test_test_set_b_shares_no_sentence_and_no_voice_with_training(self):
        parts = corpus.parts(Recipe().corpus)
        jobs = [job for name in ("phrase-espeak-en", "phrase-flite", "phrase-festival-en") for job in parts[name]()]
        held = parts["test-B"]()
        assert not {job.line.text for job in jobs} & {job.line.text for job in held}
        assert not {job.line.voice for job in jobs} & {job.line.voice for job in held}


class TestData:
    def test_a_batch_depends_on_its_number_alone(self, library):
        batches = [Batches(Planner(library, MixSettings(), SETTINGS), library, SETTINGS, MEL_BANDS) for _ in range(2)]
        late, early = batches[0][5], [batches[1][i] for i in range(6)][5]
        assert torch.equal(late.audio, early.audio)
        assert torch.equal(late.time_mask, early.time_mask)
        assert [sample.answers for sample in late.samples] == [sample.answers for sample in early.samples]
        assert not torch.equal(batches[0][4].audio[:, :100], late.audio[:, :100])

    def test_the_loader_starts_where_it_is_told(self, library):
        data = Batches(Planner(library, MixSettings(), SETTINGS), library, SETTINGS, MEL_BANDS)
        from_three = next(iter(loader(data, 3, workers=0)))
        fourth = next(itertools.islice(loader(data, 0, workers=0), 3, None))
        assert torch.equal(from_three.audio, fourth.audio)

    def test_unknown_and_damaged_speech_has_no_answer(self, library):
        mix = MixSettings(unknown_voice=0.3, unknown_human=0.3, damaged=0.2, noise=0.2, wrong_language=0.0)
        data = Batches(Planner(library, mix, SETTINGS), library, SETTINGS, MEL_BANDS)
        samples = [sample for step in range(4) for sample in data[step].samples]
        assert {answer.text for sample in samples for answer in sample.answers} == {""}
        assert {answer.source for sample in samples for answer in sample.answers} == {"en", "ru"}

    def test_phrases_are_answered_in_both_languages(self, library):
        mix = MixSettings(unknown_voice=0, unknown_human=0, damaged=0, noise=0, wrong_language=0, several=0.5)
        data = Batches(Planner(library, mix, SETTINGS), library, SETTINGS, MEL_BANDS)
        russian = {item.en: item.ru for item in build()}
        for sample in data[0].samples:
            en, ru = sample.answers
            assert (en.target, ru.target) == ("en", "ru")
            assert russian.get(en.text, ru.text) == ru.text
            assert sample.transcript == (en.text if sample.language == "en" else ru.text)


class Tiny(nn.Module):
    """Something to train: reads the level of a clip and its number of answers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.register_buffer("seen", torch.zeros(1))


class TestResume:
    def make(self, clock: list[float]) -> tuple[Trainer[TrainingBatch], list[float]]:
        torch.manual_seed(0)
        module, heard = Tiny(), []

        def losses(batch: TrainingBatch) -> dict[str, torch.Tensor]:
            clock[0] += 10.0
            heard.append(float(batch.audio.abs().sum()))
            levels = torch.stack([batch.audio.abs().mean(1), batch.lengths / 16000], 1)
            module.seen += 1
            noise = torch.rand(1) * 0.1  # the generator's state has to survive too
            return {"loss": ((module.layer(levels) - 1 + noise) ** 2).mean()}

        return Trainer(module, losses, SETTINGS, now=lambda: clock[0]), heard

    def test_a_resumed_run_is_the_uninterrupted_run(self, library, tmp_path):
        data = Batches(Planner(library, MixSettings(), SETTINGS), library, SETTINGS, MEL_BANDS)

        def batches(start: int) -> object:
            return loader(data, start, workers=0)

        whole, heard_whole = self.make([0.0])
        whole.run(batches, max_steps=5)
        first, heard_first = self.make([0.0])
        first.run(batches, tmp_path / "last.ckpt", max_steps=3)
        torch.manual_seed(99)
        second, heard_second = self.make([5000.0])
        second.load(tmp_path / "last.ckpt")
        assert second.step == 3
        assert second.elapsed_s == pytest.approx(30)
        second.run(batches, max_steps=5)
        assert heard_first + heard_second == heard_whole
        assert second.learning_rate() == pytest.approx(whole.learning_rate())
        for name, value in whole.module.state_dict().items():
            torch.testing.assert_close(second.module.state_dict()[name], value)
            torch.testing.assert_close(second.ema[name], whole.ema[name])

    def test_a_checkpoint_of_other_data_is_refused(self, tmp_path):
        trainer, _ = self.make([0.0])
        trainer.save(tmp_path / "last.ckpt")
        other = Trainer(Tiny(), lambda _: {}, SETTINGS.model_copy(update={"seed": 6}))
        with pytest.raises(ValueError, match="seed=5"):
            other.load(tmp_path / "last.ckpt")

    def test_the_learning_rate_warms_up_and_ends_near_nothing(self):
        trainer, _ = self.make([0.0])
        start = trainer.learning_rate()
        trainer.step = SETTINGS.warmup_steps
        assert trainer.learning_rate() == pytest.approx(SETTINGS.learning_rate)
        assert start < SETTINGS.learning_rate
        trainer.elapsed_s = SETTINGS.minutes * 60
        assert trainer.learning_rate() == pytest.approx(SETTINGS.learning_rate * SETTINGS.final_factor)


class TestGate:
    def test_it_stops_unknown_speech_but_keeps_right_answers(self):
        right = [-0.05] * 98 + [-0.2, -0.3]
        assert choose_gate(right, [-0.5, -0.4, -0.12], 500) == pytest.approx(-0.39)
        assert choose_gate(right, [-0.07] * 100, 200) == pytest.approx(-0.06)
        assert choose_gate([-0.05] * 90 + [-0.2] * 10, [-0.07] * 100, 200) == pytest.approx(-0.2)

    def test_without_unknown_text_it_is_wide_open(self):
        assert choose_gate([-0.1] * 50, [], 500) == pytest.approx(-1.0)


class TestShipped:
    def test_the_sidecar_belongs_to_the_weights(self):
        sidecar = json.loads((HOME / "phrasebook.json").read_text(encoding="utf-8"))
        assert sidecar["sha256"] == hashlib.sha256((HOME / "phrasebook.nemo").read_bytes()).hexdigest()
        assert sidecar["languages"] == ["en", "ru"]
        assert -1 <= sidecar["min_logprob"] < 0
        assert {"name", "notice", "licence", "trained_on", "accuracy"} <= set(sidecar)

    def test_the_recipe_file_is_valid(self):
        assert Recipe.load(HOME / "recipe" / "recipe.yaml").train.batch == TrainSettings().batch

    def test_importing_the_recipe_loads_neither_torch_nor_nemo(self):
        code = (
            "import sys, tolmach.processors.phrasebook, tolmach.processors.phrasebook.recipe.sentences;"
            "print({'torch', 'nemo'} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"
