"""The doctor runs what it calls usable."""

from __future__ import annotations

import dataclasses
import re

import av
import pytest

from tolmach.pipelines.cli.commands import doctor
from tolmach.pipelines.cli.commands.doctor import NotTried, try_element
from tolmach.pipelines.cli.main import main
from tolmach.pipelines.element import Element
from tolmach.pipelines.errors import TolmachError
from tolmach.pipelines.frames import Frame
from tolmach.pipelines.registry import Registry

MODELS = {"canary_ast", "espeak_tts", "subtitle_sink", "text_sink", "silero_tts", "whisper_ast"}
NOT_ALONE = {"webrtc_src": "call", "webrtc_sink": "call", "app_src": "program", "app_sink": "program"}


class Fails(Element):
    """Imports well and fails at work."""

    async def process(self, frame: Frame, pad: str) -> None:
        raise TypeError("open() got an unexpected keyword argument 'metadata_errors'")


@pytest.mark.parametrize("name", sorted(set(Registry.builtin()) - MODELS - set(NOT_ALONE)))
def test_every_element_can_be_tried(name: str) -> None:
    registry = Registry.builtin()
    assert name in try_element(registry.get(name), registry).split(" -> ")


@pytest.mark.parametrize(("name", "who"), NOT_ALONE.items())
def test_what_needs_somebody_else_says_whom(name: str, who: str) -> None:
    registry = Registry.builtin()
    with pytest.raises(NotTried, match=f"only a {who} can try it"):
        try_element(registry.get(name), registry)


@pytest.mark.models
@pytest.mark.parametrize("name", ["canary_ast", "espeak_tts", "subtitle_sink"])
def test_what_needs_translations_is_given_some(name: str) -> None:
    registry = Registry.builtin()
    assert "canary_ast" in try_element(registry.get(name), registry)


def test_what_is_not_on_this_machine_is_not_tried(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path))
    registry = Registry.builtin()
    with pytest.raises(NotTried, match=r"needs `tolmach fetch silero_tts`: v5_5_ru \(138\.7 MiB\)"):
        try_element(registry.get("silero_tts"), registry)


@pytest.mark.models
def test_a_library_that_changed_under_an_element_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    builtin = Registry.builtin()
    few = Registry({})
    for name in ("test_src", "fake_sink", "file_src", "resample"):
        few = few.extended(builtin.get(name))
    monkeypatch.setattr(Registry, "default", lambda: few)

    def open_without(*args: object, **kwargs: object) -> None:
        raise TypeError("open() got an unexpected keyword argument 'metadata_errors'")

    monkeypatch.setattr(av, "open", open_without)
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"! file_src .*fails at work: .*'metadata_errors'", shown)
    assert "resample: works (test_src -> resample -> fake_sink)" in shown
    assert "2 can be used: fake_sink, resample" in shown
    assert main(["doctor", "--quick"]) == 0


def test_an_element_that_fails_at_work_is_not_usable() -> None:
    identity = Registry.builtin().get("identity")
    failing = dataclasses.replace(identity, type="failing", build=f"{__name__}:Fails", example="{type: failing}")
    registry = Registry.builtin().extended(failing, origin="tolmach-failing")
    with pytest.raises(TolmachError, match="metadata_errors"):
        try_element(registry.get("failing"), registry)


@pytest.mark.parametrize("installed", [True, False])
def test_it_says_whether_a_cluster_can_be_used(
    installed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "RAY", doctor.RAY._replace(modules=("json" if installed else "no_such_module",)))
    for quiet in ("_elements", "_graphs", "_models", "_device", "_packages"):
        monkeypatch.setattr(doctor, quiet, lambda **options: iter(()))
    assert main(["doctor"]) == 0
    state = "installed" if installed else "not installed; `pip install 'tolmach[ray]'`"
    assert f"tolmach[ray], for models and recordings on a cluster: {state}\n" in capsys.readouterr().out
