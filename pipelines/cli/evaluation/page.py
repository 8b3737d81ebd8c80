"""``index.html`` of an evaluation: one page that needs nothing from elsewhere, to read and to listen to.

Style, plots and sound stand in the file itself, and it runs no script: it may be sent to somebody, and opened from a
disk.
"""

from __future__ import annotations

import asyncio
import difflib
import html
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tolmach.pipelines.cli.batch.records import write_whole
from tolmach.pipelines.cli.evaluation.clips import Piece, data_uris
from tolmach.pipelines.cli.evaluation.headline import headline, number
from tolmach.pipelines.cli.evaluation.plots import Lane, Series, cumulative, histogram, points, timeline
from tolmach.pipelines.cli.evaluation.quality import normal_words

NAME = "index.html"

WORST = 20
"""Sentences to listen to."""

TIMELINES = 4
"""Recordings that are drawn in time."""

TIMELINE_S = 60.0
"""How much of each, s."""

MAX_MISHEARD = 12
"""Utterances of the dub that are shown as they were heard."""

RIGHT = 99.95
"""chrF of a sentence that needs no looking at."""

MAX_ROWS = 1000
"""Sentences, and recordings, that the tables show; all of them stand in eval.json."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A scored sentence, where it stands.

    Attributes:
        row: Its recording in ``eval.json``.
        data: The sentence there.
        dub: What the voice said of it: file and place, or None.
    """

    row: Mapping[str, Any]
    data: Mapping[str, Any]
    dub: Mapping[str, Any] | None


def write_page(folder: Path, results: Mapping[str, Any], references: Path) -> None:
    """Write the page. Blocks while clips are encoded.

    Args:
        folder: Of the evaluation.
        results: The contents of ``eval.json``.
        references: The set, for the recordings themselves.

    Raises:
        OSError: If it cannot be written.
    """
    worst = worst_sentences(results)
    root = references if references.is_dir() else references.parent
    clips = asyncio.run(_clips(worst, folder, root))
    write_whole(folder / NAME, render(results, worst, clips).encode("utf-8", errors="backslashreplace"))


def worst_sentences(results: Mapping[str, Any], most: int = WORST) -> list[Sentence]:
    """Sentences that are not as their reference, those with the lowest chrF first."""
    found = [
        Sentence(row, sentence, _dub(row, sentence))
        for row in results["recordings"]
        for sentence in row.get("sentences", ())
        if sentence["chrf"] is not None and sentence["chrf"] < RIGHT
    ]
    return sorted(found, key=lambda s: float(s.data["chrf"]))[:most]


def _dub(row: Mapping[str, Any], sentence: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The part of a voice's file that belongs to a sentence: all utterances that share most of it, or of themselves."""

    def shared(voice: Mapping[str, Any]) -> float:
        end = voice["source_end_s"] if voice["source_end_s"] is not None else voice["source_start_s"] + 0.001
        start = max(voice["source_start_s"], sentence["start_s"])
        shorter = min(end - voice["source_start_s"], sentence["end_s"] - sentence["start_s"])
        return float((min(end, sentence["end_s"]) - start) / max(0.001, shorter))

    mine = [v for v in row.get("voice", ()) if v["file"] and shared(v) > 0.5]
    if not mine:
        return None
    file = mine[0]["file"]
    ends = [v["offset_s"] + v["duration_s"] for v in mine if v["file"] == file]
    return {"file": file, "start_s": mine[0]["offset_s"], "end_s": max(ends)}


async def _clips(worst: Sequence[Sentence], folder: Path, root: Path) -> list[tuple[str | None, str | None]]:
    sources = [Piece(root / s.row["name"], s.data["start_s"], s.data["end_s"]) for s in worst]
    dubs = [
        Piece(folder / s.row["folder"] / s.dub["file"], s.dub["start_s"], s.dub["end_s"]) if s.dub is not None else None
        for s in worst
    ]
    heard = await data_uris(sources)
    return list(zip(heard, await data_uris(dubs, margin_s=0.0), strict=True))


def render(
    results: Mapping[str, Any],
    worst: Sequence[Sentence] = (),
    clips: Sequence[tuple[str | None, str | None]] = (),
) -> str:
    """The page.

    Args:
        results: The contents of ``eval.json``.
        worst: Sentences to show at length.
        clips: For each of them the recording's sound and the dub's, as data URIs.
    """
    style = resources.files(__package__ or "").joinpath("page.css").read_text(encoding="utf-8")
    title = f"{_text(results['title'])} · tolmach eval"
    policy = "default-src 'none'; style-src 'unsafe-inline'; media-src data:; img-src data:"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{_header(results)}
<main>
{"".join(_sections(results, worst, clips))}
</main>
</body>
</html>
"""


def _text(value: object) -> str:
    return html.escape(str(value))


# Sections ----------------------------------------------------------------------------------------------------------


def _header(results: Mapping[str, Any]) -> str:
    given = {**results["params"], **results["settings"]}
    facts = [
        f"graph <code>{_text(results['graph'])}</code>",
        f"set <code>{_text(results['set'])}</code>",
        *(f"<code>{_text(f'{name}={value}')}</code>" for name, value in given.items()),
        f'<time datetime="{_text(results["made"])}">{_text(results["made"][:16].replace("T", " "))} UTC</time>',
        f"tolmach {_text(results['tolmach'])}",
    ]
    notes = [*results["notes"]]
    if not results["complete"]:
        notes.insert(0, "Interrupted: what had been measured until then. --resume goes on.")
    failed = [row for row in results["recordings"] if row["status"] == "failed"]
    if failed:
        notes.append(f"{len(failed)} recordings failed and count nowhere; they are named in the table of recordings.")
    return f"""<header><div>
<h1>{_text(results["title"])}</h1>
<p class="about">{" · ".join(facts)}</p>
<dl class="cards">{"".join(_cards(results))}</dl>
{"".join(f'<p class="note">{_text(note)}</p>' for note in notes)}
</div></header>"""


def _cards(results: Mapping[str, Any]) -> Iterator[str]:
    def card(name: str, value: str, small: str = "") -> str:
        below = f"<small>{_text(small)}</small>" if small else ""
        return f"<div><dt>{_text(name)}</dt><dd>{_text(value)}{below}</dd></div>"

    for score in results["scores"][:3]:
        if score["chrf"] is not None:
            small = f"BLEU {number(score['bleu'], 1)} · {_count(score['sentences'], 'sentence')}"
            yield card(f"chrF {_arrow(score['direction'])}", number(score["chrf"], 1), small)
    if (lag := results["lag"]) is not None:
        aware = f"{lag['aware_s']['p50']:.2f} s with computing · " if lag["aware_s"] else ""
        yield card(
            "end of speech → text", f"{lag['unaware_s']['p50']:.2f} s", f"{aware}p95 {lag['unaware_s']['p95']:.2f} s"
        )
    if results["endpoints"]["fragments"] is not None:
        small = _count(results["endpoints"]["sentences_cut"], "sentence") + " cut"
        yield card("utterances a sentence", number(results["endpoints"]["fragments"]), small)
    for lang, rate in ((results.get("judge") or {}).get("by_language") or {}).items():
        if rate["word_error_rate"] is not None:
            small = f"of {rate['words']} words, by Whisper"
            yield card(f"dub misheard, {lang}", f"{rate['word_error_rate'] * 100:.0f} %", small)
    if results["speed"]["rtfx"]:
        yield card(
            "speed", f"{results['speed']['rtfx']:.1f}x", f"{_minutes(results['speed']['media_s'])} of recordings"
        )


def _sections(
    results: Mapping[str, Any], worst: Sequence[Sentence], clips: Sequence[tuple[str | None, str | None]]
) -> Iterator[str]:
    yield _headline(results)
    if plots := "".join(_plots(results)):
        yield f'<h2 id="plots">How it spreads</h2><div class="plots">{plots}</div>'
    if drawn := "".join(_timelines(results)):
        yield f'<h2 id="time">In time</h2><div class="timelines">{drawn}</div>'
    if worst:
        yield '<h2 id="worst">The worst sentences</h2>'
        yield (
            '<p class="soft">By chrF. Marked are words that only the <ins>reference</ins> has, and words that only the '
            "<del>output</del> has.</p>"
        )
        pairs = [*clips, *[(None, None)] * (len(worst) - len(clips))]
        items = (_worst(s, source, dub) for s, (source, dub) in zip(worst, pairs, strict=True))
        yield f'<ol class="worst">{"".join(items)}</ol>'
    yield _misheard(results)
    yield _recordings(results)
    yield _all_sentences(results)
    yield _explained(results)


def _headline(results: Mapping[str, Any]) -> str:
    against = results.get("against")
    head = ""
    if against is not None:
        other = f"{_text(against['graph'])}, {_text(against['made'][:10])}"
        head = (
            f'<thead><tr><th scope="col">figure</th><th scope="col">this</th><th scope="col">{other}</th></tr></thead>'
        )
    rows = []
    for row in headline(results):
        explained = f' <span class="soft">({_text(row.help)})</span>' if row.help else ""
        other = f"<td>{_text(row.against)}</td>" if against is not None else ""
        rows.append(f'<tr><th scope="row">{_text(row.name)}{explained}</th><td>{_text(row.value)}</td>{other}</tr>')
    table = f"<table>{head}<tbody>{''.join(rows)}</tbody></table>"
    return f'<h2 id="figures">Figures</h2>{_panel("figures", table)}'


def _plots(results: Mapping[str, Any]) -> Iterator[str]:
    def figure(caption: str, drawing: str) -> str:
        return f"<figure><figcaption>{_text(caption)}</figcaption>{drawing}</figure>" if drawing else ""

    rows = results["recordings"]
    chrf = [float(s["chrf"]) for row in rows for s in row.get("sentences", ()) if s["chrf"] is not None]
    if chrf:
        yield figure("chrF of each sentence", histogram(chrf, 0, 100, 20, "chrF", "sentences"))
    lags = [lag for row in rows for lag in row.get("lags_s", ())]
    curves = [
        Series("computing left out", [lag["unaware_s"] for lag in lags], "a"),
        Series("computing included", [lag["aware_s"] for lag in lags if lag["aware_s"] is not None], "b"),
    ]
    if lags:
        yield figure("From the end of speech to its text", cumulative(curves, "s", "share of utterances"))
    words = [float(d) for row in rows for s in row.get("sentences", ()) for d in s["delays_s"]]
    if words:
        drawing = cumulative([Series("words", words)], "s", "share of words")
        yield figure("From the begin of a sentence to each of its words", drawing)
    voices = [(v["source_start_s"], v["end_offset_s"]) for row in rows for v in row.get("voice", ())]
    if len(voices) > 2:
        drawing = points(
            [Series("voice", voices)], "s into the recording", "s", "how long after its source a voice ends"
        )
        yield figure("How long after its source the voice ends", drawing)
    pieces = [s["utterances"] for row in rows for s in row.get("sentences", ())]
    if len(set(pieces)) > 1:
        most = min(10, max(pieces)) + 1
        yield figure("Utterances of each sentence", histogram(pieces, 0, most, most, "utterances", "sentences"))


def _timelines(results: Mapping[str, Any]) -> Iterator[str]:
    """Where sentences are, where they were cut and when the voice is heard, for recordings with several of them."""
    rows = [row for row in results["recordings"] if len(row.get("sentences", ())) > 1]
    for row in rows[:TIMELINES]:
        voices = [(v["start_s"], v["start_s"] + v["duration_s"], v["text"]) for v in row["voice"]]
        end_s = min(TIMELINE_S, max([row["media_s"], *(end for _, end, _ in voices)]))
        said = [(s["start_s"], s["end_s"], s["transcript"] or s["reference"]) for s in row["sentences"]]
        cuts = [(c["start_s"], c["end_s"], f"{c['utterance']}: {c['cut_by'] or c['reason']}") for c in row["cuts"]]
        lanes = [
            Lane("sentences", said, "s"),
            Lane("utterances", cuts),
            *([Lane("voice", voices, "b")] if voices else []),
        ]
        first = f", the first {TIMELINE_S:.0f} s" if row["media_s"] > TIMELINE_S else ""
        drawing = timeline(lanes, end_s, row["name"])
        yield f'<figure tabindex="0"><figcaption>{_text(row["name"])}{first}</figcaption>{drawing}</figure>'


def _misheard(results: Mapping[str, Any]) -> str:
    judge = results.get("judge")
    if judge is None or not judge["misheard"]:
        return ""
    rows = []
    for m in judge["misheard"][:MAX_MISHEARD]:
        said, heard = marked(m["said"], m["heard"], m["lang"])
        rows.append(
            f'<tr><th scope="row">{_text(m["recording"])}</th><td lang="{_text(m["lang"])}">{said}</td>'
            f'<td lang="{_text(m["lang"])}">{heard or "<em>nothing</em>"}</td></tr>'
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("recording", "the voice was given", "the judge heard"))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<h2 id="misheard">The dub, as it is heard</h2>{_panel("the dub, as it is heard", table)}'


def _worst(sentence: Sentence, source: str | None, dub: str | None) -> str:
    row, data = sentence.row, sentence.data
    target, spoken = row["target_lang"] or "und", row["source_lang"] or "und"
    wanted, given = marked(data["reference"], data["output"], target)
    place = f" · {data['start_s']:.1f} to {data['end_s']:.1f} s" if len(row["sentences"]) > 1 else ""
    pieces = data["utterances"]
    cut = f' <span class="pill bad">cut into {pieces}</span>' if pieces > 1 else ""
    texts = [("said", data["transcript"] and _text(data["transcript"]), spoken)]
    if data["understood"]:
        texts.append(("understood", _text(data["understood"]), spoken))
    texts += [("reference", wanted, target), ("output", given or "<em>nothing</em>", target)]
    listed = "".join(f'<dt>{name}</dt><dd lang="{_text(lang)}">{text}</dd>' for name, text, lang in texts if text)
    sounds = "".join(
        f'<label>{name}<audio controls preload="none" src="{uri}"></audio></label>'
        for name, uri in (("recording", source), ("dub", dub))
        if uri is not None
    )
    rejected = (
        "".join(f' <span class="pill bad">{_text(why)}</span>' for why in row["rejected"]) if not data["output"] else ""
    )
    return f"""<li><div class="top"><h3>{_text(row["name"])}<span class="soft">{place}</span></h3>
<span>{rejected}{cut} <span class="pill {_grade(data["chrf"])}">chrF {data["chrf"]:.1f}</span></span></div>
<dl class="texts">{listed}</dl>{f'<div class="sound">{sounds}</div>' if sounds else ""}</li>"""


def _grade(chrf: float) -> str:
    return "bad" if chrf < 30 else "good" if chrf >= 60 else ""


def marked(reference: str, output: str, lang: str) -> tuple[str, str]:
    """Both texts as HTML, with the words marked that the other one has not; case and punctuation do not count."""
    wanted, given = reference.split(), output.split()
    left_keys, right_keys = ([" ".join(normal_words(word, lang)) for word in words] for words in (wanted, given))
    left: list[str] = []
    right: list[str] = []
    for kind, a0, a1, b0, b1 in difflib.SequenceMatcher(None, left_keys, right_keys, autojunk=False).get_opcodes():
        mine, theirs = _text(" ".join(wanted[a0:a1])), _text(" ".join(given[b0:b1]))
        if kind == "equal":
            left.append(mine)
            right.append(theirs)
            continue
        left += [f"<ins>{mine}</ins>"] if mine else []
        right += [f"<del>{theirs}</del>"] if theirs else []
    return " ".join(left), " ".join(right)


def _recordings(results: Mapping[str, Any]) -> str:
    rows = []
    for row in results["recordings"][:MAX_ROWS]:
        scored = [float(s["chrf"]) for s in row.get("sentences", ()) if s["chrf"] is not None]
        mean = f"{statistics.fmean(scored):.1f}" if scored else "–"
        languages = (
            _arrow(f"{row['source_lang'] or '–'}-{row['target_lang'] or '–'}") if row["has_speech"] else "no speech"
        )
        rejected = ", ".join(f"{count} {why}" for why, count in row.get("rejected", {}).items())
        status = "" if row["status"] == "measured" else row["status"]
        remarks = "; ".join(filter(None, (status, rejected and f"rejected: {rejected}", *row["errors"])))
        rows.append(
            f'<tr><th scope="row">{_text(row["name"])}</th><td>{_text(languages)}</td>'
            f'<td class="n">{_seconds(row.get("media_s"))}</td><td class="n">{len(row.get("sentences", ()))}</td>'
            f'<td class="n">{row.get("utterances", "–")}</td><td class="n">{mean}</td><td>{_text(remarks)}</td></tr>'
        )
    names = (
        ("recording", ""),
        ("languages", ""),
        ("length", "n"),
        ("sentences", "n"),
        ("utterances", "n"),
        ("chrF", "n"),
    )
    head = "".join(f'<th scope="col" class="{kind}">{name}</th>' for name, kind in (*names, ("remarks", "")))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<h2 id="recordings">Recordings</h2>{_panel("recordings", table)}{_more(len(results["recordings"]))}'


def _all_sentences(results: Mapping[str, Any]) -> str:
    found = [(row, s) for row in results["recordings"] for s in row.get("sentences", ())]
    if not found:
        return ""
    rows = []
    for row, s in found[:MAX_ROWS]:
        target, spoken = _text(row["target_lang"] or "und"), _text(row["source_lang"] or "und")
        chrf = "–" if s["chrf"] is None else f"{s['chrf']:.1f}"
        rows.append(
            f'<tr><td>{_text(row["name"])}</td><td lang="{spoken}">{_text(s["transcript"])}</td>'
            f'<td lang="{target}">{_text(s["reference"])}</td><td lang="{target}">{_text(s["output"])}</td>'
            f'<td class="n">{chrf}</td><td class="n">{s["utterances"]}</td></tr>'
        )
    names = ("recording", "said", "reference", "output", "chrF", "utterances")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    title = f"All {_count(len(found), 'sentence')}"
    return f"<details><summary>{title}</summary>{_panel(title, table)}{_more(len(found))}</details>"


def _panel(name: str, table: str) -> str:
    """A table that scrolls where it is wider than the page, with a keyboard, too."""
    return f'<div class="panel" tabindex="0" role="region" aria-label="{_text(name)}">{table}</div>'


def _more(count: int) -> str:
    return (
        f'<p class="soft">The first {MAX_ROWS} of {count}; all of them stand in eval.json.</p>'
        if count > MAX_ROWS
        else ""
    )


EXPLAINED = (
    ("chrF, BLEU", "How much of the reference the output shares, in sequences of letters and of words (sacrebleu)."),
    (
        "LongYAAL, StreamLAAL",
        "How far words lag behind an interpreter who is always as far as the speaker, averaged over words, on texts "
        "aligned to the reference sentences (OmniSTEval). Without computing: any machine gives the same figure.",
    ),
    (
        "end of speech → text",
        "From the last speech of an utterance to its whole text, the silence that ends it included.",
    ),
    (
        "voice starts, ends after source",
        "As a listener hears it: a voice begins when its text is there and the one before has been said. If the end "
        "offset grows, the voice is slower than the speaker.",
    ),
    ("dub misheard", "Words that Whisper does not hear as they were given to the voice."),
    ("utterances a sentence", "Above 1 pauses cut sentences; below 1 sentences share an utterance."),
    ("real-time factor", "Wall time over media time, models loaded. Below 1 it keeps up with live speech."),
)


def _explained(results: Mapping[str, Any]) -> str:
    terms = "".join(f"<dt>{_text(name)}</dt><dd>{_text(said)}</dd>" for name, said in EXPLAINED)
    signatures = sorted({s[k] for s in results["scores"] for k in ("bleu_signature", "chrf_signature") if s[k]})
    made = "".join(f"<dd><code>{_text(signature)}</code></dd>" for signature in signatures)
    signed = f"<dt>sacrebleu signatures</dt>{made}" if made else ""
    return f"""<details><summary>What the figures mean</summary><dl>{terms}{signed}</dl></details>
<footer>Made by <code>tolmach eval</code>. The same for programs: <code>eval.json</code>.</footer>"""


def _arrow(direction: str) -> str:
    return direction.replace("-", " → ", 1)


def _count(number_of: int, noun: str) -> str:
    return f"{number_of} {noun}{'' if number_of == 1 else 's'}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
