"""Times of day and telephone numbers in Russian words."""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Match, Rule
from tolmach.processors.text_normalization.russian.context import text_after, text_before, word_before
from tolmach.processors.text_normalization.russian.numerals import Case, cardinal, digits

_AT_THE_TIME: dict[str, Case] = {
    "с": "g", "со": "g", "до": "g", "от": "g", "после": "g", "около": "g", "раньше": "g", "позже": "g", "ранее": "g",
    "позднее": "g", "к": "d", "ко": "d", "перед": "i", "между": "i",
}  # fmt: skip


def _time(match: Match) -> str:
    case = _AT_THE_TIME.get(word_before(match), "n")
    if case == "n" and re.search(r"(?<!\w)между\s[\d:.]{3,5}\sи\s$", text_before(match)):
        case = "i"
    return _said(match, case)


def _said(match: Match, case: Case) -> str:
    hours, *rest = (part for part in match.groups() if part is not None)
    said = [cardinal(str(int(hours)), case) if hours != "00" else "ноль ноль"]
    said += ["ноль ноль" if part == "00" else cardinal(part, case) for part in rest]
    return " ".join(said)


_NOT_A_TIME = re.compile(
    r"\s?(?:[%°$€₽]|(?:раза?|руб|процент|метр|кило|грамм|гр|литр|тонн|млн|млрд|тыс|долл|евро|балл|пункт|градус|секунд|"
    r"версии?|[кмс]?м|к?г|л|т)(?![а-яё]{5}))"
)


def _dotted_time(match: Match) -> str:
    """``в 15.30``: a time after a preposition or before a part of the day, a number elsewhere."""
    after, before = text_after(match), word_before(match)
    if re.match(r"\s(?:утра|вечера|дня|ночи|час|мск)", after):
        return _time(match)
    if before not in ("в", "к", "до", "с", "после", "около", "на") or _NOT_A_TIME.match(after):
        return match.group()
    return _time(match)


TIME_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<=\d:\d\d)\s?[-–]\s?(?=\d{1,2}:\d\d)"), " – "),
    (re.compile(r"(?<![\d:.,])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?:\.\d+)?Z?(?![\d:])"), _time),
    (re.compile(r"(?<![\d.,:/-])([01]?\d|2[0-3])\.([0-5]\d)(?![\d]|[.,:/]\d|\.\w)"), _dotted_time),
    (re.compile(r"(?:(?<=утра )|(?<=дня )|(?<=вечера )|(?<=ноль ))(?:МСК|мск)(?!\w)"), "по москве"),
)


def _telephone(match: Match) -> str:
    return " " + " ".join(map(_group, re.findall(r"\+|\d+", match.group()))) + " "


def _group(group: str) -> str:
    """A group of digits as people say it: in threes and twos."""
    if group == "+":
        return "плюс"
    if len(group) > 11:
        return digits(group)
    parts: list[str] = []
    while len(group) > 3:
        size = 2 if len(parts) < 2 else 3  # 1234567 is 123 45 67, and 89161234567 8 916 123 45 67
        parts.append(group[-size:])
        group = group[:-size]
    if group:
        parts.append(group)
    return " ".join(cardinal(part) for part in reversed(parts))


TELEPHONE_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<!\w)\+\d[\d() -]{7,18}\d(?!\d)"), _telephone),
    (
        re.compile(
            r"(?<![\w.,-])[78][ -]?\(?\d{3}\)?[ -]?\d{3}[ -]\d{2}[ -]?\d{2}(?![\d-]|[.,]\d)"
            r"|(?<![\w.,-])8[ -]?\(\d{3,5}\)[ -]?\d{1,3}[ -]?\d{2}[ -]?\d{2}(?![\d-])"
            r"|(?<![\w.,-])8[ -]\d{4}[ -]\d{2}[ -]\d{2}[ -]\d{2}(?![\d-])"
            r"|(?<![\w.,-])8[ -]\d{3}[ -]\d{3}[ -]\d{4}(?![\d-])"
            r"|(?<![\w.,-])8[ -]\d{3}[ -]\d{2,3}[ -]\d{2}[ -]\d{2,3}(?![\d-])"
            r"|(?<![\w.,-])(?:89|88|79)\d{9}(?![\w.,]*\d)"
        ),
        _telephone,
    ),
    (re.compile(r"(?<![\w-])\(\d{3,5}\)[ -]?\d{1,3}[ -]\d{2}[ -]\d{2}(?![\d-])"), _telephone),
    (re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{2}(?![\d-])"), _telephone),
    (
        re.compile(
            r"(?<=телефон )\d[\d -]{3,14}\d|(?<=телефон: )\d[\d -]{3,14}\d|(?<=номеру )\d{1,3}-\d\d-\d\d(?![\d-])"
        ),
        _telephone,
    ),
)
"""Telephone numbers, before anything takes them for dates or numbers."""
