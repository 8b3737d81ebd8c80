"""Russian text preparation.

The order of the rules matters: what is longest and surest comes first (addresses, telephones, dates), plain numbers and
single signs last. Rules produce words, so later rules find nothing to misread.
"""

from __future__ import annotations

import re
from datetime import date
from typing import cast

from tolmach.processors.text_normalization.common import (
    STRESS,
    Match,
    Prepared,
    Rule,
    clean,
    finish,
    rewrite,
    say_address,
    value_of_digits,
)
from tolmach.processors.text_normalization.latin import greek_word, letter_to_cyrillic, to_cyrillic
from tolmach.processors.text_normalization.russian_words import (
    ABBREVIATIONS,
    ADDRESS_SIGNS,
    BARE_UNITS,
    CURRENCIES,
    LETTER_NAMES,
    MONTHS,
    SIGNS,
    STOP,
    UNITS,
    Case,
    Gender,
    Unit,
    agree,
    cardinal,
    decimal,
    digits,
    first_of_compound,
    ordinal,
    spell,
)

LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"


def prepare_russian(text: str) -> Prepared:
    """Russian text for a Silero model; Latin letters, digits and signs become Russian words."""
    text = re.sub("(?<=[аеёиоуыэюяАЕЁИОУЫЭЮЯ])[\u0301\u00b4]", "\u0301", clean(text))
    text = re.sub("([аеёиоуыэюяАЕЁИОУЫЭЮЯ])\u0301", rf"{STRESS}\1", text)
    text = rewrite(say_address(text, ADDRESS_SIGNS), _RULES)
    text = _WORD.sub(lambda m: _word(m.group()), text)
    return finish(text, LETTERS, letter_to_cyrillic)


# Dates, times and telephone numbers -------------------------------------------------------------------------------

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


# Numbers ----------------------------------------------------------------------------------------------------------

_NUMBER = r"(?<!\d)(\d+)(?:[.,](\d+))?"


_ENDINGS: dict[str, tuple[Case, Gender, bool]] = (
    dict.fromkeys(("й", "ый", "ий", "ой"), ("n", "m", False))
    | dict.fromkeys(("я", "ая", "ья"), ("n", "f", False))
    | dict.fromkeys(("ое", "ье"), ("n", "n", False))
    | dict.fromkeys(("го", "ого", "его"), ("g", "m", False))
    | dict.fromkeys(("му", "ому", "ему"), ("d", "m", False))
    | dict.fromkeys(("м", "ом", "ем"), ("p", "m", False))
    | dict.fromkeys(("ым", "им"), ("i", "m", False))
    | dict.fromkeys(("ю", "ую", "ью"), ("a", "f", False))
    | dict.fromkeys(("ые", "ие", "ьи"), ("n", "m", True))
    | dict.fromkeys(("х", "ых", "их"), ("g", "m", True))
    | dict.fromkeys(("ми", "ыми", "ими"), ("i", "m", True))
)


def _with_ending(match: Match) -> str:
    number, ending, noun = match.group(1), match.group(2).lower(), match.group(3) or ""
    value = value_of_digits(number)
    if value is None:
        return f"{cardinal(number)} {ending}"
    if ending in ("х", "ех", "ёх") and value % 10 in (2, 3, 4) and value < 100:
        return cardinal(number, "g")
    if ending in ("ти", "и"):
        return cardinal(number, "g")
    if ending in ("мя", "ью"):
        return cardinal(number, "i")
    if ending == "й" and noun.endswith(("ы", "и", "е")):
        return ordinal(value, "g", "f")  # "с 5-й платформы"
    if ending == "е":
        # "90-е" are years, "5-е" is a place or a day.
        return ordinal(value, plural=True) if value % 10 == 0 and value > 9 else ordinal(value, gender="n")
    if ending in _ENDINGS:
        case, gender, plural = _ENDINGS[ending]
        return ordinal(value, case, gender, plural=plural)
    if value <= 1000 and len(ending) > 3:
        return f"{first_of_compound(value)}{ending}"
    return f"{cardinal(number)} {ending}"


def _money(sign: str, whole: str, fraction: str | None, scale: str | None) -> str:
    unit, hundredth = CURRENCIES[sign]
    if scale:
        return f"{_counted(whole, fraction, UNITS[scale])} {unit.many} "
    if fraction is None or len(fraction) != 2:
        return f"{_counted(whole, fraction, unit)} "
    cents = f" {_counted(str(int(fraction)), None, hundredth)}" if int(fraction) else ""
    return f"{_counted(whole, None, unit)}{cents} "


def _counted(whole: str, fraction: str | None, unit: Unit, case: Case = "n") -> str:
    if fraction is not None:
        return f"{decimal(whole, fraction)} {unit.few}"
    value = value_of_digits(whole)
    if value is None:
        return f"{cardinal(whole)} {unit.many}"
    number = cardinal(whole, case, unit.gender)
    if case == "g":  # "до одного процента", "до двух процентов"
        return f"{number} {agree(value, unit.few, unit.many, unit.many)}"
    return f"{number} {agree(value, unit.one, unit.few, unit.many)}"


def _measured(match: Match) -> str:
    before, whole, fraction, unit = match.group(1, 2, 3, 4)
    case = _case((before or "").strip().lower(), whole, "")
    return f"{before or ''}{_counted(whole, fraction, UNITS[unit], case)} "


def _fraction(match: Match) -> str:
    above, below = match.group(1, 2)
    if len(above) > 2 or len(below) > 2 or not 0 < int(above) < int(below) <= 10:
        return f"{cardinal(above)} дробь {cardinal(below)}"
    parts = ordinal(int(below), gender="f") if int(above) == 1 else ordinal(int(below), "g", plural=True)
    return f"{cardinal(above, gender='f')} {parts}"


_GENITIVE = ("от", "до", "около", "после", "более", "менее", "больше", "меньше", "свыше", "без", "для", "из")
_LOCATIVE = ("в", "во", "на", "о", "об", "при")


def _plain(match: Match) -> str:
    before, whole, fraction, after = match.group(1, 2, 3, 4)
    if fraction is not None:
        return f"{before or ''}{decimal(whole, fraction)}"
    case = _case((before or "").strip().lower(), whole, after or "")
    return f"{before or ''}{cardinal(whole, case, _gender(whole, after or '', case))}"


def _case(before: str, number: str, noun: str) -> Case:
    # The noun's plural ending tells most; else the preposition; "в 1 классе" has neither plural nor neuter.
    for endings, case in ((("ах", "ях"), "p"), (("ам", "ям"), "d"), (("ами", "ями"), "i")):
        if noun.endswith(endings):
            return cast("Case", case)
    if before in _LOCATIVE and number.endswith("1") and noun.endswith("е"):
        return "p"
    return "g" if before in _GENITIVE else "d" if before in ("к", "ко") else "n"


def _gender(number: str, noun: str, case: Case) -> Gender:
    # After 1 the noun's own ending tells; after 2 the genitive's does: две минуты, but два часа and два окна.
    if len(noun) < 3:  # a preposition
        return "m"
    feminine, neuter = (("а", "я"), ("о", "е")) if number.endswith("1") else (("ы", "и"), ())
    if case != "n":
        feminine, neuter = ("ы", "и"), ()
    return "f" if noun.endswith(feminine) else "n" if neuter and noun.endswith(neuter) else "m"


_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def _roman(numeral: str) -> int:
    values = [_ROMAN[c] for c in numeral]
    return sum(-v if any(w > v for w in values[i + 1 : i + 2]) else v for i, v in enumerate(values))


_CENTURY: dict[str, Case] = {"век": "n", "века": "g", "веку": "d", "веком": "i", "веке": "p", "веков": "g"}


def _century(match: Match) -> str:
    first, numeral, word = match.group(1, 2, 3)
    case = _CENTURY.get(word)
    if case is None:
        return match.group()
    return (f"{ordinal(_roman(first), case)} – " if first else "") + f"{ordinal(_roman(numeral), case)} {word}"


def _reign(match: Match) -> str:
    name, numeral = match.group(1, 2)
    return f"{name} {ordinal(_roman(numeral), gender='f' if name.endswith(('а', 'я')) else 'm')}"


_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_CURRENCY = "[" + "".join(map(re.escape, CURRENCIES)) + "]"
_SCALE = "тыс|млн|млрд|трлн"

_NUMBERED = r"(?i:пункт|раздел|верси|параграф|таблиц|рисун|част|стать|глав)[а-яё]*\s"
"""What is followed by the number of a part, not by a decimal fraction."""

_RULES: tuple[Rule, ...] = (
    *ABBREVIATIONS,
    (re.compile(r"(?<!\w)C#"), "си-шарп "),
    (re.compile(r"(?<![\w.])\.(?=[A-Za-z])"), " точка "),  # .NET
    (
        re.compile(rf"(?<!\w)({_NUMBERED})(\d+)\.(\d+)(?![.,]?\d)"),
        lambda m: f"{m[1]}{cardinal(m[2])} точка {cardinal(m[3])}",
    ),
    (re.compile(r"(?<!\w)([А-ЯЁ])\.\s?(?=[А-ЯЁ](?:\.|[а-яё]))"), lambda m: f"{LETTER_NAMES[m[1].lower()]} "),
    *DATE_RULES,
    (re.compile(r"(?<=\d)[ ](?=\d{3}(?!\d))(?<!\d{4} )"), ""),
    (
        re.compile(r"(?<![\d.,])\d{1,3}(?:([.,])\d{3})(?:\1\d{3})+(?![.,]?\d)"),
        lambda m: re.sub("[.,]", "", m.group()),
    ),
    (re.compile(r"(?<!\d)\d+(?:\.\d+){2,}"), lambda m: " точка ".join(map(cardinal, m.group().split(".")))),
    (re.compile(r"(?<![\w.,])(\d+)-([а-яёА-ЯЁ]+)(?=\s+([а-яё]+))?"), _with_ending),
    (re.compile(rf"({_CURRENCY})\s?{_NUMBER}(?:\s?({_SCALE}){STOP})?"), lambda m: _money(*m.group(1, 2, 3, 4))),
    (re.compile(rf"{_NUMBER}(?:\s?({_SCALE}){STOP})?\s?({_CURRENCY})"), lambda m: _money(*m.group(4, 1, 2, 3))),
    (re.compile(r"(?<![\w.,])(\d+)(?:[-–]| [-–] )(?=\d)"), lambda m: f"{cardinal(m[1])} – "),
    (re.compile(r"(?<![\w.,])-(?=\d)"), " минус "),
    (re.compile(rf"((?<!\w)(?:{'|'.join(_GENITIVE)})\s)?(?<![\d.,]){_NUMBER}\s?({_UNIT}){STOP}"), _measured),
    *BARE_UNITS,
    (re.compile(r"(?<![\d.,/])(\d+)\s?/\s?(\d+)(?![\d/]|[.,]\d)"), _fraction),
    (re.compile(r"(?<=\d)\s?/\s?(?=\d)"), " дробь "),
    (re.compile(r"(?<!\w)(?:([IVXLC]{1,7})\s?[-–]\s?)?([IVXLC]{1,7})\s+(век\w*)"), _century),
    (re.compile(r"(?<!\w)([А-ЯЁ][а-яё]{2,})\s+([IVX]{1,5})(?!\w)"), _reign),
    (re.compile(r"(?<!\w)[IVX]{2,7}(?!\w)"), lambda m: cardinal(str(_roman(m.group())))),
    (re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"), " "),
    (re.compile(rf"((?<!\w)[а-яёА-ЯЁ]+\s)?(?<![\d]){_NUMBER}(?=\s+([а-яё]+))?"), _plain),
    (re.compile("[" + "".join(map(re.escape, SIGNS)) + "]"), lambda m: f" {SIGNS[m.group()]} "),
)


# Words ------------------------------------------------------------------------------------------------------------

_LATIN = "A-Za-zÀ-ÖØ-öø-ʯḀ-ỿ"
_WORD = re.compile(
    rf"[{_LATIN}]+(?:['-][{_LATIN}]+)*|[\u0370-\u03ff\u1f00-\u1fff]+|(?<![А-ЯЁа-яё{STRESS}])[А-ЯЁ]{{2,6}}(?![А-ЯЁа-яё])"
)


def _word(word: str) -> str:
    if re.match(rf"[{_LATIN}]", word):
        return f" {to_cyrillic(word.replace(chr(39), ''))} " if word else ""
    if re.match("[А-ЯЁ]", word):
        return spell(word) or word
    return f" {greek_word(word)} "
