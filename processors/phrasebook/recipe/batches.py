"""Batches on their way to the network, by step number."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from . import augment
from .config import TrainSettings
from .library import ClipLibrary
from .rendering import Sample, render
from .sampling import Planner, generator
from .voices import SAMPLE_RATE_HZ

_MEL_HOP = 160


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """A batch on its way to the network.

    Attributes:
        audio: float32[batch, time], zero padded.
        lengths: int64[batch], samples.
        frequency_mask: bool[batch, mel], True where the spectrogram is masked.
        time_mask: bool[batch, frame], likewise, 10 ms a frame.
        samples: The samples, for their answers.
    """

    audio: torch.Tensor
    lengths: torch.Tensor
    frequency_mask: torch.Tensor
    time_mask: torch.Tensor
    samples: tuple[Sample, ...]


class Batches(Dataset[TrainingBatch]):
    """Batches by step number."""

    def __init__(self, planner: Planner, library: ClipLibrary, settings: TrainSettings, mel_bands: int) -> None:
        """Keeps what rendering needs."""
        self._planner, self._library, self._settings, self._mel_bands = planner, library, settings, mel_bands

    def __getitem__(self, step: int) -> TrainingBatch:
        """Renders the batch of a step."""
        settings = self._settings
        ramp = min(1.0, step / max(1, settings.augment_ramp_steps))
        strength = settings.augment_from + (1 - settings.augment_from) * ramp
        samples = tuple(render(self._library, plan, strength) for plan in self._planner.batch(step))
        lengths = torch.tensor([max(len(sample.audio), SAMPLE_RATE_HZ // 4) for sample in samples])
        audio = torch.zeros(len(samples), int(lengths.max()))
        frames = int(lengths.max()) // _MEL_HOP + 1
        rng = generator(settings.seed, "mask", step)
        bands = torch.zeros(len(samples), self._mel_bands, dtype=torch.bool)
        times = torch.zeros(len(samples), frames, dtype=torch.bool)
        for i, sample in enumerate(samples):
            audio[i, : len(sample.audio)] = torch.from_numpy(sample.audio)
            if rng.random() < strength:
                own = len(sample.audio) // _MEL_HOP
                bands[i] = torch.from_numpy(augment.mask_bands(self._mel_bands, rng, 2, 12))
                times[i, :own] = torch.from_numpy(augment.mask_bands(own, rng, 2, max(1, own // 25)))
        return TrainingBatch(audio, lengths, bands, times, samples)


class _From(Sampler[int]):
    """Counts up from a step without end."""

    def __init__(self, start: int) -> None:
        self._start = start

    def __iter__(self) -> Iterator[int]:
        step = self._start
        while True:
            yield step
            step += 1


def loader(batches: Dataset[TrainingBatch], start: int, workers: int) -> DataLoader[TrainingBatch]:
    """Returns an endless loader of whole batches from a step on."""
    return DataLoader(batches, batch_size=None, sampler=_From(start), num_workers=workers)
