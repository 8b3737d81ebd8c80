"""Settings of the recipe: one YAML file, every value with a default that made the shipped weights."""

import hashlib
import random
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CorpusSettings(_Settings):
    """How much is rendered. Counts are clips per sentence, or sentences per voice group for unknown speech."""

    seed: int = 11
    workers: int = Field(default=2, ge=1, description="Processes that render at once.")
    shard_clips: int = Field(default=300, ge=1, description="Clips in a shard, the unit of resuming.")
    espeak_per_sentence: int = 6
    flite_per_sentence: int = 4
    festival_per_sentence: int = 1
    piper_per_sentence: int = 1
    fixed_factor: int = Field(default=4, ge=1, description="Fixed phrases are rendered this many times as often.")
    unknown_espeak: int = 3000
    unknown_flite: int = 2200
    unknown_festival: int = 1500
    unknown_piper: int = 900
    unknown_foreign: int = 900
    test_seen_sentences: int = Field(default=150, description="Training sentences of test set C.")
    dev_unknown: int = Field(default=150, description="Unknown sentences a language in the development set.")


class ModelSettings(_Settings):
    """Shape of the network: Canary's, at 4.5 million parameters."""

    vocabulary: int = 640
    mel_bands: int = 64
    width: int = 160
    encoder_layers: int = 5
    decoder_layers: int = 3
    heads: int = 4
    subsampling_channels: int = 48


class MixSettings(_Settings):
    """Shares of the kinds of training sample; what they leave of 1 is phrasebook speech."""

    unknown_voice: float = Field(default=0.11, description="Synthetic voices reading text outside the phrasebook.")
    unknown_human: float = Field(default=0.13, description="Human recordings.")
    damaged: float = Field(default=0.04, description="Phrasebook speech reversed, cut off or with its parts mixed.")
    noise: float = Field(default=0.05, description="Noise, tones and music without speech.")
    wrong_language: float = Field(default=0.03, description="Phrasebook speech asked for in the other language.")
    fixed: float = Field(default=0.25, description="Share of fixed phrases within phrasebook speech.")
    companions: float = Field(default=0.25, description="Share of companion sentences within phrasebook speech.")
    several: float = Field(default=0.35, description="Share of phrasebook samples of two or three phrases.")


class TrainSettings(_Settings):
    """Optimisation. The schedule is in minutes of wall clock, because the share of a processor one gets varies."""

    seed: int = 5
    minutes: float = 80.0
    batch: int = 32
    pool_batches: int = Field(default=8, description="Batches drawn at once and sorted by length against padding.")
    learning_rate: float = 1.1e-3
    final_factor: float = Field(default=0.01, description="Learning rate at the end, as a share of the peak.")
    warmup_steps: int = 200
    weight_decay: float = 1e-3
    clip_norm: float = 2.0
    label_smoothing: float = 0.05
    input_noise: float = Field(default=0.05, description="Share of answer tokens the decoder gets to see wrong.")
    ctc_weight: float = 0.4
    empty_weight: float = Field(default=3.0, description="Loss weight of the single token of an empty answer.")
    language_weight: float = Field(default=0.5, description="Loss weight of the source-language token of the prompt.")
    ema: float = 0.998
    augment_from: float = Field(default=1.0, description="Augmentation strength at the first step, 0 to 1.")
    augment_ramp_steps: int = Field(
        default=2000, description="Steps until the strength is 1; for training from scratch."
    )
    bfloat16: bool = Field(
        default=True, description="Run the passes in bfloat16; twice as fast on AVX512-BF16 and GPUs."
    )
    threads: int = Field(default=2, description="Torch threads on a CPU.")
    loader_workers: int = Field(default=1, description="Loader processes on a CPU.")
    loader_workers_gpu: int = Field(default=12, description="Loader processes beside a GPU.")
    checkpoint_minutes: float = 4.0


class Recipe(_Settings):
    """The whole recipe."""

    corpus: CorpusSettings = CorpusSettings()
    model: ModelSettings = ModelSettings()
    mix: MixSettings = MixSettings()
    train: TrainSettings = TrainSettings()

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Reads a YAML file of settings; without one, the defaults.

        Raises:
            OSError: The file cannot be read.
            pydantic.ValidationError: It names an unknown setting or a value of the wrong type.
        """
        if path is None:
            return cls()
        return cls.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {})


def stable_seed(*parts: object) -> int:
    """Turns a name into a 63-bit seed that is the same in every process (``hash`` of a string is not)."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seeded(*parts: object) -> random.Random:
    """Returns a generator seeded by a name."""
    return random.Random(stable_seed(*parts))  # noqa: S311 - reproducible draws, not secrets
