"""Russian dates, times, years and telephone numbers in words."""

from __future__ import annotations

import re
from datetime import date

from tolmach.processors.text_normalization.common import Match, Rule
from tolmach.processors.text_normalization.russian_numerals import Case, cardinal, digits, ordinal

MONTHS = "января февраля марта апреля мая июня июля августа сентября октября ноября декабря".split()  # noqa: SIM905
_MONTH = "|".join(MONTHS)


def _telephone(match: Match) -> str:
    return " " + " ".join(map(_telephone_group, re.findall(r"\+|\d+", match.group()))) + " "


def _telephone_group(group: str) -> str:
    if group == "+":
        return "плюс"
    if len(group) == 4:
        return f"{cardinal(group[:2])} {cardinal(group[2:])}"
    return cardinal(group) if len(group) < 4 else digits(group)


def _date(day: str, month: str, year: str, rest: str) -> str:
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return rest
    return f" {ordinal(int(day), 'g', 'n')} {MONTHS[int(month) - 1]} {ordinal(int(year), 'g')} года "


def _day_of_month(match: Match) -> str:
    day, month, year = match.group(1, 2, 3)
    if not 1 <= int(day) <= 31:
        return match.group()
    spoken = f"{ordinal(int(day), 'g', 'n')} {month}"
    return f"{spoken} {ordinal(int(year), 'g')} года " if year else spoken


def _time(match: Match) -> str:
    hours, minutes, seconds = match.group(1, 2, 3)
    rest = ["ноль ноль" if part == "00" else cardinal(part) for part in (minutes, seconds) if part is not None]
    return " ".join([cardinal(str(int(hours))), *rest])


def _days_of_month(match: Match) -> str:
    first, second, month = match.group(1, 2, 3)
    if not (1 <= int(first) <= 31 and 1 <= int(second) <= 31):
        return match.group()
    first_spoken = ordinal(int(first), "g", "n")
    if match.group().lower().startswith("с"):
        return f"с {first_spoken} по {ordinal(int(second), 'a', 'n')} {month}"
    return f"{first_spoken} – {ordinal(int(second), 'g', 'n')} {month}"


_YEAR_FORMS: dict[str, Case] = {"год": "n", "года": "g", "году": "p", "годом": "i", "годе": "p"}


def _year(match: Match) -> str:
    before, number, word = match.group(1, 2, 3)
    preposition = before.strip().lower()
    if word.startswith("г") and word[1:] in ("", "."):
        # "в 2024 г." is the year in which, "на 2024 г." the year itself; else ("12 мая 2024 г.") the year's.
        word = "году" if preposition in ("в", "во", "к") else "год" if preposition in ("на", "за", "по") else "года"
    if word not in _YEAR_FORMS:
        return match.group()
    case: Case = "d" if word == "году" and preposition == "к" else _YEAR_FORMS[word]
    return f"{before}{ordinal(int(number), case)} {word} "


def _years(match: Match) -> str:
    before, first, second = match.group(1, 2, 3)
    case: Case = "p" if before else "n"
    years = f"{ordinal(int(first), case)} – {ordinal(int(second), case)}"
    return f"{before or ''}{years} {'годах' if before else 'годы'} "


def _from_year_to_year(match: Match) -> str:
    first, second = (int(year) for year in match.group(1, 2))
    return f"с {ordinal(first, 'g')} по {ordinal(second)} год "


DATE_RULES: tuple[Rule, ...] = (
    (re.compile(r"\+\d[\d() -]{7,18}\d|(?<!\d)8[ -]?\(?\d{3}\)?[ -]?\d{3}[ -]\d{2}[ -]\d{2}(?!\d)"), _telephone),
    (re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{2}(?![\d-])"), _telephone),
    (
        re.compile(r"(?<![\d.])(\d{1,2})[./](\d{1,2})[./](\d{4})(?!\d)(?:\s*г(?:ода|\.)?(?!\w))?"),
        lambda m: _date(*m.group(1, 2, 3, 0)),
    ),
    (re.compile(r"(?<![\d-])(\d{4})-(\d{2})-(\d{2})(?![\d-])"), lambda m: _date(*m.group(3, 2, 1, 0))),
    (re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?(?![\d:])"), _time),
    (re.compile(r"(?<=\d):(?=\d)"), " "),  # a score
    (
        re.compile(rf"(?<!\w)[сС]о?\s(\d{{1,2}})\sпо\s(\d{{1,2}})\s({_MONTH})(?!\w)"),
        _days_of_month,
    ),
    (re.compile(rf"(?<![\w.,])(\d{{1,2}})\s?[-–]\s?(\d{{1,2}})\s({_MONTH})(?!\w)"), _days_of_month),
    (re.compile(rf"(?<![\d.,])(\d{{1,2}})\s+({_MONTH})(?!\w)(?:\s+(\d{{4}})\s*(?:года|г\.|г)(?!\w))?"), _day_of_month),
    (re.compile(r"(?<!\w)[сС]\s(\d{4})\sпо\s(\d{4})\s(?:год(?!\w)|г\.|гг\.)"), _from_year_to_year),
    (re.compile(r"((?<!\w)[вВ]\s)?(?<![\d.,-])(\d{4})\s?[-–]\s?(\d{4})\s(?:гг\.|годах|годы)"), _years),
    (re.compile(r"((?:(?<!\w)[А-Яа-я]{1,2}\s)?)(?<![\d.,-])(\d{4})\s*(г\.|г(?!\w)|год\w*)"), _year),
)
