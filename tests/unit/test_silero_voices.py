"""The table of models, the settings, and where model files come from; no torch."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.certificates import make_certificate
from tolmach.pipelines.caps import Caps
from tolmach.pipelines.errors import GraphError, ModelMissingError, ModelRefusedError
from tolmach.pipelines.language.check import check_graph, load_graph
from tolmach.pipelines.models.caches import missing_in
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.shipped import shipped_graph
from tolmach.processors.silero import files
from tolmach.processors.silero.files import ALLOW_VARIABLE, fetch, find_or_fetch, read_allowed
from tolmach.processors.silero.spec import SPEC, SileroTtsSettings
from tolmach.processors.silero.voices import LICENCE, MODELS, PINNED, TOKENS, fitting

CONTENT = b"a model, as far as anybody can tell without loading it" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_the_table_is_whole() -> None:
    assert {"v5_5_ru", "v5_4_ru", "v5_3_ru", "v5_2_ru", "v5_1_ru", "v5_ru", "v4_ru", "v3_1_ru", "v4_ua"} <= set(MODELS)
    assert {"v3_en", "v3_en_indic", "v3_de", "v3_es", "v3_fr", "v5_cis_base", "v5_cis_base_nostress"} <= set(MODELS)
    assert {"lj_16khz", "baya_16khz", "natasha_16khz", "lj_v2", "baya_v2", "ruslan_v2"} <= set(MODELS)
    for name, model in MODELS.items():
        assert model.name == name
        assert re.fullmatch(r"https://models\.silero\.ai/models/tts/(ru|en|de|es|fr|ua)/v\w+\.(pt|jit)", model.url)
        assert len(set(model.speakers)) == len(model.speakers)
        assert all(spoken.speakers for spoken in model.spoken.values())
        assert model.commercial == ("cis" in name)
        assert (model.licence == LICENCE) == (not model.commercial)
        assert model.sha256 is None or re.fullmatch("[0-9a-f]{64}", model.sha256)
        assert model.sha256 is not None or model.size_bytes is None
        assert (model.format == "torchscript") == model.url.endswith(".jit")
        # What names no symbols of its own has a table of them.
        assert model.format == "package" or model.spoken[model.lang].symbols == TOKENS[model.lang]
    assert len({model.url for model in MODELS.values()}) == len(MODELS)
    assert MODELS["v3_en"].speakers[-1] == "en_117"
    assert "eugene" not in MODELS["v5_4_ru"].speakers
    assert MODELS["v4_ua"].langs == ("uk",)
    assert "/tts/ua/" in MODELS["v4_ua"].url
    assert len(MODELS["v5_cis_base"].spoken["ru"].speakers) == 29
    assert MODELS["lj_16khz"].url.endswith("/en/v1_lj_16000.jit")
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in PINNED)
    assert len(PINNED) == 11


def test_people_can_choose_among_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path))
    assert SPEC.voices is not None
    voices = SPEC.voices()
    assert {voice.name for voice in voices} == set(MODELS)
    for voice in voices:
        settings = SileroTtsSettings(model=voice.name, lang=voice.langs[0])
        assert settings.rate_hz in voice.rates_hz
        assert settings.choices_of("speaker") == voice.speakers
        assert voice.pinned == (MODELS[voice.name].sha256 is not None)
        assert voice.path is not None
        assert voice.path.is_relative_to(tmp_path)
    ukrainian = [voice for voice in voices if "uk" in voice.langs]
    assert [(v.name, v.speakers[0], v.commercial, v.licence) for v in ukrainian] == [
        ("v4_ua", "mykyta", False, "CC BY-NC-SA 4.0"),
        ("v5_cis_base_nostress", "ukr_igor", True, "MIT"),
        ("v5_cis_base", "ukr_igor", True, "MIT"),
    ]


def test_every_voice_that_is_taken_without_being_named_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path))
    taken = {SileroTtsSettings().model}
    taken |= {SileroTtsSettings(model="auto", lang=lang).model for lang in {m.lang for m in MODELS.values()}}
    assert {name for name in taken if MODELS[name].sha256 is None} == set()
    for name in ("interpreter", "recording", "simultaneous", "dubbing"):
        for target, source in (("ru", "en"), ("en", "ru"), ("de", "en"), ("es", "en"), ("fr", "en"), ("uk", "en")):
            params = {"source_lang": source, "target_lang": target}
            result = check_graph(
                shipped_graph(name), params=params | ({"input": "a.wav"} if name in ("recording", "dubbing") else {})
            )
            assert result.graph is not None, result.format_text()
            voices = [n.settings for n in result.graph.nodes.values() if n.spec.type == "silero_tts"]
            assert voices
            taken = {v.single(lang).model for v in voices for lang in v.by_language}
            assert all(MODELS[model].sha256 for model in taken)
            # What `fetch` gets, and the page says is missing, is the voice of that language alone.
            wanted = {lack.what for lack in missing_in(result.graph)} - {"nvidia/canary-1b-v2"}
            assert wanted == {fitting(target)[0].name}


def test_licences_are_told() -> None:
    assert "v5_ru, baya_v2, kseniya_v2, irina_v2, natasha_v2, ruslan_v2, aidar_v2, lj_v2" in SPEC.licence
    assert f"lj_16khz: {LICENCE} (non-commercial, share alike)" in SPEC.licence
    assert "v5_cis_base_nostress, v5_cis_base: MIT;" in SPEC.licence


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "v9_ru"}, "no model 'v9_ru': use v5_5_ru"),
        ({"model": "http://example.org/a.pt", "lang": "ru"}, "come over http: use an https URL"),
        ({"model": "file:///etc/a.pt", "lang": "ru"}, "come over file"),
        ({"model": "some.pt"}, "set lang"),
        ({"model": "v5_5_ru", "lang": "en"}, "speaks ru, not 'en'; v3_en, v3_en_indic, lj_v2, lj_16khz do"),
        ({"lang": "fi"}, r"v5_5_ru speaks ru, not 'fi'; \{type: espeak_tts, lang: fi\} does"),
        ({"lang": "ja"}, "v5_5_ru speaks ru, not 'ja'; no element of Tolmach's does"),
        ({"model": "auto", "lang": "fi"}, r"no Silero model speaks 'fi'.*\{type: espeak_tts, lang: fi\} does"),
        ({"voices": {"ru": "auto", "fi": "auto"}}, r"no Silero model speaks 'fi'.*\{type: espeak_tts, lang: fi\} does"),
        ({"model": "v5_5_ru", "speaker": "en_0"}, "no speaker 'en_0'; it has baya, aidar"),
        ({"model": "v5_4_ru", "speaker": "eugene"}, r"no speaker 'eugene'; it has baya, aidar, kseniya, xenia \["),
        ({"model": "v5_5_ru", "speaker": "random"}, "no speaker 'random'"),
        ({"model": "v3_en", "speaker": "baya"}, "en_0, en_1, en_2, …, en_117"),
        ({"model": "v5_cis_base", "speaker": "ukr_igor"}, "no speaker 'ukr_igor' of 'ru'; it has ru_zhadyra"),
        ({"model": "v5_cis_base", "lang": "uk", "speaker": "ru_vika"}, "of 'uk'; it has ukr_igor, ukr_roman"),
        ({"rate_hz": 16000}, "v5_5_ru speaks at 8000, 24000, 48000 Hz, not at 16000 Hz"),
        ({"model": "lj_16khz", "rate_hz": 48000}, "lj_16khz speaks at 16000 Hz, not at 48000 Hz"),
        ({"rate_hz": 44100}, "8000, 16000, 24000 or 48000"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"device": "tpu"}, "no device 'tpu'"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_check_time(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SileroTtsSettings(**given)


def test_pads_follow_the_model() -> None:
    sink, src = SPEC.pads_for(SileroTtsSettings(model="v3_en", rate_hz=24000))
    assert sink.caps == Caps.parse("text/x-translation, lang=en, script=latn")
    assert src.caps == Caps.parse("audio/raw, rate=24000, channels=1, segmented=true, lang=en")
    sink, _ = SPEC.pads_for(SileroTtsSettings())
    assert sink.caps == Caps.parse("text/x-translation, lang=ru, script=cyrl")
    sink, _ = SPEC.pads_for(SileroTtsSettings(model="kazakh.pt", lang="kk"))
    assert sink.caps == Caps.parse("text/x-translation, lang=kk, script=cyrl")


@pytest.mark.parametrize(
    ("target_lang", "voice", "fits"),
    [
        ("ru", {"type": "silero_tts"}, True),
        ("en", {"type": "silero_tts"}, False),
        ("en", {"type": "silero_tts", "model": "v3_en"}, True),
        ("ru", {"type": "silero_tts", "model": "v3_en"}, False),
        ("ru", {"type": "espeak_tts", "lang": "ru"}, True),
        ("ru", {"type": "espeak_tts", "lang": "bg"}, False),
    ],
)
def test_a_voice_is_not_given_a_language_it_cannot_speak(target_lang: str, voice: dict[str, str], fits: bool) -> None:
    elements = {
        "in": {"type": "test_src", "rate_hz": 16000},
        "vad": {"type": "webrtc_vad"},
        "ast": {"type": "canary_ast", "source_lang": "en", "target_lang": target_lang},
        "tts": voice,
        "out": {"type": "fake_sink"},
    }
    document = {"version": 1, "name": "voices", "elements": elements, "links": ["in -> vad -> ast -> tts -> out"]}
    if fits:
        load_graph("voices.yaml", text=json.dumps(document), registry=Registry.builtin())
    else:
        with pytest.raises(GraphError) as refusal:
            load_graph("voices.yaml", text=json.dumps(document), registry=Registry.builtin())
        assert [d.code for d in refusal.value.diagnostics] == ["caps-mismatch"]


def test_a_model_that_lacks_the_usual_rate_speaks_at_its_highest() -> None:
    assert SileroTtsSettings(model="lj_16khz").rate_hz == 16000
    assert SileroTtsSettings(model="baya_v2").rate_hz == 16000
    assert SileroTtsSettings(model="baya_v2", rate_hz=8000).rate_hz == 8000
    assert SileroTtsSettings(model="v3_en").rate_hz == 48000
    # What several models speak leaves at one rate, which all of them have.
    assert SileroTtsSettings(voices={"en": "lj_16khz", "ru": "baya_v2"}).rate_hz == 16000
    assert SileroTtsSettings(model="baya_v2", voices={"en": "auto", "ru": "auto"}).rate_hz == 8000
    with pytest.raises(ValidationError, match="lj_16khz speaks at 16000 Hz"):
        SileroTtsSettings(voices={"en": "lj_16khz", "ru": "auto"})


def test_a_model_of_many_languages_speaks_the_one_that_is_meant() -> None:
    assert SileroTtsSettings(model="v5_cis_base").language == "ru"
    ukrainian = SileroTtsSettings(model="v5_cis_base", lang="uk")
    assert (ukrainian.language, ukrainian.speakers) == ("uk", ("ukr_igor", "ukr_roman"))
    both = SileroTtsSettings(
        voices={"ru": "auto", "uk": "auto", "en": "auto"}, model="v5_cis_base_nostress", speaker="ru_vika"
    )
    assert both.by_language == {"ru": "v5_cis_base_nostress", "uk": "v5_cis_base_nostress", "en": "auto"}
    assert [both.single(lang).speaker for lang in both.by_language] == ["ru_vika", None, None]
    assert both.single("uk").language == "uk"


def test_a_path_starts_from_the_graphs_folder(tmp_path: Path) -> None:
    settings = SileroTtsSettings(model="voices/mine.pt", lang="ru")
    with pytest.raises(ModelMissingError, match=r"no Silero model at .*voices/mine\.pt"):
        find_or_fetch(settings, tmp_path)
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "mine.pt").write_bytes(CONTENT)
    assert find_or_fetch(settings, tmp_path).read_bytes() == CONTENT


def test_an_unknown_file_is_refused_until_its_digest_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(CONTENT)
    monkeypatch.delenv(ALLOW_VARIABLE, raising=False)
    with pytest.raises(ModelRefusedError, match=DIGEST) as refusal:
        read_allowed(path, SileroTtsSettings(model=str(path), lang="ru"))
    assert f"sha256: {DIGEST}" in str(refusal.value)
    assert f"{ALLOW_VARIABLE}={DIGEST}" in str(refusal.value)
    with pytest.raises(ModelRefusedError, match=f"not {'0' * 64} as set"):
        read_allowed(path, SileroTtsSettings(model=str(path), lang="ru", sha256="0" * 64))
    package = read_allowed(path, SileroTtsSettings(model=str(path), lang="ru", sha256=DIGEST.upper()))
    assert (package.content, package.sha256) == (CONTENT, DIGEST)
    monkeypatch.setenv(ALLOW_VARIABLE, f"{'1' * 64}, sha256:{DIGEST}")
    assert read_allowed(path, SileroTtsSettings(model=str(path), lang="ru")).sha256 == DIGEST


def test_a_known_file_needs_no_question_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALLOW_VARIABLE, raising=False)
    path = tmp_path / "renamed.pt"
    path.write_bytes(CONTENT)
    settings = SileroTtsSettings(model=str(path), lang="ru")
    with pytest.raises(ModelRefusedError, match="which nobody has vouched for"):
        read_allowed(path, settings)
    monkeypatch.setattr(files, "PINNED", frozenset({DIGEST}))
    assert read_allowed(path, settings).sha256 == DIGEST
    # Under the name of another model it is the wrong file all the same.
    with pytest.raises(ModelRefusedError, match="as pinned"):
        read_allowed(path, SileroTtsSettings(model="v4_ru"))


def test_what_is_too_large_or_unreadable_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.pt"
    path.write_bytes(CONTENT)
    monkeypatch.setattr(files, "MAX_PACKAGE_BYTES", 1000)
    settings = SileroTtsSettings(model=str(path), lang="ru", sha256=DIGEST)
    with pytest.raises(ModelRefusedError, match="larger than"):
        read_allowed(path, settings)
    with pytest.raises(ModelMissingError, match="cannot read"):
        read_allowed(tmp_path, settings)


# Downloads: a real server with a certificate of its own, in this process -------------------------------------------

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], str]]:
    """Starts an https server that answers every request the same way; gives its address."""
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(ALLOW_VARIABLE, raising=False)
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
                pass

        server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"https://localhost:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def gives(content: bytes, length: int | None = None) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def redirects(to: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()

    return answer


def cached(tmp_path: Path) -> list[Path]:
    return [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_a_model_is_downloaded_once_and_stays_when_refused(serve: Callable[[Answer], str], tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        gives(CONTENT)(handler)

    url = serve(answer) + "/tts/mine.pt"
    with pytest.raises(ModelRefusedError, match=f"export {ALLOW_VARIABLE}={DIGEST}.*--set ELEMENT.sha256={DIGEST}"):
        fetch(SileroTtsSettings(model=url, lang="ru"))
    path = fetch(SileroTtsSettings(model=url, lang="ru", sha256=DIGEST))
    assert asked == ["/tts/mine.pt"]
    assert cached(tmp_path) == [path]
    assert path.read_bytes() == CONTENT
    assert path.name.startswith("mine-")


def test_two_addresses_never_share_a_file(serve: Callable[[Answer], str], tmp_path: Path) -> None:
    first, second = serve(gives(CONTENT)), serve(gives(CONTENT + b"!"))
    for server in (first, second):
        find_or_fetch(SileroTtsSettings(model=f"{server}/mine.pt", lang="ru"))
    assert len(cached(tmp_path)) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (gives(CONTENT, length=1 << 40), "larger than 1.0 GiB"),
        (redirects("http://localhost/mine.pt"), "not https"),
        (redirects("file:///etc/passwd"), "not allowed"),
        (lambda handler: handler.send_error(404), "Not Found"),
    ],
    ids=["too large", "to http", "to file", "missing"],
)
def test_a_bad_download_leaves_nothing_behind(
    serve: Callable[[Answer], str], tmp_path: Path, answer: Answer, message: str
) -> None:
    url = serve(answer) + "/mine.pt"
    with pytest.raises((ModelMissingError, ModelRefusedError), match=message):
        find_or_fetch(SileroTtsSettings(model=url, lang="ru"))
    assert cached(tmp_path) == []


def test_without_a_network_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path / "cache"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://localhost:9")  # the discard port: nobody listens
    with pytest.raises(ModelMissingError, match=r"v5_5_ru could not be downloaded from https://models\.silero\.ai"):
        fetch(SileroTtsSettings())
    assert cached(tmp_path) == []


@pytest.mark.parametrize(
    ("lang", "model"),
    [("ru", "v5_5_ru"), ("en", "v3_en"), ("EN", "v3_en"), ("uk", "v4_ua"), ("kk", "v5_cis_base_nostress")],
)
def test_auto_takes_the_newest_model_of_the_language(lang: str, model: str) -> None:
    settings = SileroTtsSettings(model="auto", lang=lang)
    assert settings.model == model
    assert settings.language == lang.lower()


@pytest.mark.parametrize("given", [{"lang": "fi"}, {}])
def test_auto_without_a_voice_for_the_language_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="model auto needs lang to be one of ru, uk, be"):
        SileroTtsSettings(model="auto", **given)
