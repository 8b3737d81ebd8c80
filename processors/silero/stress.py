"""Word stress for the models that place none: Silero's own accentor (``pip install silero-stress``), if it is there.

The two MIT models and the first Russian generation read every word as it is marked ("зам+ок") and guess badly where
nothing is. The package ``silero-stress`` (MIT) ships networks for Russian (with homographs and ё), Ukrainian and
Belarusian, 5 s and 0.3 GB to load, 10 to 80 ms a sentence on one core, and word lists with a rule for others. Marks
that stand in a text already stay.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tolmach.pipelines.errors import ModelError

__all__ = ["CODES", "LANGS", "PACKAGE", "RULES", "Accentor", "Unmarked", "is_installed", "load"]

PACKAGE = "silero-stress"
"""What pip is asked for."""

CODES: Mapping[str, str] = {"ru": "ru", "uk": "ukr", "be": "bel"}
"""The package's name for each language it has a network for, by BCP-47 tag."""

RULES: Mapping[str, str] = {
    **{"az": "aze_lat", "ba": "bak", "hy": "hye", "ka": "kat", "kk": "kaz"},
    **{"tg": "tgk", "tt": "tat", "uz": "uzb_lat"},
}
"""And for each that it has a word list and a rule for."""


LANGS = frozenset(CODES) | frozenset(RULES)
"""All languages it knows, by BCP-47 tag."""


@dataclass(frozen=True, slots=True)
class Unmarked:
    """A text that lacks stress marks.

    Attributes:
        text: As the voice would read it.
        options: ``put_accent``, ``put_yo``, ``put_stress_homo`` and ``put_yo_homo``, as the voice has them.
    """

    text: str
    options: Mapping[str, bool] = field(default_factory=dict)


def is_installed() -> bool:
    """Whether the package is there; imports nothing of it."""
    return importlib.util.find_spec("silero_stress") is not None


def load(lang: str) -> Accentor:
    """Load what the package has for a language of :data:`CODES` or :data:`RULES`. Blocks for seconds.

    Raises:
        ModelError: If the package is not there, or fails.
    """
    import torch

    threads = torch.get_num_threads()
    try:
        with torch.set_grad_enabled(False):  # which it does for good; this undoes it
            if lang in RULES:
                from silero_stress.simple_accentor import SimpleAccentor

                return Accentor(SimpleAccentor(RULES[lang]), lang)
            from silero_stress.accentor import load_accentor

            return Accentor(load_accentor(CODES[lang]), lang)
    except ImportError as error:
        raise ModelError(f"stress marks need the package {PACKAGE}: pip install {PACKAGE}") from error
    except Exception as error:  # whatever the packaged code raises
        raise ModelError(f"{PACKAGE} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        torch.set_num_threads(threads)  # its import takes one for everybody


class Accentor:
    """Places stress marks; a model for a model host.

    Args:
        accentor: The package's object for the language.
        lang: The language.
    """

    def __init__(self, accentor: Any, lang: str) -> None:
        self._accentor = accentor
        self._lang = lang

    @property
    def info(self) -> Mapping[str, Any]:
        """``lang``."""
        return {"lang": self._lang}

    def warm(self, items: Sequence[Unmarked] = ()) -> None:
        """Mark a word."""
        self.run(items or [Unmarked("мама")])

    def run(self, items: Sequence[Unmarked]) -> list[str]:
        """The texts with a plus sign before each stressed vowel."""
        import torch

        from tolmach.processors.hosting.torch_threads import use_threads

        use_threads(1)  # a sentence is too little to share out
        with torch.inference_mode():
            return [self._mark(item) for item in items]

    def _mark(self, item: Unmarked) -> str:
        if not any(map(str.isalpha, item.text)) or not item.options.get("put_accent", True):
            return item.text
        if self._lang != "ru":
            return str(self._accentor(item.text))
        options = {name: item.options.get(name, True) for name in ("put_yo", "put_stress_homo", "put_yo_homo")}
        return str(self._accentor(item.text, put_stress=True, **options))
