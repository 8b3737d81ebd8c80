"""The simulation of docs/SCALE.md: near what was measured, the same every time, and quoted as it is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.scale_simulation import MEASURED, Simulation, canary_gpu, check, phrasebook_cpu, profiles

SCALE = (Path(__file__).resolve().parents[2] / "docs" / "SCALE.md").read_text(encoding="utf-8")
PEOPLE = profiles()


def test_it_foretells_sixteen_sessions_from_one():
    found = check(900)
    assert found[1][0] == pytest.approx(MEASURED[1][0], abs=0.1), "fitted to it"
    assert found[16][0] == pytest.approx(MEASURED[16][0], rel=0.15)
    assert found[16][1] == pytest.approx(MEASURED[16][1], rel=0.15)


def test_a_model_is_never_busier_than_all_the_time_and_answers_everybody():
    talk = replace(PEOPLE["conversation"], asks=1.0)
    found = Simulation(phrasebook_cpu(), talk, 8).go(200)
    assert 0 < found.busy_s <= found.seconds
    assert min(found.answers) > 0
    expected = 8 * 180 * talk.share / 2.0
    assert len(found.answers) == pytest.approx(expected, rel=0.15), "a clip lasts 2 s"


def test_more_sessions_wait_longer_and_share_batches():
    few, many = (Simulation(canary_gpu(), PEOPLE["conversation"], count).go(60) for count in (4, 128))
    assert few.p95_s < many.p95_s
    assert sum(few.batches) / len(few.batches) < 1.2 < sum(many.batches) / len(many.batches)
    apart = Simulation(replace(canary_gpu(), merge=False), PEOPLE["conversation"], 128).go(60)
    assert apart.p95_s > many.p95_s, "what batches are for"


def test_what_cannot_be_served_is_said_to_fall_behind():
    found = Simulation(phrasebook_cpu(), PEOPLE["lecture"], 200).go(200)
    assert found.hopeless
    assert found.p95_s == float("inf")


@pytest.mark.parametrize("name", ["conversation", "lecture", "simultaneous"])
def test_the_tables_are_what_it_prints(name: str):
    section = SCALE.partition(f"<!-- {name} -->")[2].partition("<!--")[0]
    quoted = dict(re.findall(r"^\| (\d+) \| (.+) \|$", section, re.MULTILINE))
    assert set(quoted) > {"1", "16"}
    for count in ("1", "16"):
        assert Simulation(canary_gpu(), PEOPLE[name], int(count)).go(120).row() == quoted[count]
