"""`tolmach voices` and `tolmach speak`: what is listed, who is chosen, what is said, and what is wrong with a wish."""

from __future__ import annotations

import io
import json
import os
import sys
import wave
from dataclasses import replace
from pathlib import Path

import pytest

from tests.data.silero_package import build_package
from tests.unit.test_silero import settings_for
from tolmach.pipelines.cli.commands.speak import pieces
from tolmach.pipelines.cli.main import main
from tolmach.pipelines.element import Voice
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.speech import known_voices
from tolmach.pipelines.testing.spec_checks import check_spec
from tolmach.processors.espeak.spec import VOICES

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path / "cache"))


def length_s(path: str) -> float:
    with wave.open(path) as file:
        return file.getnframes() / file.getframerate()


# voices ---------------------------------------------------------------------------------------------------------------


def test_each_of_canarys_languages_has_a_voice_that_speaks_at_once():
    ready = {lang for known in known_voices(Registry.builtin()) if known.ready for lang in known.voice.langs}
    assert set(VOICES) <= ready


def test_a_language_without_a_silero_voice_points_to_espeak(capsys: Captured):
    assert main(["voices", "pl"]) == 0
    listed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("pl")]
    assert [line.split()[:3] for line in listed] == [["pl", "pl", "espeak_tts"]]
    assert "comes with the package" in listed[0]


def test_the_list_says_licence_speakers_and_what_gets_a_voice(capsys: Captured):
    assert main(["voices", "en"]) == 0
    shown = capsys.readouterr().out
    [line] = [line for line in shown.splitlines() if " v3_en " in line]
    assert "en_0, en_1, en_2 … en_117 (118)" in line
    assert "not commercial" in line
    assert "tolmach fetch silero_tts --set model=VOICE" in shown


def test_a_voice_is_listed_where_it_lies(capsys: Captured):
    [known] = [v for v in known_voices(Registry.builtin(), "ru") if v.voice.name == "v4_ru"]
    assert (known.place, known.ready) == ("fetch", False)
    assert known.voice.path is not None
    assert known.voice.size_bytes is not None
    known.voice.path.parent.mkdir(parents=True)
    with known.voice.path.open("wb") as file:
        file.truncate(known.voice.size_bytes)
    assert main(["voices", "ru", "--json"]) == 0
    listed = {voice["name"]: voice for voice in json.loads(capsys.readouterr().out)}
    assert (listed["v4_ru"]["place"], listed["v4_ru"]["here"]) == ("downloaded", True)
    assert listed["v5_5_ru"]["place"] == "fetch"
    assert listed["v5_ru"]["place"] == "allow"
    assert not listed["v5_5_ru"]["commercial"]


def test_the_page_about_voices_shows_the_list(capsys: Captured, root: Path):
    assert main(["voices"]) == 0
    path, shown = root / "docs" / "VOICES.md", capsys.readouterr().out
    before, fence, rest = path.read_text(encoding="utf-8").partition("```text\n")
    listed, _, after = rest.partition("```\n")
    if os.environ.get("TOLMACH_UPDATE_GOLDEN") == "1":
        path.write_text(f"{before}{fence}{shown}```\n{after}", encoding="utf-8")
        return
    assert listed == shown, "renew it with TOLMACH_UPDATE_GOLDEN=1"


def test_a_language_nobody_speaks(capsys: Captured):
    assert main(["voices", "tlh"]) == 2
    assert "there are voices for" in capsys.readouterr().err


# speak ----------------------------------------------------------------------------------------------------------------


def test_a_text_is_said_with_what_there_is(capsys: Captured):
    assert main(["speak", "Добрый день!", "--lang", "ru", "-o", "день.wav"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "день.wav\n"
    assert "espeak_tts" in shown.err
    assert "--voice v5_5_ru" in shown.err
    assert 0.4 < length_s("день.wav") < 4


def test_the_same_file_is_not_replaced_unasked(capsys: Captured):
    line = ["speak", "One.", "--lang", "en", "-q", "--voice", "espeak_tts"]
    assert main(line) == 0
    assert main(line) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*line, "--overwrite"]) == 0
    assert capsys.readouterr() == ("", "")


def test_paragraphs_of_standard_input_follow_each_other(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Один.\n\nДва.\nТри.\n".encode())))
    assert main(["speak", "-", "--lang", "ru", "-q", "-o", "all.wav"]) == 0
    assert main(["speak", "Один.", "--lang", "ru", "-q", "-o", "one.wav"]) == 0
    assert 2.5 * length_s("one.wav") < length_s("all.wav") < 5 * length_s("one.wav")


def test_a_setting_of_the_voice_is_heard():
    for name, given in (("slow", ["--set", "rate_wpm=90"]), ("fast", ["--rate", "300"])):
        line = ["speak", "A sentence of some length.", "--lang", "en", "-q", "-o", f"{name}.wav"]
        assert main([*line, "--voice", "en-gb+f2", *given]) == 0
    assert length_s("slow.wav") > 1.5 * length_s("fast.wav")


@pytest.mark.models
def test_a_silero_file_by_path_and_digest(capsys: Captured, tmp_path: Path):
    settings = settings_for(build_package(tmp_path / "ru.pt"), lang="ru")
    line = ["speak", "Добрый день, 25.", "--lang", "ru", "--voice", str(tmp_path / "ru.pt"), "-q"]
    given = ["--set", f"rate_hz={settings['rate_hz']}", "--set", "device=cpu"]
    assert main([*line, *given]) == 2
    assert settings["sha256"] in capsys.readouterr().err
    assert main([*line, *given, "--set", f"sha256={settings['sha256']}"]) == 0
    assert length_s("speech.wav") > 0.1


def test_what_will_be_said_is_shown_without_a_model(capsys: Captured):
    assert main(["speak", "Глава IV, 25 % 漢", "--lang", "ru", "--voice", "v5_5_ru", "--show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert "двадцать пять процентов" in shown["text"]
    assert shown["lost"] == "漢"
    assert (shown["voice"], shown["type"]) == ("v5_5_ru", "silero_tts")
    assert list(Path().iterdir()) == []


def test_a_lexicon_says_how_a_word_is_read(capsys: Captured):
    Path("words.tsv").write_text("Tolmach\tтолм+ач\n", encoding="utf-8")
    line = ["speak", "Tolmach слушает.", "--lang", "ru", "--voice", "v5_5_ru", "--show", "--lexicon"]
    assert main([*line, "words.tsv"]) == 0
    assert capsys.readouterr().out == "толм+ач слушает.\n"
    assert main([*line, "none.tsv"]) == 2
    assert "none.tsv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--lang", "tlh"], "no voice speaks 'tlh'"),
        ([], "--lang"),
        (["--lang", "en", "--voice", "v5_5_ru"], "v5_5_ru speaks ru"),
        (["--lang", "ru", "--voice", "v5_5ru"], "did you mean 'v5_5_ru'?"),
        (["--lang", "ru", "--speaker", "en_5"], "v5_5_ru has baya"),
        (["--lang", "ru", "--voice", "v5_5_ru", "--speaker", "nobody"], "nobody"),
        (["--lang", "az"], "v5_cis_base_nostress"),
        (["--lang", "ru", "--set", "no_such=1"], "no_such"),
        (["--lang", "ru", "--voice", "espeak_tts", "--rate", "fast"], "rate_wpm"),
        (["--lang", "ru", "--voice", "espeak_tts", "--speaker", "baya"], "espeak_tts has none"),
        (["--lang", "ru", "-o", "speech.mp3"], "mp3"),
    ],
)
def test_a_wrong_wish_says_what_to_do(arguments: list[str], says: str, capsys: Captured):
    assert main(["speak", "Да.", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_nothing_to_say(capsys: Captured):
    assert main(["speak", "…", "--lang", "ru"]) == 2
    assert "nothing" in capsys.readouterr().err
    assert not Path("speech.wav").exists()


def test_a_text_is_cut_between_sentences_and_nothing_is_lost():
    text = "Одно предложение. Другое предложение! " * 40 + "\n\n" + "слово" * 30
    cut = list(pieces(text, 100))
    assert max(map(len, cut)) <= 100
    assert all(piece.endswith((".", "!")) for piece in cut[:-2])
    assert "".join("".join(cut).split()) == "".join(text.split())


def test_the_test_kit_finds_a_voice_that_cannot_be_chosen():
    spec = Registry.builtin().get("espeak_tts")
    check_spec(spec)
    nobody = Voice("nobody", ("en",), licence="MIT")
    with pytest.raises(AssertionError, match="'nobody' cannot be chosen for 'en'"):
        check_spec(replace(spec, voices=lambda: (nobody,), voice_settings=lambda lang, voice: {"voice": 1}))
    with pytest.raises(AssertionError, match="has no terms"):
        check_spec(replace(spec, voices=lambda: (nobody._replace(licence=""),)))
