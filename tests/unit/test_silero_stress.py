"""Word stress from the package silero-stress, which ships real torch packages of Silero's."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.data.silero_package import build_package
from tests.unit.test_silero import RATE_HZ, heard, says
from tolmach.pipelines.bus import NoticeMessage, WarningMessage
from tolmach.pipelines.errors import ModelError
from tolmach.pipelines.testing import Harness
from tolmach.processors.hosting import HOSTS
from tolmach.processors.silero import stress, voices
from tolmach.processors.silero.files import cached_at
from tolmach.processors.silero.spec import SPEC, SileroTtsSettings

pytestmark = pytest.mark.models

installed = pytest.mark.skipif(not stress.is_installed(), reason="needs silero-stress: pip install silero-stress")


def test_who_places_the_stress() -> None:
    # The models that place none have the package do it; the others may.
    assert SileroTtsSettings(model="v5_cis_base_nostress").accentor == "ru"
    assert SileroTtsSettings(model="v5_cis_base_nostress", lang="kk").accentor is None
    assert SileroTtsSettings(model="v5_cis_base", lang="kk").accentor == "kk"
    assert SileroTtsSettings(model="baya_16khz").accentor == "ru"
    assert SileroTtsSettings(model="v5_cis_base", stress="model").accentor is None
    assert SileroTtsSettings(model="v4_ru").accentor is None
    assert SileroTtsSettings(model="v4_ru", stress="silero-stress").accentor == "ru"
    assert SileroTtsSettings(model="lj_16khz").accentor is None
    both = SileroTtsSettings(voices={"en": "auto", "ru": "auto"}, stress="silero-stress")
    assert [both.single(lang).accentor for lang in ("en", "ru")] == [None, "ru"]
    with pytest.raises(ValueError, match="silero-stress knows no 'en'"):
        SileroTtsSettings(model="v3_en", stress="silero-stress")


@pytest.fixture
def unmarked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings of a model that places no stress, known by name and in the cache."""
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path))
    info = voices.MODELS["v5_cis_base"]
    path = cached_at(info.url)
    path.parent.mkdir()
    digest = hashlib.sha256(build_package(path, speakers=info.spoken["ru"].speakers).read_bytes()).hexdigest()
    monkeypatch.setitem(voices.MODELS, "v5_cis_base", replace(info, sha256=digest, size_bytes=path.stat().st_size))
    return {"model": "v5_cis_base", "rate_hz": RATE_HZ, "pause_ms": 0}


async def spoken(settings: dict[str, Any], text: str) -> tuple[str, list[NoticeMessage]]:
    async with Harness(SPEC, **settings) as h:
        await h.push(says(1, text))
        await h.eos()
    return heard(h.audio()), [message for message in h.messages if isinstance(message, NoticeMessage)]


@installed
async def test_the_voice_is_given_marked_words(unmarked: dict[str, Any]) -> None:
    said, messages = await spoken(unmarked, "Мама купила замо\u0301к за 5 €.")
    assert said == "м+ама куп+ила зам+ок з+а п+ять +евро."
    assert messages == []
    for settings in ({"put_accent": False}, {"stress": "model"}):
        said, messages = await spoken({**unmarked, **settings}, "Мама.")
        assert (said, messages) == ("мама.", [])


@installed
def test_other_languages_are_marked_by_their_networks_and_rules() -> None:
    import torch

    threads = torch.get_num_threads()
    for lang, text, marked in (
        ("uk", "я люблю слухати казки.", "+я любл+ю сл+ухати казк+и."),
        ("be", "я люблю чытаць.", "+я любл+ю чыт+аць."),
        ("kk", "мен балалық шақта", "м+ен балал+ық шақт+а"),
    ):
        accentor = stress.load(lang)
        assert torch.get_num_threads() == threads, "its import takes one for everybody"
        assert torch.is_grad_enabled(), "its network turns gradients off for good"
        with ThreadPoolExecutor(1) as host:
            assert host.submit(accentor.run, [stress.Unmarked(text)]).result() == [marked]


@installed
def test_a_real_package_that_is_no_voice_is_one_clear_line() -> None:
    from tolmach.processors.silero import model as silero
    from tolmach.processors.silero.files import Package

    found = importlib.util.find_spec("silero_stress")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "data" / "accentor-ukr.pt"
    with pytest.raises(ModelError, match=r"accentor-ukr\.pt cannot be loaded as a Silero model: .*tts_models"):
        silero.load(Package(path, "", path.read_bytes()), "uk", "cpu")


async def test_without_the_package_it_is_told_and_the_voice_speaks_all_the_same(
    unmarked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("silero_stress", "silero_stress.accentor"):
        monkeypatch.setitem(sys.modules, name, None)
    said, messages = await spoken(unmarked, "Мама.")
    assert said == "мама."
    [warning] = messages
    assert isinstance(warning, WarningMessage)
    assert "places no word stress" in warning.text
    assert "pip install silero-stress" in warning.text
    HOSTS.unload_idle()  # that of another test
    with pytest.raises(ModelError, match="pip install silero-stress"):
        await spoken({**unmarked, "stress": "silero-stress"}, "Мама.")
