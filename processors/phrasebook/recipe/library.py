"""The corpus in memory: clips mapped from disk and indexed the way training draws them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .corpus import UNKNOWN, Clip, read_part
from .sentences import FIXED_TEMPLATE, split, words
from .voices import SAMPLE_RATE_HZ, Audio

# How often each engine is heard in phrasebook speech. espeak-ng has many voices but one way to speak, so it gets no
# more.
ENGINE_WEIGHTS = {
    "en": {"espeak": 0.32, "flite": 0.24, "festival": 0.19, "piper": 0.25},
    "ru": {"espeak": 0.50, "festival": 0.50},
}
_MUSIC = "music"
COMPANION = "companion"


@dataclass
class ClipLibrary:
    """Indexed clips.

    Attributes:
        clips: All clips of the corpus parts given.
        audio: int16[samples] view for each clip.
        phrases: Language, English sentence and engine to the numbers of its clips.
        fixed: English texts of the fixed phrases that have clips, by language.
        templates: Language to template to English texts, fixed phrases apart.
        companions: Language to English texts of sentences beside the phrasebook.
        unknown: Part name to clips of synthetic speech outside the phrasebook.
        human: Source name to clips of human speech.
        music: Clips of music.
        whole: English texts without another phrasebook sentence at their start or end: safe to cut.
    """

    clips: list[Clip] = field(default_factory=list)
    audio: list[NDArray[np.int16]] = field(default_factory=list)
    phrases: dict[tuple[str, str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    fixed: dict[str, list[str]] = field(default_factory=dict)
    templates: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    companions: dict[str, list[str]] = field(default_factory=dict)
    unknown: dict[str, list[int]] = field(default_factory=dict)
    human: dict[str, list[int]] = field(default_factory=dict)
    music: list[int] = field(default_factory=list)
    whole: frozenset[str] = frozenset()

    @classmethod
    def load(cls, corpus: Path) -> "ClipLibrary":
        """Maps the training parts (``phrase-*``, ``unknown-*``, ``human-*``) below a folder.

        Raises:
            FileNotFoundError: There are no phrasebook clips.
        """
        library = cls()
        for folder in sorted(corpus.iterdir()):
            kind = folder.name.partition("-")[0]
            if folder.is_dir() and kind in ("phrase", "unknown", "human"):
                library.add(folder.name, list(read_part(folder)))
        library.finish()
        return library

    def add(self, part: str, items: Sequence[tuple[Clip, NDArray[np.int16]]]) -> None:
        """Adds the clips of one part."""
        for clip, audio in items:
            number = len(self.clips)
            self.clips.append(clip)
            self.audio.append(audio)
            if clip.template != UNKNOWN:
                self.phrases[clip.language, clip.en, clip.voice.partition(":")[0]].append(number)
            elif clip.voice == _MUSIC:
                self.music.append(number)
            elif part.startswith("human"):
                self.human.setdefault(clip.voice, []).append(number)
            else:
                self.unknown.setdefault(part, []).append(number)

    def finish(self) -> None:
        """Builds the derived indices once every part is added.

        Raises:
            FileNotFoundError: There are no phrasebook clips.
        """
        if not self.phrases:
            message = "no phrasebook clips: render the corpus first"
            raise FileNotFoundError(message)
        template_of = {clip.en: clip.template for clip in self.clips}
        for language in {language for language, _, _ in self.phrases}:
            texts = dict.fromkeys(en for lang, en, _ in self.phrases if lang == language)
            self.fixed[language] = [en for en in texts if template_of[en] == FIXED_TEMPLATE]
            groups: dict[str, list[str]] = {}
            for en in texts:
                if template_of[en].startswith(COMPANION):
                    self.companions.setdefault(language, []).append(en)
                elif en not in self.fixed[language]:
                    groups.setdefault(template_of[en], []).append(en)
            self.templates[language] = groups
        self.whole = _whole()

    def samples(self, number: int) -> Audio:
        """Returns a clip as float32[n] in [-1, 1]."""
        return self.audio[number].astype(np.float32) / np.float32(32768)

    def seconds(self, number: int) -> float:
        """Returns the length of a clip in seconds."""
        return self.clips[number].samples / SAMPLE_RATE_HZ


def _whole() -> frozenset[str]:
    """Finds the sentences that hold no other sentence as a start or an end, in either language."""
    safe = None
    for text in ("en", "ru"):
        items = split()[0] + split()[1]
        tokens = {item.en: words(item.en if text == "en" else item.ru) for item in items}
        known = set(tokens.values())
        found = {
            en
            for en, spoken in tokens.items()
            if not any(spoken[:i] in known or spoken[i:] in known for i in range(1, len(spoken)))
        }
        safe = found if safe is None else safe & found
    return frozenset(safe or ())
