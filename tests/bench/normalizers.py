"""Speakable text beside other normalisers: right of total for each kind of a table, and the time for 10,000 characters.

``python -m tests.bench.normalizers`` takes the tables of tests/data/text; ``--lang en TABLE`` another one (written, a
tab, readings). Our own tables have been worked on until ours read them, so the kinds called "unseen" and tables that
somebody else has made say more. The others are asked where they are installed: ``pip install ru-normalizr rutextnorm
russian-tts-normalization nemo_text_processing wetext inflect`` (NeMo's and WeText's grammars need pynini and kaldifst).
Times are a ratio to ours in the same process, after one call that warms up.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tolmach.processors.text_normalization import prepare
from tolmach.tests.readings import TABLES, cases, same_reading

Normalizer = Callable[[str], str]

OF_LANGUAGE = {
    "ru": ("ru-normalizr", "rutextnorm", "russian-tts-normalization", "num2words", "nemo_text_processing"),
    "en": ("nemo_text_processing", "wetext", "inflect", "num2words"),
}
OTHERS = ("num2words", "nemo_text_processing")
CHARACTERS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", type=Path, help="another table than those of tests/data/text")
    parser.add_argument("--lang", default=None, help="language of the table; alone: only the tables of this language")
    parser.add_argument("--kinds", action="store_true", help="a line for each kind, not only for each table")
    parser.add_argument(
        "--without", action="append", default=[], help="leave one out (NeMo's grammars build for minutes)"
    )
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    for lang in [args.lang] if args.lang else ["en", "ru", "de", "es", "fr", "uk"]:
        tables = [args.table] if args.table else sorted([*TABLES.glob(f"{lang}.tsv"), *TABLES.glob(f"{lang}_*.tsv")])
        compare(lang, tables, kinds=args.kinds, without=args.without)


def compare(lang: str, tables: list[Path], *, kinds: bool, without: list[str]) -> None:
    """Print the table of a language."""
    normalizers: dict[str, Normalizer] = {"Tolmach": lambda text: prepare(text, lang).text}
    for name in OF_LANGUAGE.get(lang, OTHERS):
        if name in without:
            continue
        try:
            normalizers[f"{name} {importlib.metadata.version(name)}"] = _peer(name, lang)
        except Exception as error:  # whatever a peer lacks, it is left out and named
            print(f"{name}: left out ({type(error).__name__}: {str(error)[:100]})\n")
    lines = [
        (f"{table.stem}: {kind}" if kinds else table.stem, written, readings)
        for table in tables
        for kind, written, readings in cases(table)
    ]
    total = Counter(name for name, _, _ in lines)
    right: dict[str, Counter[str]] = {name: Counter() for name in normalizers}
    for name, normalize in normalizers.items():
        for kind, written, readings in lines:
            said = _attempt(normalize, written)
            right[name][kind] += any(same_reading(said, reading, lang) for reading in readings)
    print(f"## {lang}\n\n| | lines | " + " | ".join(normalizers) + " |")
    print("|---|---:|" + "---:|" * len(normalizers))
    for kind, count in total.items():
        print(f"| {kind} | {count} | " + " | ".join(str(right[name][kind]) for name in normalizers) + " |")
    every = sum(total.values())
    print(f"| all | {every} | " + " | ".join(f"{100 * right[n].total() / every:.0f} %" for n in normalizers) + " |")
    texts = _texts([written for _, written, _ in lines])
    seconds = {name: _time(normalize, texts) for name, normalize in normalizers.items()}
    ratios = (f"{seconds[name] / seconds['Tolmach']:.2f}" for name in normalizers)
    print(f"| time for {CHARACTERS:,} characters, ours = 1 | | " + " | ".join(ratios) + " |\n", flush=True)


def _attempt(normalize: Normalizer, text: str) -> str:
    try:
        return normalize(text)
    except Exception:  # a text that a peer cannot read is read wrong
        return ""


def _texts(written: list[str]) -> list[str]:
    chosen: list[str] = []
    while sum(map(len, chosen)) < CHARACTERS:
        chosen.append(written[len(chosen) % len(written)])
    return chosen


def _time(normalize: Normalizer, texts: list[str]) -> float:
    _attempt(normalize, texts[0])
    started = time.perf_counter()
    for text in texts:
        _attempt(normalize, text)
    return time.perf_counter() - started


def _peer(name: str, lang: str) -> Normalizer:
    """A normaliser of the registry; raises whatever it raises when it is not there."""
    if name == "num2words":
        return _num2words(lang)
    if name == "inflect":
        import inflect

        engine = inflect.engine()
        return lambda text: re.sub(r"\d[\d,]*", lambda m: str(engine.number_to_words(m.group().replace(",", ""))), text)
    if name == "ru-normalizr":
        from ru_normalizr import normalize

        return lambda text: str(normalize(text))
    if name == "rutextnorm":
        from rutextnorm import normalize_russian as read

        return lambda text: str(read(text))
    if name == "russian-tts-normalization":
        from russian import normalize_russian

        return lambda text: str(normalize_russian(text))
    if name == "wetext":
        from wetext import Normalizer as WeText

        wetext = WeText(lang=lang, operator="tn")
        return lambda text: str(wetext.normalize(text))
    from nemo_text_processing.text_normalization.normalize import Normalizer as Nemo

    if lang not in ("en", "ru", "de", "es", "fr"):
        raise NotImplementedError(f"no grammar for {lang}")
    nemo = Nemo(input_case="cased", lang=lang)
    return lambda text: str(nemo.normalize(text, verbose=False, punct_post_process=True))


def _num2words(lang: str) -> Normalizer:
    from num2words import num2words

    return lambda text: re.sub(r"\d+", lambda m: f" {num2words(int(m.group()), lang=lang)} ", text)


if __name__ == "__main__":
    main()
