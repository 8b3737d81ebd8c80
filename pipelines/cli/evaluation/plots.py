"""Small SVG plots that stand in a page: histograms, cumulative curves, points over time.

They take their colours from the page's style sheet, so they are right in light and dark, and say in words what they
show, for those who do not see them.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

WIDTH, HEIGHT = 520, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 14, 40
MAX_POINTS = 2000
"""Points drawn of one series; of more every so manieth."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one name.

    Attributes:
        name: What they are.
        values: For curves the values; for points ``(x, y)`` pairs.
        style: Class in the page's style sheet, ``a`` or ``b``.
    """

    name: str
    values: Sequence[float] | Sequence[tuple[float, float]]
    style: str = "a"


def nice_step(span: float, wanted: int = 5) -> float:
    """A step of 1, 2 or 5 times a power of ten, so that about ``wanted`` of them fill a span."""
    if span <= 0 or not math.isfinite(span):
        return 1.0
    raw = span / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values from ``low`` to ``high``."""
    step = nice_step(high - low, wanted)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) + 0.0 for n in range(first, math.floor(high / step + 1e-9) + 1)]


class _Frame:
    """Axes of a plot: from values to places."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.x0, self.x1 = x if x[1] > x[0] else (x[0], x[0] + 1)
        self.y0, self.y1 = y if y[1] > y[0] else (y[0], y[0] + 1)

    def x(self, value: float) -> str:
        return f"{LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT):.1f}"

    def y(self, value: float) -> str:
        return f"{HEIGHT - BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (HEIGHT - TOP - BOTTOM):.1f}"

    def axes(self, x_label: str, y_label: str, *, percent: bool = False, whole: bool = False) -> str:
        parts = []
        for value in ticks(self.y0, self.y1, 4):
            if whole and value % 1:
                continue
            said = f"{value * 100:g} %" if percent else f"{value:g}"
            parts.append(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(value)}" y2="{self.y(value)}"/>'
            )
            parts.append(
                f'<text class="tick" x="{LEFT - 6}" y="{self.y(value)}" dy=".32em" text-anchor="end">{said}</text>'
            )
        below = HEIGHT - BOTTOM + 16
        parts += [
            f'<text class="tick" x="{self.x(value)}" y="{below}" text-anchor="middle">{value:g}</text>'
            for value in ticks(self.x0, self.x1)
        ]
        base = HEIGHT - BOTTOM
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
        parts.append(
            f'<text class="label" x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{html.escape(x_label)}</text>'
        )
        if y_label:
            parts.append(f'<text class="label" x="{LEFT}" y="{TOP - 3}">{html.escape(y_label)}</text>')
        return "".join(parts)


def _svg(said: str, body: str) -> str:
    title = html.escape(said)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><title>{title}</title>{body}</svg>'


def histogram(values: Sequence[float], low: float, high: float, bins: int, x_label: str, what: str) -> str:
    """How many values lie where, between ``low`` and ``high``; those beyond stand at the edge."""
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, max(0, int((value - low) / (high - low) * bins)))] += 1
    frame = _Frame((low, high), (0, max([*counts, 1])))
    width = (high - low) / bins
    bars = []
    for at, count in enumerate(counts):
        if count:
            left, right = float(frame.x(low + at * width)), float(frame.x(low + (at + 1) * width))
            top = float(frame.y(count))
            said = f"{low + at * width:g} to {low + (at + 1) * width:g}: {count}"
            bars.append(
                f'<rect class="a" x="{left + 1:.1f}" y="{top:.1f}" width="{max(1.0, right - left - 2):.1f}" '
                f'height="{HEIGHT - BOTTOM - top:.1f}" rx="2"><title>{said}</title></rect>'
            )
    return _svg(f"{what}: {_in_words(values)}", frame.axes(x_label, what, whole=True) + "".join(bars))


def cumulative(series: Sequence[Series], x_label: str, what: str) -> str:
    """What share of the values lies below each value."""
    kept = [(s, sorted(v for v in s.values if isinstance(v, int | float))) for s in series]
    kept = [(s, values) for s, values in kept if values]
    if not kept:
        return ""
    low = min(0.0, *(values[0] for _, values in kept))
    high = max(values[-1] for _, values in kept)
    frame = _Frame((low, high + nice_step(high - low) * 0.2), (0, 1))
    curves = []
    for s, values in kept:
        places = [f"M{frame.x(low)},{frame.y(0)}"]
        thinned = _thinned(list(enumerate(values, 1)))
        places += [f"H{frame.x(value)}V{frame.y(at / len(values))}" for at, value in thinned]
        curves.append(f'<path class="curve {s.style}" d="{"".join(places)}H{frame.x(frame.x1)}"/>')
    said = "; ".join(f"{s.name}: {_in_words(values)}" for s, values in kept)
    return _svg(f"{what}. {said}", frame.axes(x_label, what, percent=True) + "".join(curves)) + _legend(series)


def points(series: Sequence[Series], x_label: str, y_label: str, what: str) -> str:
    """Pairs of values as points."""
    pairs = [pair for s in series for pair in s.values if isinstance(pair, tuple)]
    if not pairs:
        return ""
    xs, ys = [p[0] for p in pairs], [p[1] for p in pairs]
    frame = _Frame((min(0.0, *xs), max(xs)), (min(0.0, *ys), max(ys)))
    dots = "".join(
        f'<circle class="{s.style}" cx="{frame.x(pair[0])}" cy="{frame.y(pair[1])}" r="3.2"/>'
        for s in series
        for pair in _thinned([p for p in s.values if isinstance(p, tuple)])
    )
    return _svg(f"{what}: {_in_words(ys)}", frame.axes(x_label, y_label) + dots) + _legend(series)


@dataclass(frozen=True, slots=True)
class Lane:
    """Stretches of time in a row.

    Attributes:
        name: What they are.
        spans: Begin, end, both s, and what each is, in words.
        style: Class in the page's style sheet.
    """

    name: str
    spans: Sequence[tuple[float, float, str]]
    style: str = "a"


LANE = 22
"""Height of a lane."""


def timeline(lanes: Sequence[Lane], end_s: float, what: str) -> str:
    """Stretches of time one below the other, up to ``end_s``."""
    width, left = 1060, 86
    scale = (width - left - RIGHT) / max(end_s, 0.001)
    height = TOP + len(lanes) * (LANE + 8) + 22
    parts = []
    for value in ticks(0.0, end_s, 12):
        x = f"{left + value * scale:.1f}"
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP - 4}" y2="{height - 20}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{height - 6}" text-anchor="middle">{value:g}</text>')
    for at, lane in enumerate(lanes):
        top = TOP + at * (LANE + 8)
        place = f'x="{left - 10}" y="{top + LANE / 2}" dy=".32em"'
        parts.append(f'<text class="tick" {place} text-anchor="end">{lane.name}</text>')
        for begin, end, said in lane.spans[:MAX_POINTS]:
            if begin < end_s:
                wide = max(1.5, (min(end, end_s) - begin) * scale - 1)
                parts.append(
                    f'<rect class="{lane.style}" x="{left + begin * scale:.1f}" y="{top}" width="{wide:.1f}" '
                    f'height="{LANE}" rx="4"><title>{html.escape(said)}</title></rect>'
                )
    counts = ", ".join(f"{len(lane.spans)} {lane.name}" for lane in lanes)
    title = html.escape(f"{what}: {counts}")
    body = "".join(parts)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}"><title>{title}</title>{body}</svg>'


def _legend(series: Sequence[Series]) -> str:
    if len(series) < 2:
        return ""
    items = "".join(f'<span><i class="{s.style}"></i>{html.escape(s.name)}</span>' for s in series if s.values)
    return f'<p class="legend" aria-hidden="true">{items}</p>'


def _thinned(values: Sequence[T]) -> Sequence[T]:
    every = max(1, math.ceil(len(values) / MAX_POINTS))
    return [*values[:-1:every], *values[-1:]]


def _in_words(values: Sequence[float]) -> str:
    if not values:
        return "nothing"
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    return f"{len(ordered)} values from {ordered[0]:.3g} to {ordered[-1]:.3g}, the middle one {middle:.3g}"
