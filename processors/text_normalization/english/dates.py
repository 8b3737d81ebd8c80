"""English dates, times of day and telephone numbers in words."""

from __future__ import annotations

import re
from datetime import date

from tolmach.processors.text_normalization.common import Match, Rule
from tolmach.processors.text_normalization.english.numbers import cardinal, digits, ordinal, year

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_MONTH = "|".join(_MONTHS)
_SHORT_MONTHS = {month[:3]: month for month in _MONTHS} | {"Sept": "September"}
_DAYS = {"Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday",
         "Thur": "Thursday", "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday"}  # fmt: skip
_TH = "(?:st|nd|rd|th)?"


def _short_month(match: Match) -> str:
    return _SHORT_MONTHS[match[1]] + " "


def _valid(day: int, month: int, full_year: int) -> bool:
    try:
        date(full_year, month, day)
    except ValueError:
        return False
    return True


def _full_year(written: str) -> int:
    # Two digits: the century that strptime's %y takes (POSIX: 69 to 99 are 1969 to 1999).
    value = int(written)
    return value if len(written) == 4 else value + (1900 if value >= 69 else 2000)


def _iso(match: Match) -> str:
    full_year, month, day = match.group(1, 2, 3)
    if not _valid(int(day), int(month), int(full_year)):
        return match.group()
    return f"{_MONTHS[int(month) - 1]} {ordinal(int(day))} {year(int(full_year))} "


def _numeric(match: Match) -> str:
    first, sign, second, written = match.group(1, 2, 3, 4)
    full_year = _full_year(written)
    # Month first as in America, unless a dot or a number over twelve says that it is the day (15/05/2024, 7.4.2021).
    if sign != "." and _valid(int(second), int(first), full_year):
        return f"{_MONTHS[int(first) - 1]} {ordinal(int(second))} {year(full_year)} "
    if _valid(int(first), int(second), full_year):
        the = "" if _after_the(match) else "the "
        return f"{the}{ordinal(int(first))} of {_MONTHS[int(second) - 1]} {year(full_year)} "
    return match.group()


def _after_the(match: Match) -> bool:
    return match.string[max(0, match.start() - 4) : match.start()].lower().endswith("the ")


def _day_month(match: Match) -> str:
    first, between, last, month, written = match.group(1, 2, 3, 4, 5)
    if not (1 <= int(last) <= 31 and (first is None or 1 <= int(first) <= 31)):
        return match.group()
    the = "" if _after_the(match) else "the "
    said = f"{the}{ordinal(int(last))} of {month}"
    if first is not None:
        word = "and" if "and" in between or "&" in between else "to"
        said = f"{the}{ordinal(int(first))} {word} the {ordinal(int(last))} of {month}"
    return said + (f" {year(int(written))}" if written else "")


def _month_day(match: Match) -> str:
    month, day, last, written = match.group(1, 2, 3, 4)
    if not 1 <= int(day) <= 31 or (last and not 1 <= int(last) <= 31):
        return match.group()
    said = f"{month} {ordinal(int(day))}" + (f" to {ordinal(int(last))}" if last else "")
    return said + (f", {year(int(written))}" if written else "")


def _slashed_day(match: Match) -> str:
    month, day = int(match[2]), int(match[3])
    return f"{match[1]} {_MONTHS[month - 1]} {ordinal(day)}" if _valid(day, month, 2000) else match.group()


# Times ------------------------------------------------------------------------------------------------------------

_RATIO = re.compile(
    r"(?i)\b(?:ratio|scale|mix\w*|odds|proportion\w*|dilut\w+|solution|map|score\w*|aspect|won|lost|beat)\b"
)


def _time(match: Match) -> str:
    hours, minutes, seconds, noon = match.group(1, 2, 3, 4)
    if (
        not noon
        and not seconds
        and len(hours) == 1
        and _RATIO.search(match.string[max(0, match.start() - 40) : match.start()])
    ):
        return f"{cardinal(hours)} to {cardinal(str(int(minutes)))} "
    said = "zero" if int(hours) == 0 else cardinal(str(int(hours)))
    if minutes and (minutes != "00" or seconds):
        said += f" oh {cardinal(minutes[1])}" if minutes.startswith("0") else f" {cardinal(minutes)}"
    elif not noon:
        said += " o'clock" if 0 < int(hours) <= 12 else " hundred" if int(hours) else " zero zero"
    if seconds:
        said += f" and {cardinal(str(int(seconds)))} second{'' if int(seconds) == 1 else 's'}"
    stop = "." if noon and match.group().endswith(".") and re.match(r"\s+[A-Z]|$", match.string[match.end() :]) else ""
    return f"{said} {'ay em' if noon[0] in 'aA' else 'pee em'}{stop} " if noon else f"{said} "


def _hours(match: Match) -> str:
    first, last, noon = match.group(1, 2, 3)
    said = "ay em" if noon[0] in "aA" else "pee em"
    return (f"{cardinal(first)} to " if first else "") + f"{cardinal(last)} {said} "


# Telephone numbers ------------------------------------------------------------------------------------------------

_CALL = re.compile(r"(?i)\b(?:call|dial|phone|telephone|tel|text|fax|mobile|ring|hotline|number|contact|reach)\b")


def _called(match: Match) -> bool:
    return _CALL.search(match.string[max(0, match.start() - 30) : match.start()]) is not None


def _telephone(match: Match) -> str:
    number = match.group()
    count = sum(char.isdigit() for char in number)
    groups = re.findall(r"\d+", number)
    grouped = "+" not in number and "-" not in number and 1 <= len(groups[0]) <= 3
    if grouped and all(len(group) == 3 for group in groups[1:]) and not _called(match):
        return "".join(groups)  # 1 250 000
    if count < 7:
        return number
    return ("plus " if "+" in number else "") + ", ".join(map(digits, groups)) + " "


def _local_number(match: Match) -> str:
    first, last = match.group(1, 2)
    if last.startswith("0") or first == "555" or int(last) % 50 or _called(match):
        return f"{digits(first)}, {digits(last)} "
    return match.group()


def _emergency(match: Match) -> str:
    return f"{match[1]}{digits(match[2])}"


_AM_PM = r"\s?(?:([ap])\.?\s?m(?![\w'])\.?)"

DATE_RULES: tuple[Rule, ...] = (
    (re.compile(rf"(?<!\w)({'|'.join(sorted(_SHORT_MONTHS, key=len, reverse=True))})(?:\.\s?|\s)(?=\d)"), _short_month),
    (re.compile(r"(?<!\w)(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\.(?=\s?(?:[a-z]|$))"), _short_month),
    (re.compile(r"(?<=\d )(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)(?!\w)\.?"), _short_month),
    (re.compile(r"(?<=\d(?:st|nd|rd|th) )(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)(?!\w)\.?"), _short_month),
    (
        re.compile(r"(?<!\w)(Mon|Tues|Tue|Wed|Thurs|Thur|Thu|Fri|Sat|Sun)(?:\.,?|,)(?=\s+(?:[A-Z]?[a-z]|\d))"),
        lambda m: _DAYS[m[1]] + ",",
    ),
    (re.compile(r"(?<![\d-])(\d{4})-(\d{2})-(\d{2})(?![\d-])T?"), _iso),
    (re.compile(r"(?<![\w.,/+-])(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?![\w/-]|[.,]\d)"), _numeric),
    (
        re.compile(
            rf"(?<![\w.,:/$€£¥-])(?:(\d{{1,2}}){_TH}(\s?[-–]\s?|\s(?:to|and|&|until|through)\s(?:the\s)?))?"
            rf"(\d{{1,2}}){_TH}\s(?:of\s)?({_MONTH})(?!\w)(?:,?\s+(\d{{4}})(?![\w%]|[.,:]\d))?"
        ),
        _day_month,
    ),
    (
        re.compile(
            rf"(?<!\w)({_MONTH})\s+(\d{{1,2}}){_TH}(?:\s?[-–]\s?(\d{{1,2}}){_TH})?(?![\w%:]|[.,/:]\d)"
            r"(?:,?\s+(\d{4})(?![\w%]|[.,:]\d))?"
        ),
        _month_day,
    ),
    (
        re.compile(r"(?<!\w)([Oo]n|[Bb]y|[Uu]ntil|[Ss]ince)\s+(1[0-2]|0?[1-9])/(1[3-9]|2\d|3[01])(?![\w/]|[.,]\d)"),
        _slashed_day,
    ),
)

TIME_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?i)(?<=\d[ap]m)\s?[-–]\s?(?=\d)"), " to "),
    (re.compile(r"(?i)(?<=[ap]\.m\.)\s?[-–]\s?(?=\d)"), " to "),
    (
        re.compile(rf"(?<![\d:.,])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:]|\.\d)(?:{_AM_PM})?", re.IGNORECASE),
        _time,
    ),
    (re.compile(rf"(?<![\d:.,$€£])([01]?\d)\.([0-5]\d)()(?:{_AM_PM})", re.IGNORECASE), _time),
    (re.compile(rf"(?<![\d:.,$€£])(?:(1[0-2]|[1-9])\s?[-–]\s?)?(1[0-2]|[1-9]){_AM_PM}", re.IGNORECASE), _hours),
    (re.compile(r"(?<!\w)([ap])\.\s?m\.(?!\w)", re.IGNORECASE), lambda m: "ay em " if m[1] in "aA" else "pee em "),
    (re.compile(r"(?<=\d)\s?:\s?(?=\d)"), " to "),
)

TELEPHONE_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?i)(?<!\w)((?:call|dial|ring|phone|text)(?:ed|ing|s)?\s)(\d{3})(?![\d.,]*\d|[ -]\d)"), _emergency),
    (re.compile(r"(?<![\w.,$€£/-])(?<!\d )0\d{2,5}(?:[ -]\d{2,8}){1,4}(?![\d%]|[.,]\d|-\w)"), _telephone),
    (re.compile(r"(?<![\w.,/-])\+\d(?:[ /-]?\(?\d{1,4}\)?){2,8}(?![\d%]|[.,]\d)"), _telephone),
    (re.compile(r"(?<![\w.,$€£/-])\(?\+?\(?\d[\d()]{0,14}(?:[ -]\(?\d{2,4}\)?){1,8}(?![\d%]|[.,]\d|-\w)"), _telephone),
    (re.compile(r"(?<![\w.,$€£/-])(\d{3})[-–](\d{4})(?![\w%-]|[.,]\d)"), _local_number),
)
