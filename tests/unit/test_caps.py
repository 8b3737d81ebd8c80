"""The caps algebra: written form, intersect, subset, fixate."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tolmach.pipelines.caps import Caps, IntRange, Structure

scalars = st.one_of(
    st.booleans(), st.integers(-50, 50), st.sampled_from(["ru", "en", "cyrl", "8", "true", 'a "b" \\', ""])
)
ranges = st.tuples(st.integers(-50, 50), st.integers(0, 60)).map(lambda p: IntRange(p[0], p[0] + p[1]))
values = st.one_of(st.frozensets(scalars, min_size=1, max_size=3), ranges)
structures = st.builds(
    Structure.of,
    st.sampled_from(["audio/raw", "text/x-translation"]),
    st.dictionaries(st.sampled_from(["rate", "channels", "lang"]), values, max_size=3),
)
caps = st.one_of(st.just(Caps.any()), st.lists(structures, max_size=3).map(Caps.of))


@settings(deadline=None)
@given(caps, caps)
def test_intersection_is_commutative(a, b):
    assert a.intersect(b) == b.intersect(a)


@settings(deadline=None)
@given(caps, caps, caps)
def test_intersection_is_associative(a, b, c):
    assert a.intersect(b).intersect(c) == a.intersect(b.intersect(c))


@settings(deadline=None)
@given(caps)
def test_intersection_is_idempotent(a):
    assert a.intersect(a) == a


@settings(deadline=None)
@given(caps, caps)
def test_intersection_lies_within_both(a, b):
    both = a.intersect(b)
    assert both.is_subset(a)
    assert both.is_subset(b)


@settings(deadline=None)
@given(caps)
def test_any_and_empty_are_the_ends_of_the_scale(a):
    assert a.intersect(Caps.any()) == a
    assert a.intersect(Caps.empty()).is_empty
    assert Caps.empty().is_subset(a)
    assert a.is_subset(Caps.any())


@settings(deadline=None)
@given(caps)
def test_the_written_form_reads_back(a):
    assert Caps.parse(str(a)) == a


@settings(deadline=None)
@given(caps, st.dictionaries(st.sampled_from(["rate", "channels", "lang"]), scalars))
def test_fixating_chooses_from_what_is_allowed(a, prefer):
    fixed = a.fixate(prefer)
    assert fixed.is_subset(a)
    assert fixed.is_fixed or a.is_any or a.is_empty
    assert fixed == a.fixate(prefer)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_text_breaks_the_parser(text):
    found = None
    with contextlib.suppress(ValueError):
        found = Caps.parse(text)
    assert found is None or Caps.parse(str(found)) == found


def test_a_boolean_is_not_a_number():
    assert not Caps.parse("audio/raw, segmented=true").can_intersect(Caps.parse("audio/raw, segmented=1"))


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        ("audio/raw, rate=[8000, 48000]", "audio/raw, rate=16000", "audio/raw, rate=16000"),
        ("audio/raw, rate=[1, 5]", "audio/raw, rate=[4, 9]", "audio/raw, rate=[4, 5]"),
        ("audio/raw, rate={1, 5}", "audio/raw, rate=[4, 9]", "audio/raw, rate=5"),
        ("audio/raw", "audio/raw, channels=1", "audio/raw, channels=1"),
        ("audio/raw", "text/x-translation", "EMPTY"),
        ("text/x-translation, lang=en", "text/x-translation, lang=ru", "EMPTY"),
        ("audio/raw ; text/x-translation", "text/x-translation, lang=ru", "text/x-translation, lang=ru"),
    ],
)
def test_intersection(a, b, both):
    assert str(Caps.parse(a).intersect(Caps.parse(b))) == both


@pytest.mark.parametrize(
    ("wanted", "got"), [(44100, 44100), (96000, 48000), (None, 8000), ("high", 8000), (True, 8000)]
)
def test_a_range_takes_the_nearest_wanted_value(wanted, got):
    prefer = {} if wanted is None else {"rate": wanted}
    assert Caps.parse("audio/raw, rate=[8000, 48000]").fixate(prefer).value("rate") == got


def test_the_alternative_that_matches_most_wins():
    both = Caps.parse("audio/raw, rate=8000, channels=1 ; audio/raw, rate=48000, channels=2")
    assert str(both.fixate({"channels": 2})) == "audio/raw, channels=2, rate=48000"


def test_a_subset_needs_every_field_of_the_other():
    assert Caps.parse("audio/raw, rate=16000, channels=1").is_subset(Caps.parse("audio/raw, rate=[8000, 48000]"))
    assert not Caps.parse("audio/raw").is_subset(Caps.parse("audio/raw, rate=16000"))
    assert not Caps.any().is_subset(Caps.parse("audio/raw"))


@pytest.mark.parametrize(
    "text",
    [
        "audio",
        "audio/raw, rate",
        "audio/raw, rate=",
        "audio/raw, rate=[5, 1]",
        "audio/raw, rate=1, rate=2",
        "audio/raw x",
    ],
)
def test_broken_caps_are_refused(text):
    with pytest.raises(ValueError, match=r"caps|range"):
        Caps.parse(text)
