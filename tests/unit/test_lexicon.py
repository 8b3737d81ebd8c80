"""A lexicon of the user's own: found as whole words, in every language, and its mistakes are named by line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tolmach.pipelines.cli.main import main
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.frames import Samples, TranslationFrame
from tolmach.pipelines.testing import Harness
from tolmach.processors.espeak.spec import SPEC as ESPEAK
from tolmach.processors.silero.spec import SileroTtsSettings
from tolmach.processors.text_normalization import prepare
from tolmach.processors.tts import lexicon as lexicons
from tolmach.processors.tts.lexicon import Lexicon, load_lexicon, parse

GRAPHS = Path(__file__).parents[2] / "docs" / "GRAPHS.md"


@pytest.mark.parametrize(
    ("entries", "text", "said"),
    [
        ({"замок": "зам+ок"}, "Замок и замочек, ЗАМОК!", "зам+ок и замочек, зам+ок!"),
        ({"US": "ю-эс", "мы": "мы"}, "US и us", "ю-эс и us"),
        ({"кот": "кит", "кот в мешке": "тайна"}, "Кот в  мешке и кот.", "тайна и кит."),
        ({"C++": "си плюс плюс", "т.д.": "так далее"}, "на C++, и т.д.", "на си плюс плюс, и так далее"),
        ({"Łódź": "Вудж", "node.js": "ноуд-джейэс"}, "Łódź, Node.js", "Вудж, ноуд-джейэс"),
        ({"a": "b", "b": "c"}, "a b", "b c"),
        ({}, "как  есть", "как  есть"),
    ],
)
def test_whole_words_are_read_as_it_says(entries: dict[str, str], text: str, said: str) -> None:
    assert Lexicon(entries.items()).apply(text, stress=True) == said


def test_a_stress_is_kept_to_the_voice() -> None:
    assert Lexicon([("кот", "к+от")]).apply("кот", stress=False) == "кот"
    said = Lexicon([("замок", "зам+ок")]).apply("Старый замок, 2+2.", stress=True)
    assert prepare(said, "ru").text == "старый зам+ок, два плюс два."
    assert prepare("Старий з+амок, за́мок.", "uk").text == "старий з+амок, з+амок."


@pytest.mark.parametrize(
    ("lines", "line", "problem"),
    [
        ("замок зам+ок", 1, "has no tab"),
        ("# a comment\n\nзамок\tзам+ок\nкот\t", 4, "no reading"),
        ("\tкот", 1, "no word"),
        ("a\tb\tc", 1, "more than one tab"),
        ("кот\tк+т", 1, "no vowel follows"),
        ("кот\tкит\nкот\tкиты", 2, "line 1 has another reading"),
        ("к\x07т\tкот", 1, "control character"),
        ("к" * 101 + "\tкот", 1, "too long"),
    ],
)
def test_a_mistake_is_named_by_its_line_and_not_shown(lines: str, line: int, problem: str) -> None:
    with pytest.raises(GraphError, match=rf"lexicon words\.tsv, line {line}: .*{problem}") as caught:
        parse(lines, "words.tsv")
    assert "кот" not in str(caught.value)


def test_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicons, "MAX_ENTRIES", 2)
    with pytest.raises(GraphError, match="line 3: is one entry too many"):
        parse("a\tb\nc\td\ne\tf", "words.tsv")
    monkeypatch.setattr(lexicons, "MAX_BYTES", 8)
    (tmp_path / "big.tsv").write_text("слово\tслово", encoding="utf-8")
    with pytest.raises(GraphError, match=r"big\.tsv: has 21 bytes; 8 are allowed"):
        load_lexicon("big.tsv", tmp_path)


def test_only_files_of_its_own_folder_are_read(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "words.tsv").write_text("a\tb", encoding="utf-8")
    (inside / "link.tsv").symlink_to(tmp_path / "words.tsv")
    for outside in ("../words.tsv", "link.tsv"):
        with pytest.raises(GraphError, match="leaves the folder"):
            load_lexicon(outside, inside)
    assert len(load_lexicon(str(tmp_path / "words.tsv"), inside)) == 1
    with pytest.raises(GraphError, match="there is no such file"):
        load_lexicon("none.tsv", inside)
    (inside / "latin.tsv").write_bytes("a\tb\nкот\tкит".encode("cp1251"))
    with pytest.raises(GraphError, match="line 2: is not UTF-8"):
        load_lexicon("latin.tsv", inside)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "words.tsv"
    file.write_text("кот\tкит", encoding="utf-8")
    assert load_lexicon("words.tsv", tmp_path).apply("кот", stress=True) == "кит"
    file.write_text("кот\tкрот", encoding="utf-8")
    assert load_lexicon("words.tsv", tmp_path).apply("кот", stress=True) == "крот"


def test_a_mistake_is_found_with_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.tsv").write_text("кот\tкит\nпёс", encoding="utf-8")
    assert main(["check", "app_src ! espeak_tts lang=ru lexicon=words.tsv ! app_sink"]) == 2
    assert "line 2: has no tab" in capsys.readouterr().out
    with pytest.raises(ValidationError, match=r"ends in \.tsv"):
        SileroTtsSettings(lexicon="/etc/passwd")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.tsv").write_text("замок\tкр+епость", encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("folder")
async def test_espeak_says_what_the_lexicon_says() -> None:
    assert np.array_equal(await _samples("Старый Замок"), await _samples("Старый крепость"))


async def _samples(text: str) -> Samples:
    async with Harness(ESPEAK, lang="ru", lexicon="words.tsv") as harness:
        await harness.push(TranslationFrame(0, 0, 500_000_000, "en", "ru", text))
        await harness.eos()
        return harness.audio()


def test_the_documents_example_says_what_it_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = GRAPHS.read_text(encoding="utf-8").partition("## A lexicon")[2]
    table, command, said = re.findall(r"```(?:\w*)\n(.*?)```", section, re.DOTALL)[:3]
    monkeypatch.chdir(tmp_path)
    Path("words.tsv").write_text(table, encoding="utf-8")
    arguments = re.findall(r"'[^']*'|\S+", command.strip().removeprefix("tolmach "))
    assert main([word.strip("'") for word in arguments]) == 0
    assert capsys.readouterr().out == said
