"""Mistakes that people make in graph files: one message each, at its place, in plain words, with what to do."""

from __future__ import annotations

import pytest

from tolmach.pipelines.language.check import check_graph

GRAPH = """version: 1
params: {input: , output: out}
bins:
  voice:
    params: {lang: }
    elements:
      tts: {type: espeak_tts, lang: "${param:lang}"}
      dub: {type: file_sink, path: "${param:lang}/dub.wav"}
    links:
      - tts -> dub
    pads: {sink: tts.sink}
elements:
  in:     {type: file_src, path: "${param:input}"}
  to_16k: {type: resample, rate_hz: 16000, channels: 1}
  vad:    {type: silero_vad, hangover_ms: 500}
  ast:    {type: canary_ast, model: embedded:phrasebook}
  fork:   {type: tee}
  subs:   {type: subtitle_sink, path: "${param:output}/subtitles.srt"}
  say:    {type: bin/voice, lang: ru}
links:
  - in -> to_16k -> vad -> ast -> fork
  - fork -> subs
  - fork -> say
"""

COLUMN = "start all entries of one mapping in the same column"
NAME = "use letters, digits, '_' and '-', not starting with a digit or '-'"

# What is written, what is written instead, where the message stands, what it says, and the hint.
MISTAKES = [
    # YAML itself
    ("  vad:  ", "   vad:  ", "15:4", "this line is not indented like those before it", COLUMN),
    ("  vad:  ", " vad:  ", "15:2", "this line is not indented like those before it", COLUMN),
    ("  vad:  ", "\tvad:  ", "15:1", "a tab cannot stand here", "indent with spaces"),
    (
        "  fork:  ",
        "\u00a0 fork:  ",
        "18:3",
        "this line is not indented like those before it",
        "line 17 is indented with U+00A0; use plain spaces",
    ),
    ("tee}", "tee", "17:11", "this { is not closed", "look on line 17 for a missing }, comma or quote"),
    ("tee}", "tee}}", "17:22", "this } closes nothing", "remove it, or open it where it belongs"),
    ('.srt"}', ".srt}", "18:39", "this quote is not closed", "quotes come in pairs"),
    ('"${param:input}"', "${param:input}", "13:35", "a variable needs quotes here", 'write "${...}"'),
    (
        "16000, ch",
        "16000 ch",
        "14:51",
        "expected ',' or '}' here",
        "put a comma between entries, and quote a text that holds ': '",
    ),
    (
        '"${param:output}/subtitles.srt"',
        r'"C:\dir\subtitles.srt"',
        "18:43",
        "this backslash begins no escape that double quotes know",
        r"in single quotes a backslash is only a backslash: 'C:\dir\file.wav'",
    ),
    ("embedded:", "@", "16:37", "a text without quotes cannot start with @", "put it in quotes"),
    (
        "  fork: ",
        "  - fork: ",
        "17:3",
        "a list item cannot stand among the entries of a mapping",
        "write `key: value`",
    ),
    ("version: 1", "version:1", "1:1", "a ':' needs a space behind it", "write `key: value`"),
    ("version: 1", "version: '1", "1:10", "this quote is not closed", "quotes come in pairs"),
    ("links:\n  - in", "links: - in", "20:8", "a list item cannot start here", "start the list on the next line"),
    (
        '"${param:output}/subtitles.srt"',
        r'"C:\talks\new.srt"',
        "18:39",
        "path: a backslash in double quotes begins an escape; write the path in single quotes",
        None,
    ),
    # A direction that is found
    (
        "embedded:phrasebook",
        "embedded:phrasebook, source_lang: auto",
        "16:3",
        "canary_ast: source_lang auto needs `languages`, at least two different ones: languages: [en, ru]",
        None,
    ),
    (
        "model: embedded:phrasebook",
        "languages: [de, ru], source_lang: auto",
        "16:3",
        "canary_ast: nvidia/canary-1b-v2 translates only from and into English, not de to ru; use two graphs through "
        "English, or target_lang de to transcribe",
        None,
    ),
    (
        "embedded:phrasebook",
        "embedded:phrasebook, source_lang: auto, languages: [en, ru]",
        "23:5",
        "cannot link fork.src_1 -> say.tts.sink",
        "the language of what fork gives follows from what is spoken, and say.tts lacks en: give it a voice for each, "
        "voices: {en: …, ru: …}",
    ),
    (
        'lang: "${param:lang}"}\n      dub',
        "voices: {ru: en-gb}}\n      dub",
        "7:7",
        "espeak_tts: voice 'en-gb' does not speak 'ru': set language and voice in voices to one language",
        None,
    ),
    ("hangover_ms: 500", "hangover_ms: 500 #ms", "15:11", "this { is not closed", None),
    (
        "version: 1\n",
        "version: 1\ndescription: 'Alice's talk'\n",
        "2:21",
        "the text goes on behind a closed quote",
        'quote with the other kind of quotes a text that holds one: "Alice\'s talk"',
    ),
    (
        '"${param:output}/subtitles.srt"',
        '"my "best".srt"',
        "18:44",
        "the text goes on behind a closed quote",
        None,
    ),
    ("tee}", "tee,, }", "17:22", "a value is missing before this ,", "an empty text is written ''"),
    (
        "embedded:phrasebook",
        "* all",
        "16:37",
        "this begins the name of an alias, and there is none",
        "quote a text that starts with & or *",
    ),
    (
        "version: 1\n",
        "version: 1\nname: > talk\n",
        "2:7",
        "a text behind | or > begins on the next line",
        "or put all of it in quotes",
    ),
    # Variables and params
    (
        "${param:output}/subtitles",
        "${env:A:-${env:B}}/subtitles",
        "18:40",
        "a variable cannot stand inside another",
        "give a default that is plain text",
    ),
    (
        "{input: , output: out}",
        "[input, output]",
        "2:9",
        "params must be a mapping",
        "params: {input: , output: out}",
    ),
    # The graph's own keys
    ("elements:\n  in", "element:\n  in", "12:1", "a graph has no 'element'", "did you mean 'elements'?"),
    ("links:\n  - in", "link:\n  - in", "20:1", "a graph has no 'link'", "did you mean 'links'?"),
    # Elements
    ("{type: tee}", "{type:tee}", "17:3", "element 'fork' has no type", "put a space behind the ':' in 'type:tee'"),
    (
        "rate_hz: ",
        "rate_hz:",
        "14:28",
        "resample has no setting 'rate_hz:16000'",
        "put a space behind the ':' in 'rate_hz:16000'",
    ),
    (
        "{type: tee}",
        "",
        "17:3",
        "element 'fork' must be a mapping",
        "indent its settings below it, further than its name",
    ),
    ("channels: 1", "channels: true", "14:54", "channels must be a number, got true", None),
    ("fork", "вилка", "17:3", "'вилка' is not a name for an element", NAME),
    ("fork", "fork.a", "17:3", "'fork.a' is not a name for an element", NAME),
    ("fork:   {", "fork {", "17:3", "'fork {type' is not a name for an element", NAME),
    # Links
    ("fork -> subs", "subs <- fork", "22:5", "'subs <- fork' is not an element or element.pad", None),
    ("- fork -> subs", "- fork: subs", "22:5", "a link must be a chain such as a -> b -> c", None),
    ("- fork -> subs", "- [fork, subs]", "22:5", "a link must be a chain such as a -> b -> c", None),
    ("- fork -> subs", "- 5", "22:5", "a link must be a chain such as a -> b -> c", None),
    ("- fork -> subs", "- fork.src_a -> subs", "22:5", "'fork' has no pad 'src_a'", "did you mean 'fork.src_0'?"),
    ("-> vad ->", "\n    -> vda ->", "21:5", "no element named 'vda'", "did you mean 'vad'? declared on line 15"),
    # Bins
    ("bin/voice", "voice", "19:18", "no element type named 'voice'", "did you mean 'bin/voice'?"),
    ("{type: bin/voice, lang", "{type: bin/voice, lnag", "19:29", "bin 'voice' has no param 'lnag'", None),
    ("{sink: tts", "{input: tts", "11:12", "'input' is not a name for a pad of a bin", "start it with sink or src"),
    ("    pads: {sink: tts.sink}\n", "", "22:13", "bin 'say' has no sink pads", None),
]


def test_the_graph_without_a_mistake_is_sound():
    assert check_graph("g.yaml", text=GRAPH, env={}).format_text() == ""


@pytest.mark.parametrize(("written", "instead", "place", "message", "hint"), MISTAKES, ids=[m[3] for m in MISTAKES])
def test_one_mistake_is_one_message(written, instead, place, message, hint):
    assert written in GRAPH
    everywhere = written == "fork"  # an element renamed where it is declared and where it is linked
    text = GRAPH.replace(written, instead) if everywhere else GRAPH.replace(written, instead, 1)
    result = check_graph("g.yaml", text=text, env={})
    (found,) = result.diagnostics
    assert (f"{found.span.line}:{found.span.column}", found.message) == (place, message)
    if hint is not None:
        assert found.hint == hint


def test_links_that_are_no_list_do_not_make_every_element_unused():
    before, _, chains = GRAPH.partition("links:\n  - in")
    result = check_graph("g.yaml", text=f"{before}links: in -> to_16k -> vad\n", env={})
    assert [(d.message, d.hint) for d in result.diagnostics] == [
        ("links must be a list of chains", "- in -> to_16k -> vad")
    ]
    assert chains


def test_elements_that_are_no_mapping_do_not_make_every_link_wrong():
    text = "version: 1\nelements:\n  - {name: a, type: test_src}\n  - {name: b, type: fake_sink}\nlinks: [a -> b]\n"
    assert [d.message for d in check_graph("g.yaml", text=text).diagnostics] == ["elements must be a mapping"]


@pytest.mark.parametrize("nothing", ["", "~", "{}"])
def test_a_graph_without_elements_is_no_graph(nothing):
    (found,) = check_graph("g.yaml", text=f"version: 1\nelements: {nothing}\nlinks: []\n").diagnostics
    assert (found.message, found.span.line) == ("the graph has no elements", 2)


def test_a_byte_order_mark_does_not_move_the_caret():
    shown = check_graph("g.yaml", text="\ufeffversion: 2\nelements: {a: {type: test_src}}\nlinks: [a]\n").format_text()
    assert "  1 | version: 2\n    |          ^\n" in shown
