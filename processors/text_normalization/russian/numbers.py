"""Russian numbers in their sentence: quantities with units and money, ranges, ratios, fractions, written endings.

Each rule finds how a number is written; ``agreement`` and ``government`` say in which case and
gender the sentence wants it.
"""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Match, Rule, value_of_digits
from tolmach.processors.text_normalization.russian.abbreviations import STOP
from tolmach.processors.text_normalization.russian.agreement import (
    Reading,
    agreement,
    case_of_measure,
    category,
    counted_forms,
    following_words,
)
from tolmach.processors.text_normalization.russian.government import WINDOW, government
from tolmach.processors.text_normalization.russian.morphology import Form
from tolmach.processors.text_normalization.russian.numerals import (
    CASES,
    Case,
    Gender,
    cardinal,
    collective,
    decimal,
    first_of_compound,
    fraction,
    one_and_a_half,
    ordinal,
)
from tolmach.processors.text_normalization.russian.units import (
    BARE_UNITS,
    CURRENCIES,
    SCALES,
    UNIT_PATTERN,
    Unit,
    find_unit,
)

# Quantities --------------------------------------------------------------------------------------------------------

_NUMBER = r"\d+(?:[.,]\d+)?"
_CURRENCY = "[" + "".join(map(re.escape, CURRENCIES)) + "]"
_QUANTITY = re.compile(
    rf"(?<![\w.,])(?P<minus>[-–](?=\S))?(?:(?P<sign>{_CURRENCY})\s?)?(?P<first>{_NUMBER})"
    rf"(?:\s?[-–]\s?(?={_NUMBER})(?P<sign2>{_CURRENCY})?(?P<second>{_NUMBER}))?"
    rf"(?:\s?(?P<scale>{'|'.join(SCALES)}){STOP})?"
    rf"(?:\s?(?P<after>{_CURRENCY})|\s?{UNIT_PATTERN})?"
)


def _quantity(match: Match) -> str:
    groups = match.groupdict()
    before = match.string[max(0, match.start() - WINDOW - 1) : match.start()]
    after = match.string[match.end() : match.end() + WINDOW]
    numbers = [n for n in (groups["first"], groups["second"]) if n is not None]
    sign = groups["sign"] or groups["after"]
    unit = CURRENCIES[sign] if sign else find_unit(groups)
    left = "" if unit or not (groups["unit"] or groups["squared"]) else f" {groups['unit']}{groups['power'] or ''}"
    minus = "минус " if groups["minus"] else ""
    if groups["scale"]:
        said = _measured(numbers, SCALES[groups["scale"]], before, after)
        said = f"{said} {unit.after_scale()}" if unit else said
    elif unit:
        said = _measured(numbers, unit, before, after)
    else:
        said = _counted(numbers, before, after)
    return f" {minus}{said}{left} "


def _measured(numbers: list[str], unit: Unit, before: str, after: str) -> str:
    """Numbers before a unit: пять – десять килограммов, рубль двадцать копеек."""
    last = numbers[-1]
    whole, _, parts = last.replace(",", ".").partition(".")
    kind = category(int(whole)) if len(whole) <= 15 else "many"
    case = case_of_measure(before, kind if not parts else "many", unit.one, after)
    if parts and len(parts) == 2 and unit.coin and len(numbers) == 1 and not unit.adjective:
        return _coins(whole, parts, unit, case)
    said = [_number(number, case, unit.gender) for number in numbers]
    if parts:
        if (whole, parts) == ("1", "5"):
            said[-1] = one_and_a_half(case, unit.gender)
            return f"{' – '.join(said)} {unit.after('few', case)}"
        return f"{' – '.join(said)} {unit.after_fraction()}"
    return f"{' – '.join(said)} {unit.after(kind, case)}"


def _coins(whole: str, parts: str, unit: Unit, case: Case) -> str:
    said = []
    if value_of_digits(whole) is None:
        return f"{decimal(whole, parts, case)} {unit.after_fraction()}"
    if int(whole) or not int(parts):
        said.append(f"{cardinal(whole, case, unit.gender)} {unit.after(category(int(whole)), case)}")
    if int(parts) and unit.coin:
        coin = unit.coin
        said.append(f"{cardinal(str(int(parts)), case, coin.gender)} {coin.after(category(int(parts)), case)}")
    return " ".join(said)


def _number(number: str, case: Case, gender: Gender) -> str:
    whole, _, parts = number.replace(",", ".").partition(".")
    return decimal(whole, parts, case) if parts else cardinal(whole, case, gender)


def _counted(numbers: list[str], before: str, after: str) -> str:
    """Numbers before a noun, or alone."""
    last = numbers[-1]
    if re.search("[.,]", last):
        return _decimal_counted(numbers, before, after)
    if re.search(r"[A-Za-z]-?\s?$", before[-3:]):  # iPhone 15, BMW X5
        return " – ".join(_number(number, "n", "m") for number in numbers)
    value = value_of_digits(last)
    reading = agreement(before, value, after) if value is not None else Reading()
    return " – ".join(
        _number(number, reading.case, reading.gender) if re.search("[.,]", number) else reading.say(number)
        for number in numbers
    )


def _decimal_counted(numbers: list[str], before: str, after: str) -> str:
    whole, _, parts = numbers[-1].replace(",", ".").partition(".")
    words = following_words(after)
    nouns = counted_forms(words)
    case = case_of_measure(before, "many", nouns[0].lemma if nouns else "", after)
    said = [_number(number, case, "f") for number in numbers]
    if (whole, parts) == ("1", "5") and any(_after_half(form) for form in nouns):
        gender = next(form.gender for form in nouns if _after_half(form))
        said[-1] = one_and_a_half(case, gender or "m")
    return " – ".join(said)


def _after_half(form: Form) -> bool:
    return form.case == "g" or form.plural


# Numbers with an ending ---------------------------------------------------------------------------------------------

_Agreed = tuple[Case, Gender, bool]


def _readings(cases: str, gender: Gender, *, plural: bool = False) -> tuple[_Agreed, ...]:
    return tuple((case, gender, plural) for case in CASES if case in cases)


_ENDING_READINGS: tuple[tuple[str, tuple[_Agreed, ...]], ...] = (
    ("й ый ий ой", (*_readings("na", "m"), *_readings("gdip", "f"))),
    ("я ая ья", _readings("n", "f")),
    ("е", (*_readings("na", "n"), *_readings("na", "m", plural=True))),
    ("ое ье", _readings("na", "n")),
    ("го ого его", (*_readings("ga", "m"), *_readings("g", "n"))),
    ("му ому ему", (*_readings("d", "m"), *_readings("d", "n"))),
    ("м", (*_readings("p", "m"), *_readings("p", "n"), *_readings("i", "m"), *_readings("i", "n"),
           *_readings("d", "m", plural=True))),
    ("ом ем", (*_readings("p", "m"), *_readings("p", "n"))),
    ("ым им", (*_readings("i", "m"), *_readings("i", "n"), *_readings("d", "m", plural=True))),
    ("ю ую ью", _readings("a", "f")),
    ("ые ие ьи", _readings("na", "m", plural=True)),
    ("х ых их", _readings("gpa", "m", plural=True)),
    ("ми ыми ими", _readings("i", "m", plural=True)),
)  # fmt: skip
_ENDINGS: dict[str, tuple[_Agreed, ...]] = {
    ending: readings for endings, readings in _ENDING_READINGS for ending in endings.split()
}
"""What a written ending may mean, likeliest first; the noun behind it decides."""

_CARDINAL_ENDINGS: dict[str, Case] = {"ти": "g", "и": "g", "мя": "i", "ью": "i", "ех": "g", "ёх": "g", "ух": "g"}


def _with_ending(match: Match) -> str:
    number, ending = match.group(1), match.group(2).lower()
    value = value_of_digits(number)
    if value is None:
        return f"{cardinal(number)} {ending}"
    nouns = counted_forms(following_words(match.string[match.end() : match.end() + WINDOW]))
    if ending in _CARDINAL_ENDINGS:
        return cardinal(number, _CARDINAL_ENDINGS[ending])
    if ending == "ю" and any(form.plural and form.case == "i" for form in nouns):
        return cardinal(number, "i")  # с 5-ю друзьями
    if ending == "х" and value % 10 in (2, 3, 4) and value < 100:
        return cardinal(number, "g")
    if ending == "е" and any(form.plural and form.case == "g" for form in nouns):
        grouped = collective(value, "n", animate=True)  # 3-е друзей
        if grouped is not None:
            return grouped
    if ending == "е" and not nouns:
        # "90-е" are years, "5-е" is a place or a day.
        return ordinal(value, plural=True) if value % 10 == 0 and value > 9 else ordinal(value, gender="n")
    if ending in _ENDINGS:
        before = match.string[max(0, match.start() - WINDOW - 1) : match.start()]
        case, gender, plural = _fitting(_ENDINGS[ending], nouns, before)
        return ordinal(value, case, gender, plural=plural, animate=ending in ("го", "ого", "его"))
    if value < 10_000 and len(ending) > 3:
        return f"{first_of_compound(value)}{ending}"
    return f"{cardinal(number)} {ending}"


def _fitting(readings: tuple[_Agreed, ...], nouns: tuple[Form, ...], before: str) -> _Agreed:
    fitting = [
        reading
        for reading in readings
        if any(
            form.case == reading[0] and form.plural == reading[2] and (form.plural or form.gender == reading[1])
            for form in nouns
        )
    ] or list(readings)
    if len(fitting) > 1:
        governed = government(before)
        if governed.firm:
            return next((reading for reading in fitting if reading[0] in governed.cases), fitting[0])
    return fitting[0]


_PER_CENT_ENDINGS = {
    "й": "ный", "ый": "ный", "я": "ная", "ая": "ная", "е": "ное", "ое": "ное", "го": "ного", "ого": "ного",
    "му": "ному", "ому": "ному", "м": "ном", "ом": "ном", "ым": "ным", "ю": "ную", "ую": "ную", "х": "ных", "ых": "ных",
    "ой": "ной", "ые": "ные",
}  # fmt: skip


def _per_cent_adjective(match: Match) -> str:
    number, ending = int(match.group(1)), match.group(2)
    return f"{first_of_compound(number)}процент{_PER_CENT_ENDINGS.get(ending, ending)}"


def _compounds(match: Match) -> str:
    """5-6-этажный, 3- и 4-комнатные."""
    return f"{first_of_compound(int(match.group(1)))}-"


# Fractions and ratios -----------------------------------------------------------------------------------------------

_ADDRESSED = re.compile(
    r"(?:дом|квартира|корпус|номер|участок|строение|№|приказ|дело|д\.|кв\.)[а-яё]{0,3}\s?$", re.IGNORECASE
)


def _fraction(match: Match) -> str:
    whole, above, below = match.group(1), int(match.group(2)), int(match.group(3))
    before = match.string[max(0, match.start() - WINDOW - 1) : match.start()]
    if not 0 < above < below <= 100 or _ADDRESSED.search(before[-12:]) or (below > 10 and above > 9):
        return f"{cardinal(whole) + ' ' if whole else ''}{cardinal(match.group(2))} дробь {cardinal(match.group(3))}"
    after = match.string[match.end() : match.end() + WINDOW]
    case = case_of_measure(before, "one" if above == 1 else "few", "часть", after)
    if not whole:
        return f"{fraction(above, below, case)} "
    if (above, below) == (1, 2):
        nouns = counted_forms(following_words(after))
        gender = next((form.gender for form in nouns if form.case == "g" and form.gender), None) or "m"
        return f"{cardinal(whole, case, gender)} с половиной "
    return f"{decimal(whole, '1', case).rpartition('цел')[0]}{_wholes(whole, case)} {fraction(above, below, case)} "


def _wholes(whole: str, case: Case) -> str:
    return decimal(whole, "2", case).split("цел")[1].split()[0].join(("цел", ""))


_CONTEXT = r"[^.;!?:\d]{0,40}?"


def _ratio(match: Match) -> str:
    first, second = (re.sub(r"\s", "", number) for number in match.group(2, 3))
    return f"{match.group(1)}{cardinal(first)} к {cardinal(second, 'd')}"


def _score(match: Match) -> str:
    return f"{match.group(1)}{cardinal(match.group(2))} {cardinal(match.group(3))}"


RATIO_RULES: tuple[Rule, ...] = (
    (
        re.compile(
            rf"((?<!\w)(?i:масштаб|соотношени|пропорци|отношени|разбав|разве[лд]|шанс|смеш)[а-яё]*{_CONTEXT})"
            r"(?<![\d:])(\d+):(\d{1,3}(?: \d{3})+(?!\d)|\d+)(?![\d:])"
        ),
        _ratio,
    ),
    (re.compile(r"((?<![\d:.,]))(1):(\d{1,3}(?: \d{3})+(?!\d)|\d{3,})(?![\d:])"), _ratio),
    (
        re.compile(
            rf"((?<!\w)(?i:сч[её]т|выигра|победи|победа|проигра|обыгра|разгром|ничь|уступи|матч)[а-яё]*{_CONTEXT})"
            r"(?<![\d:])(\d+):(\d+)(?![\d:])"
        ),
        _score,
    ),
)
"""Ratios and scores by the word before them; they come before times of day."""

# Rules --------------------------------------------------------------------------------------------------------------

_NUMBERED = r"(?i:пункт|раздел|верси|параграф|таблиц|рисун|част|стать|глав)[а-яё]*\s"
"""What is followed by the number of a part, not by a decimal fraction."""

_WRITTEN_FRACTIONS = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}

_APART: Rule = (re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"), " ")
"""Letters and digits that touch."""

PART_RULES: tuple[Rule, ...] = (
    (
        re.compile(rf"(?<!\w)({_NUMBERED})(\d+)\.(\d+)(?![.,]?\d)"),
        lambda m: f"{m[1]}{cardinal(m[2])} точка {cardinal(m[3])}",
    ),
    (re.compile(r"(?<=\d)\s?[xхXХ×]\s?(?=\d)"), " на "),  # 20x30 см
)
"""Numbers of parts and sizes, before anything takes them for dates or names."""

NUMBER_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<=\d)[ ](?=\d{3}(?!\d))(?<!\d{4} )"), ""),
    # "в 2-х км": a written ending says less than the sentence, once the unit is a word.
    (
        re.compile(
            r"(?<=\d)-(?:х|ти|и|ми|мя|ю)(?=\s(?:км|м|см|мм|кг|г|т|л|мл|га|млн|млрд|тыс|руб|коп|мин|сек)(?![\w-]))"
        ),
        "",
    ),
    (
        re.compile(r"(?<![\d.,])\d{1,3}(?:([.,])\d{3})(?:\1\d{3})+(?![.,]?\d)"),
        lambda m: re.sub("[.,]", "", m.group()),
    ),
    (re.compile(r"(?<!\d)\d+(?:\.\d+){2,}"), lambda m: " точка ".join(map(cardinal, m.group().split(".")))),
    (re.compile(f"[{''.join(_WRITTEN_FRACTIONS)}]"), lambda m: f" {_WRITTEN_FRACTIONS[m.group()]}"),
    (
        re.compile(r"(?<![\w.,])(\d{1,4})\s?%-?(н?(?:ый|ая|ое|ого|ому|ом|ым|ую|ых|ой|ые|й|я|е|го|му|м|ю|х))(?!\w)"),
        _per_cent_adjective,
    ),
    (re.compile(r"(?<![\w.,])(\d{1,4})-(?=\d{1,4}-[а-яё]{4})"), _compounds),
    (re.compile(r"(?<![\w.,])(\d{1,4})-(?=,? (?:и |или )?\d{1,4}-[а-яё]{4})"), _compounds),
    (re.compile(r"(?<![\w.,])1[.,]5-(?=[а-яё]{4})"), "полутора"),
    (
        re.compile(r"(?<![\w.,])(\d{1,4})[.,]5-(?=[а-яё]{4})"),
        lambda m: f"{first_of_compound(int(m[1]))}споловиной",
    ),
    (re.compile(r"(?<![\w.,])(\d+)-([а-яёА-ЯЁ]+)"), _with_ending),
    (re.compile(r"(?<![\d.,/])(?:(\d{1,3})\s)?(\d{1,4})\s?/\s?(\d{1,4})(?![\d/]|[.,]\d)"), _fraction),
    (re.compile(r"(?<=\d)\s?/\s?(?=\d)"), " дробь "),
    (
        _QUANTITY,
        lambda m: _quantity(m) if m["unit"] or m["squared"] or m["sign"] or m["after"] or m["scale"] else m.group(),
    ),
    _APART,
    *BARE_UNITS,
)
"""Numbers that a sign, an ending or a unit explains."""

PLAIN_NUMBER_RULES: tuple[Rule, ...] = (
    _APART,
    (_QUANTITY, _quantity),
    (re.compile(r"(?<!\d)\d+"), lambda m: f" {cardinal(m.group())} "),
)
"""All numbers that are left."""
