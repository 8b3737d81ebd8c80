"""Human recordings that are not the phrasebook: where Debian packages put them, and how to read them.

Synthetic voices alone teach the model to be silent on unknown words of those voices, not on people. The sources below
are free recordings of people that Debian ships for other purposes. They are read in place; none of them is copied.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .voices import SAMPLE_RATE_HZ, Audio, trim

_MIN_SECONDS = 0.8
# Prompts that are, or may be taken for, phrasebook sentences, and files without speech.
_PHRASEBOOK_PROMPTS = re.compile(
    r"hello|goodbye|afternoon|morning|evening|sorry|thank|welcome|^yes|^no\.|please\.|beep|tone|silence|tt-",
)


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of recordings.

    Attributes:
        name: Name in the corpus.
        package: Debian package that holds it.
        pattern: Absolute glob.
        language: ``en`` or ``ru``; empty for any other language and for music.
        dev: Kept out of training, for choosing the gate.
    """

    name: str
    package: str
    pattern: str
    language: str = ""
    dev: bool = False


_SOUNDS = "/usr/share/asterisk/sounds"
SOURCES = (
    Source("asterisk-en", "asterisk-core-sounds-en-g722", f"{_SOUNDS}/en_US_f_Allison/**/*.g722", "en"),
    Source("asterisk-ru", "asterisk-core-sounds-ru-g722", f"{_SOUNDS}/ru_RU_f_IvrvoiceRU/**/*.g722", "ru"),
    Source("asterisk-fr", "asterisk-core-sounds-fr-g722", f"{_SOUNDS}/fr_CA_f_June/**/*.g722"),
    Source("asterisk-it", "asterisk-core-sounds-it-g722", f"{_SOUNDS}/it_IT_m_Carlo/**/*.g722"),
    Source("asterisk-es", "asterisk-core-sounds-es-g722", f"{_SOUNDS}/es_MX_f_Allison/**/*.g722", dev=True),
    Source("asterisk-it-menardi", "asterisk-prompt-it-menardi-wav", f"{_SOUNDS}/it_IT_f_Menardi/**/*.wav", dev=True),
    Source(
        "novel-ru", "festvox-ru", "/usr/share/festival/voices/russian/msu_ru_nsh_clunits/wav/*.wav", "ru"
    ),  # the sentences of a novel that the Russian festival voice was cut from
    Source("fillets-cs", "fillets-ng-data-cs", "/usr/share/games/fillets-ng/sound/**/cs/*.ogg"),
    Source("fillets-nl", "fillets-ng-data-nl", "/usr/share/games/fillets-ng/sound/**/nl/*.ogg", dev=True),
    Source("potato-ru", "ktuberling-data", "/usr/share/ktuberling/sounds/ru/*", "ru"),
    Source("potato-uk", "ktuberling-data", "/usr/share/ktuberling/sounds/uk/*"),
    Source("potato-da", "ktuberling-data", "/usr/share/ktuberling/sounds/da/*"),
    Source("potato-lt", "ktuberling-data", "/usr/share/ktuberling/sounds/lt/*"),
    Source("sphinx-en", "pocketsphinx-testdata", "/usr/share/pocketsphinx/test/**/*.wav", "en", dev=True),
    Source("music", "asterisk-moh-opsound-g722", "/usr/share/asterisk/moh/*.g722"),
)


def read_recording(path: Path) -> Audio:
    """Decodes a recording of any format as float32[n], 16 kHz mono, [-1, 1].

    Raises:
        av.error.FFmpegError: The file is no audio.
    """
    import av

    # Raw G.722 has no header to recognise it by.
    layout = "g722" if path.suffix == ".g722" else None
    # Old tags in a Cyrillic code page are no reason to refuse the sound; PyAV 19 needs no telling any more.
    any_tags: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "ignore"}
    with av.open(str(path), format=layout, **any_tags) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    if not frames:
        return np.zeros(0, dtype=np.float32)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.float32)


def recordings(source: Source) -> list[Path]:
    """Lists the files of a source, sorted, without prompts that the phrasebook has too."""
    found = (path for path in Path("/").glob(source.pattern.lstrip("/")) if path.is_file())
    skip = {"digits", "letters", "phonetic", "silence"}
    return sorted(p for p in found if not _PHRASEBOOK_PROMPTS.search(p.name) and not skip & set(p.parts))


def read_recordings(source: Source, max_seconds: float = 30.0) -> Iterator[tuple[Path, Audio]]:
    """Reads every usable recording of a source.

    Args:
        source: What to read.
        max_seconds: Longer files (music) come in pieces of this length.

    Yields:
        File and float32[n], 16 kHz, peak 0.7, at least 0.8 s of it.
    """
    import av

    size = int(max_seconds * SAMPLE_RATE_HZ)
    for path in recordings(source):
        try:
            audio = trim(read_recording(path), threshold=0.02)
        except (av.error.FFmpegError, IndexError):
            continue
        for start in range(0, len(audio), size):
            piece = audio[start : start + size]
            if len(piece) >= _MIN_SECONDS * SAMPLE_RATE_HZ and np.abs(piece).max() > 1e-3:
                yield path, np.asarray(piece / np.abs(piece).max() * 0.7, dtype=np.float32)
