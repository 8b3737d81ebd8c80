"""A voice comes over a line that breaks, and afterwards no network is asked for anything."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.data.silero_package import ENGLISH, build_package, build_script
from tests.unit.test_download import Server, server
from tests.unit.test_silero import RATE_HZ, heard, says
from tolmach.pipelines.bus import LoadingMessage
from tolmach.pipelines.errors import ModelMissingError, ModelRefusedError
from tolmach.pipelines.models import download
from tolmach.pipelines.testing import Harness
from tolmach.processors.hosting import HOSTS
from tolmach.processors.silero import voices
from tolmach.processors.silero.files import cached_at, fetch
from tolmach.processors.silero.spec import SPEC, SileroTtsSettings

__all__ = ["server"]  # a fixture

pytestmark = pytest.mark.models


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TOLMACH_ALLOW_SHA256", raising=False)
    monkeypatch.setattr(download, "WAIT_S", (0,) * len(download.WAIT_S))
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Refuses every name and every connection, and notes it."""
    noted: list[object] = []

    def refuse(*args: object, **_: object) -> NoReturn:
        noted.append(args)
        raise OSError("no network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    HOSTS.unload_idle()
    yield noted
    HOSTS.unload_idle()


def publish(monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, url: str) -> None:
    """Have a file stand for a published one."""
    digest = hashlib.sha256(content).hexdigest()
    info = replace(voices.MODELS[name], url=url, sha256=digest, size_bytes=len(content))
    monkeypatch.setitem(voices.MODELS, name, info)


async def spoken(text: str, language: str, **settings: Any) -> Harness:
    async with Harness(SPEC, pause_ms=0, **settings) as h:
        await h.push(says(1, text, language))
        await h.eos()
    return h


async def test_a_voice_comes_over_a_line_that_breaks_and_then_needs_none(
    cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = build_package(cache / "v4.pt").read_bytes()
    server.breaks = [5000, 0, 100]
    publish(monkeypatch, "v4_ru", server.content, server.url)
    h = await spoken("Да.", "ru", model="v4_ru", speaker="baya", rate_hz=RATE_HZ)
    assert heard(h.audio()) == "да."
    assert [ranges for _, ranges, _ in server.asked] == [None, "bytes=5000-", "bytes=5000-", "bytes=5100-"]
    told = [message.text for message in h.messages if isinstance(message, LoadingMessage)]
    assert any(line.startswith("downloading v4_ru of ") for line in told)
    assert any(line.startswith("going on with v4_ru at 4.9 KiB of ") for line in told)
    server.asked.clear()
    assert fetch(SileroTtsSettings(model="v4_ru")) == cached_at(server.url)
    assert server.asked == []


async def test_a_file_that_was_damaged_in_the_cache_is_fetched_anew(
    cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, "lj_16khz", server.content, server.url)
    path = cached_at(server.url)
    path.parent.mkdir(parents=True)
    path.write_bytes(server.content[:-1] + b"!")
    assert fetch(SileroTtsSettings(model="lj_16khz")).read_bytes() == server.content


async def test_with_the_models_in_the_cache_no_network_is_asked(
    cache: Path, asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    package, script = build_package(cache / "v5.pt", v5=True, wrapped=True), build_script(cache / "lj.jit")
    for name, path in (("v5_5_ru", package), ("lj_16khz", script)):
        publish(monkeypatch, name, path.read_bytes(), voices.MODELS[name].url)
        kept = cached_at(voices.MODELS[name].url)
        kept.parent.mkdir(parents=True, exist_ok=True)
        path.rename(kept)
    russian = await spoken("Да.", "ru", model="v5_5_ru", rate_hz=RATE_HZ)
    assert heard(russian.audio()) == "да."
    english = await spoken("Yes.", "en", model="lj_16khz")
    assert heard(english.audio(), ENGLISH, rate_hz=16000) == "yes."
    assert asked == []
    # And the guard guards: without its file the voice asks for one, and says how to bring it.
    cached_at(voices.MODELS["v5_5_ru"].url).unlink()
    with pytest.raises(
        ModelMissingError, match=r"v5_5_ru could not be downloaded.*Without a network, run `tolmach fetch"
    ):
        await spoken("Да.", "ru", model="v5_5_ru", rate_hz=RATE_HZ)
    assert asked


async def test_a_known_file_by_its_path_is_held_to_its_terms(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build_package(cache / "renamed.pt")
    publish(monkeypatch, "v4_ru", path.read_bytes(), voices.MODELS["v4_ru"].url)
    given = {"model": str(path), "lang": "ru", "rate_hz": RATE_HZ, "sha256": voices.MODELS["v4_ru"].sha256}
    assert (await spoken("Да.", "ru", **given)).audio().any()
    with pytest.raises(ModelRefusedError, match=r"renamed\.pt is v4_ru, which may not be used commercially \(CC BY-NC"):
        await spoken("Да.", "ru", **given, commercial=True)
