"""English numbers in words: cardinals, ordinals, years, fractions, decimals, ranges, decades.

num2words makes the words; what kind of number it is (1945 people, or the year 1945) is decided here, by its neighbours.
"""

from __future__ import annotations

import re
from functools import lru_cache

from num2words import num2words

from tolmach.processors.text_normalization.common import Match, Rule, pair_up, value_of_digits

_DIGITS = pair_up("0123456789", "zero one two three four five six seven eight nine")

NUMBER = r"(?<![\w.,])(\d{1,3}(?:,\d{3}){1,5}(?!\d)|\d+)(?:\.(\d+))?"
"""A number: its whole part, with or without commas, and what stands behind the point."""


def digits(number: str) -> str:
    """A run of digits one by one: ``007`` → zero zero seven."""
    return " ".join(_DIGITS[digit] for digit in number)


@lru_cache(1024)
def cardinal(number: str) -> str:
    """A run of digits as a number; leading zeros, and runs longer than any number people name, digit by digit."""
    value = value_of_digits(number)
    return digits(number) if value is None else str(num2words(value)).replace(",", "")


def number(whole: str, fraction: str | None = None) -> str:
    """A number, with a decimal fraction or without: ``1,250`` → one thousand two hundred and fifty."""
    said = cardinal(whole.replace(",", ""))
    return f"{said} point {digits(fraction)}" if fraction else said


def ordinal(value: int) -> str:
    """Which one: 21 → twenty-first."""
    return str(num2words(value, to="ordinal")).replace(",", "")


def year(value: int) -> str:
    """A year as people name it: 1945 → nineteen forty-five, 1905 → nineteen oh-five, 2024 → twenty twenty-four."""
    return str(num2words(value, to="year"))


def counted(whole: str, fraction: str | None, one: str, many: str) -> str:
    """A number and what it counts, in the singular after one."""
    return f"{number(whole, fraction)} {one if whole == '1' and not fraction else many}"


def fraction(numerator: int, denominator: int) -> str | None:
    """A common fraction: 3, 4 → three quarters; None for what nobody says so (24/7, 100/250)."""
    if not 2 <= denominator <= 100 or not 1 <= numerator < 100:
        return None
    if denominator == 2:
        return "one half" if numerator == 1 else f"{cardinal(str(numerator))} halves"
    part = "quarter" if denominator == 4 else ordinal(denominator)
    return f"{cardinal(str(numerator))} {part}" + ("s" if numerator != 1 else "")


# Years ------------------------------------------------------------------------------------------------------------

_YEARLY = (
    "[Ii]n|[Ss]ince|[Uu]ntil|[Tt]ill|[Dd]uring|[Cc]irca|[Yy]ears?|[Ss]pring|[Ss]ummer|[Aa]utumn|[Ff]all|[Ww]inter|"
    "[Ee]arly|[Ll]ate|[Mm]id|AD|[Aa]nno|[Cc]lass of|[Ee]nd of|[Bb]eginning of|[Ss]tart of|[Hh]alf of|[Qq]uarter of|"
    "Q[1-4]|January|February|March|April|May|June|July|August|September|October|November|December"
)
"""What stands before a year and before no other number of four digits."""
_MAYBE_YEARLY = r"[Bb]y|[Ff]rom|[Tt]o|[Oo]f|[Bb]efore|[Aa]fter|[Bb]etween|[Aa]nd|[Tt]hrough|[Tt]he|[Ss]ay"
_COUNTED = (
    "people|persons|men|women|children|dollars|euros|pounds|rubles|roubles|yen|cents|percent|per cent|more|fewer|less|"
    "hundred|thousand|million|billion|trillion|different|new|other|of (?:them|us|these|those)|sheep|fish|feet|"
    "students|soldiers|workers|jobs|homes|tons|tonnes|acres|copies|square|cubic|or (?:more|so)|"
    "miles|kilometers|kilometres|meters|metres|kilograms|grams|calories|hours|minutes|seconds|days|weeks|months|years"
)
_NO_NOUN = (
    "was|is|has|as|this|its|his|us|plus|thus|always|does|perhaps|across|towards|versus|unless|besides|sometimes|"
    "minus|sees|saw|brings|brought|marks|begins|ends|starts|remains|comes|gives|gets|makes|shows|says|goes|becomes|"
    "means|elections?|olympics|games|finals|series|previous|famous|various"
)
"""Words in -s behind a year that are nothing that could be counted."""
_PLURAL = rf"(?:{_COUNTED})(?!\w)|(?!(?:{_NO_NOUN})(?!\w))[a-z]{{3,20}}(?<!s)s(?!\w)"
_AMOUNT = (
    r"[Aa]bout|[Nn]early|[Aa]lmost|[Oo]ver|[Mm]ore than|[Ll]ess than|[Ff]ewer than|[Aa]t least|[Aa]round|[Ss]ome|"
    r"[Aa]pproximately|[Rr]oughly|[Ee]xactly|[Oo]nly|[Uu]p to|[Aa]nother|[Uu]nder|[Ii]s worth|[Cc]osts?|[Pp]aid"
)


def _year_or_number(match: Match) -> str:
    yearly, maybe, amount, written = match.group("yearly", "maybe", "amount", "year")
    before, value = yearly or maybe or amount, int(written)
    counts = re.match(rf"\s+(?:{_PLURAL})", match.string[match.end() : match.end() + 40]) is not None
    if yearly:
        is_year = 1000 <= value < 2100
    elif amount:
        is_year = False
    else:
        is_year = not counts and (1800 if not maybe else 1100) <= value < 2100
    said = year(value) if is_year else cardinal(written)
    return f"{before} {said}" if before else said


def _decade(match: Match) -> str:
    said = year(int(match[1])) if len(match[1]) == 4 else cardinal(match[1])
    return said[:-1] + "ies" if said.endswith("y") else said + "s"


def _years(match: Match) -> str:
    first, last = match.group(1, 2)
    if len(last) == 2:
        return f"{year(int(first))} to {digits(last).replace('zero', 'oh') if last[0] == '0' else cardinal(last)} "
    return f"{year(int(first))} to {year(int(last))} "


# Fractions, ranges ------------------------------------------------------------------------------------------------

_SAID_APART = {
    ("24", "7"), ("9", "11"), ("50", "50"), ("20", "20"), ("7", "7"), ("60", "40"), ("40", "60"), ("70", "30"),
    ("80", "20"), ("90", "10"), ("52", "17"),
}  # fmt: skip


def _fraction(match: Match) -> str:
    whole, above, below = match.group(1, 2, 3)
    if not whole and (above, below) in _SAID_APART:
        return f"{cardinal(above)} {cardinal(below)}"
    said = fraction(int(above), int(below)) if len(above) < 3 and len(below) < 4 else None
    if said is None or above.startswith("0") or below.startswith("0"):
        return (
            f"{cardinal(whole)} {cardinal(above)} over {cardinal(below)}"
            if whole
            else (f"{cardinal(above)} over {cardinal(below)}")
        )
    if whole:
        return f"{number(whole)} and {'a half' if said == 'one half' else said}"
    if below in ("5", "10", "100") and re.search(
        r"(?i)\b(?:rat|scor|grade|gave|give|mark)\w*\b[^.!?]{0,30}$",
        match.string[max(0, match.start() - 50) : match.start()],
    ):
        return f"{cardinal(above)} out of {cardinal(below)}"
    return said


def _range(match: Match) -> str:
    parts = re.split(r"\s?[-–]\s?", match.group())
    if len(parts) != 2:
        return " " + ", ".join(map(cardinal, parts)) + " "
    first, last = parts
    if re.match(r"\s*=", match.string[match.end() : match.end() + 5]):
        return f"{cardinal(first)} minus {last}"
    return f"{cardinal(first)} to {last}"


_YEAR_RANGE = r"(?<![\w.,$€£¥/-])(1[1-9]\d\d|20\d\d)\s?[-–]\s?(1[1-9]\d\d|20\d\d|\d\d)(?![\w%°$€£]|[.,/-]\d|-\w)"


def _year_range(match: Match) -> str:
    first, last = match.group(1, 2)
    full = int(last) if len(last) == 4 else int(first[:2] + last)
    return _years(match) if full > int(first) and (len(last) == 4 or int(first) > 1800) else match.group()


YEAR_RANGE_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<![\w.,/])50-50(?![\w-])"), "fifty fifty"),
    (re.compile(r"(?<=\d%)\s?[-–]\s?(?=\d)"), " to "),
    (re.compile(_YEAR_RANGE), _year_range),
    (
        re.compile(r"(?<![\w.,])(\d{4})(?:/(\d\d))(?=\s+(?:[Ss]eason|[Ff]inancial|[Ff]iscal|[Aa]cademic|[Ss]chool))"),
        _years,
    ),
)
"""Years with a dash between them; they run before telephone numbers."""

YEAR_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<![\w.,])(\d0|\d{3}0)'?s(?!\w)"), _decade),
    (
        re.compile(
            rf"(?:(?<!\w)(?:(?P<yearly>{_YEARLY})|(?P<amount>{_AMOUNT})|(?P<maybe>{_MAYBE_YEARLY}))\s+)?"
            r"(?<![\w.,:/$€£¥₽₹+#-])(?P<year>1\d{3}|20\d\d)(?![\w%°¢$€£]|[.,:/]\d|-\d)"
        ),
        _year_or_number,
    ),
)
"""Numbers of four digits that may be years; they run when dates, money and units have gone."""

RANGE_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<![\w.,/])\d+(?:(?:[-–]|\s[-–]\s)\d+){1,5}(?![\d-])"), _range),
    (re.compile(r"(?<=\d)(?:[-–]|\s[-–]\s)(?=\d)"), " to "),
    (re.compile(r"(?<![\w.])-\s?(?=\.?\d)"), " minus "),
)
"""Dashes before and between numbers; they run before units, which need the last number only."""

FRACTION_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<![\w.,/+-])(?:(\d{1,4})\s)?(\d{1,4})\s?/\s?(\d{1,4})(?![\w/]|[.,]\d)"), _fraction),
)

NUMBER_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<=\d)\s?/\s?(?=\d)"), " over "),
    (
        re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:st|nd|rd|th)(?!\w)", re.IGNORECASE),
        lambda m: ordinal(int(m[1].replace(",", ""))),
    ),
    (re.compile(NUMBER), lambda m: f" {number(m[1], m[2])} "),
    (re.compile(r"(?<![\d\w])\.(\d+)"), lambda m: f" point {digits(m[1])} "),
    (re.compile(r"\d+"), lambda m: f" {cardinal(m.group())} "),
)
"""What is left of numbers, when all that says more has gone."""
