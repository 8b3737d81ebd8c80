"""The registry is a value; types are unique; built-ins are what they are called."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.unit.graph_specs import REGISTRY, SPECS
from tolmach.pipelines.registry import BUILTINS, ENTRY_POINT_GROUP, Entry, Registry, RegistryError, _specs


def test_extending_and_removing_give_another_registry():
    empty = Registry({})
    more = empty.extended(SPECS[0], origin="tests")
    assert (len(empty), len(more), len(more.without(SPECS[0].type))) == (0, 1, 0)
    assert more.get(SPECS[0].type) is SPECS[0]
    assert more.entry(SPECS[0].type).origin == "tests"


def test_a_type_is_declared_once():
    with pytest.raises(RegistryError, match=r"'file_src' is declared twice: by tests and by plug-in"):
        REGISTRY.extended(SPECS[0], origin="plug-in")


def test_types_come_in_alphabetical_order():
    assert list(REGISTRY) == sorted(s.type for s in SPECS)


def test_an_unknown_type_is_a_key_error():
    with pytest.raises(KeyError):
        REGISTRY.get("vad9000")


@pytest.mark.parametrize("target", ["tolmach.pipelines.builtin.pass_through:TEE", "tolmach.pipelines.caps:Caps"])
def test_an_entry_that_gives_another_spec_is_refused(target):
    registry = Registry({"identity": Entry(target, "plug-in")})
    with pytest.raises(RegistryError, match="is not the spec of 'identity'"):
        registry.get("identity")


@pytest.mark.parametrize("name", ["identity", "tee", "queue", "funnel", "fake_sink", "test_src"])
def test_the_engines_own_elements_are_found(name):
    assert Registry.builtin().get(name).type == name


def test_built_ins_are_lazy_strings():
    assert all(isinstance(target, str) and target.count(":") == 1 for target in BUILTINS.values())
    assert set(Registry.default()) >= set(BUILTINS)


def test_a_plug_in_written_for_the_old_names_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "old_plugin.py").write_text("from pipelines.element import ElementSpec\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("old", "old_plugin:SPEC", ENTRY_POINT_GROUP)
    with pytest.raises(RegistryError, match=r"it is older than the name tolmach\.pipelines: update or uninstall it"):
        _specs(point, "it")
