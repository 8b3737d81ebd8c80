"""Seats of a graph: who sits where, and to whom words go."""

from __future__ import annotations

from pathlib import Path

import pytest

from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.web.catalogue.seats import MAX_SEATS, SeatPlan, require_session_graph, seats_of


def graph(name: str, root: Path, **params: str) -> Graph:
    return load_graph(str(root / f"config/{name}.yaml"), params=params)


def of(text: str, tmp_path: Path) -> Graph:
    path = tmp_path / "room.yaml"
    path.write_text(f"version: 1\n{text}")
    return load_graph(str(path))


@pytest.mark.parametrize(
    ("name", "seats"),
    [
        ("conversation", ["en speaks hears reads en", "ru speaks hears reads ru"]),
        ("phrasebook-conversation", ["en speaks hears reads en", "ru speaks hears reads ru"]),
        ("lecture", ["speaker speaks en", *(f"{lang} hears reads {lang}" for lang in ("ru", "de", "fr", "es", "en"))]),
        ("phrasebook-lecture", ["speaker speaks en", "ru hears reads ru", "en hears reads en"]),
    ],
)
def test_shipped_rooms_seat_people_by_their_language(name: str, seats: list[str], root: Path):
    found = [
        " ".join([seat["seat"], *(does for does in ("speaks", "hears", "reads") if seat[does]), seat["lang"]])
        for seat in seats_of(graph(name, root))
    ]
    assert sorted(found) == sorted(seats)
    assert found[0] == seats[0], "who speaks comes first"


def test_the_languages_of_a_conversation_can_be_chosen(root: Path):
    plan = SeatPlan(graph("conversation", root, first="de", second="en"))
    assert {name: seat.lang for name, seat in plan.seats.items()} == {"de": "de", "en": "en"}


def test_words_go_where_the_links_lead(root: Path):
    plan = SeatPlan(graph("phrasebook-lecture", root))
    assert plan.spoken_at("ast") == {"speaker"}
    assert plan.told_at("ast") == {"ru"}
    assert plan.told_at("asr") == {"en"}
    assert plan.told_at("vad") == {"ru", "en"}, "all are told that somebody speaks"
    assert plan.told_at("") == frozenset(), "what is of the graph itself is nobody's words"
    conversation = SeatPlan(graph("phrasebook-conversation", root))
    assert (conversation.spoken_at("there.ast"), conversation.told_at("there.ast")) == ({"en"}, {"ru"})
    assert (conversation.spoken_at("back.ast"), conversation.told_at("back.ast")) == ({"ru"}, {"en"})


def test_a_session_takes_no_graph_for_a_room(root: Path):
    require_session_graph(graph("echo", root))
    assert seats_of(graph("echo", root)) == []
    with pytest.raises(GraphError, match=r"'phrasebook-conversation' is for a room, with the seats en, ru: open one"):
        require_session_graph(graph("phrasebook-conversation", root))


def test_two_cannot_sit_on_one_chair(tmp_path: Path):
    text = """
elements:
  a: {type: webrtc_src, seat: en}
  b: {type: webrtc_src, seat: en}
  to_a: {type: webrtc_sink, seat: ru}
  to_b: {type: webrtc_sink, seat: de}
links: [a -> to_a, b -> to_b]
"""
    with pytest.raises(GraphError, match=r"a and b both stand at the seat 'en'; one webrtc_src belongs there"):
        SeatPlan(of(text, tmp_path))


def test_a_conversation_of_one_language_is_no_conversation(root: Path):
    with pytest.raises(GraphError, match="both stand at the seat 'en'"):
        SeatPlan(graph("conversation", root, first="en", second="en"))


def test_there_are_not_too_many_seats(tmp_path: Path):
    sinks = "\n".join(f"  s{n}: {{type: webrtc_sink, seat: s{n}}}" for n in range(MAX_SEATS))
    links = "\n".join(f"  - fork -> s{n}" for n in range(MAX_SEATS))
    sources = "elements:\n  in: {type: webrtc_src, seat: x}\n  fork: {type: tee}\n"
    text = f"{sources}{sinks}\nlinks:\n  - in -> fork\n{links}\n"
    with pytest.raises(GraphError, match=f"has {MAX_SEATS + 1} seats; a room has at most {MAX_SEATS}"):
        SeatPlan(of(text, tmp_path))


@pytest.mark.parametrize("name", ["two words", "-", "ä", "a" * 36, "a/b"])
def test_a_seat_has_a_name_that_fits_an_address(name: str, tmp_path: Path):
    with pytest.raises(GraphError, match="seat"):
        of(
            f"elements:\n  a: {{type: webrtc_src, seat: {name!r}}}\n  b: {{type: webrtc_sink}}\nlinks: [a -> b]\n",
            tmp_path,
        )


async def test_headless_a_seat_says_where_its_people_are(root: Path):
    with pytest.raises(
        Exception, match=r"nobody can be at its seat 'en'; run this graph with `tolmach serve` and open a"
    ):
        await GraphRunner(graph("phrasebook-conversation", root)).run()
