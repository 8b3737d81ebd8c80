"""Names made of letters and digits in Russian text: Т-34, Ту-154, BMW X5, 4K, А4, C++, USB-C, № 5, § 3, 24/7.

A number in a name is no count: it is read in the nominative, whatever stands around it.
"""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Match, Rule, pair_up
from tolmach.processors.text_normalization.russian.context import preposition_case, text_after, text_before
from tolmach.processors.text_normalization.russian.initialisms import LETTER_NAMES, spell
from tolmach.processors.text_normalization.russian.morphology import decline, is_part
from tolmach.processors.text_normalization.russian.numerals import Case, cardinal


def _letters(letters: str) -> str:
    """What stands before the number: ``Т`` → тэ, ``АК`` → а-ка, ``Ту`` as it is."""
    if len(letters) == 1:
        return LETTER_NAMES[letters.lower()]
    return (spell(letters) or letters) if letters.isupper() else letters


def _designation(match: Match) -> str:
    letters, number, tail = match.group(1, 2, 3)
    said = f"{_letters(letters)} {cardinal(number)}"
    return f"{said} {_letters(tail)}" if tail else said


def _latin_number(match: Match) -> str:
    """``iPhone 15``: the number belongs to the name, unless a noun behind it is counted: "Google 2 книги"."""
    follows = re.match(r"\s([а-яё]+)", text_after(match))
    if match[1] == " " and follows and is_part(follows[1], "NOUN", "ADJF", at_least=0.3):
        return match.group()
    return f" {cardinal(match[2])} "


def _number_sign(match: Match) -> str:
    sign, number, more = match.group(1, 2, 3)
    noun = "номер" if sign[0] == "№" else "параграф"
    cases = preposition_case(text_before(match))
    case: Case = cases[0] if cases else "n"
    said = decline(noun, case, plural=bool(more) or len(sign) > 1)
    if re.match(r"[.,]\d|/", text_after(match)) or (more or "").startswith("/"):
        return f" {said} {number}{more or ''}"
    rest = re.sub(r"\s?[-–]\s?", " – ", re.sub(r"\d+", lambda m: cardinal(m.group()), more or ""))
    return f" {said} {cardinal(number)}{rest}"


_LATIN_UNITS = r"(?:km|cm|mm|kg|mg|ml|kHz|MHz|GHz|Hz|kW|KB|MB|GB|TB|dB|ms|min|USD|EUR|RUB|am|pm)"

_VITAMINS = pair_up("AАBВCСDEЕHKКPР", "а а бэ бэ цэ цэ дэ е е аш ка ка пэ пэ")
"""Called as in Latin or German, not as in English; a Cyrillic С is a Latin C here."""

DESIGNATION_RULES: tuple[Rule, ...] = (
    (
        re.compile(rf"(?<=[Вв]итамин)([а-я]{{0,3}}\s)([{''.join(_VITAMINS)}])[-\s]?(\d{{0,2}})(?!\w)"),
        lambda m: f"{m[1]}{_VITAMINS[m[2]]} {cardinal(m[3]) if m[3] else ''}",
    ),
    (re.compile(r"(?<!\w)C\+\+"), "си плюс плюс "),
    (re.compile(r"(?<!\w)C#"), "си-шарп "),
    (re.compile(r"(?<!\w)F#"), "эф-шарп "),
    (re.compile(r"(?<![\w.])\.(?=[A-Za-z])"), " точка "),  # .NET
    (re.compile(r"\+\s?/\s?[-–]|\+-(?=\s?\d)"), " плюс минус "),
    (re.compile(r"(?<=\d) ([А-ДЖЗИКЛ]) (?=класс|групп|подъезд|корпус)"), lambda m: f" {LETTER_NAMES[m[1].lower()]} "),
    (
        re.compile(
            r"(?<=[A-Za-z]\s)(\d{1,3})\.(\d{1,3})(?!\d|[.,]\d|\s?(?:[%°$€₽]|млн|млрд|тыс|трлн|(?:[кмс]?м|[км]?г|м?с|м?л|[чт]|раза?)(?!\w)))"
        ),
        lambda m: f"{cardinal(m[1])} точка {cardinal(m[2])}",
    ),
    (re.compile(r"(?<![\w/])24/7(?![\w/])"), "двадцать четыре на семь "),
    (re.compile(r"(№{1,2}|§{1,2})\s?(\d{1,9})((?:\s?[-–]\s?\d{1,9})?)(?!\w)"), _number_sign),
    (re.compile(r"(?<=\d)[KК](?![\w-])"), " ка "),
    (re.compile(r"(?<=[23])[DД](?!\w)"), " дэ "),
    (
        re.compile(r"(?<![\w-])([А-ЯЁ]|[А-ЯЁ]{2,4}|[А-ЯЁ][а-я]{1,2})-(\d{1,4})([А-ЯЁ]{0,3})(?![\w-]|[.,]\d)"),
        _designation,
    ),
    (re.compile(r"(?<![\w-])([АБГДЕЖЗЛМНПРСТФХЯ])(\d{1,4})()(?![\w-]|[.,]\d)"), _designation),
    (
        re.compile(r"(?<=\d)(?:-|\s?[«\"])([А-ДЖЗИКЛ])[»\"]?(?=\s(?:класс|групп|дом|корпус|отдел)|\s*[,.;)]|\s*$)"),
        lambda m: f" {LETTER_NAMES[m[1].lower()]}",
    ),
    (re.compile(r"(?<=\d)([АБГД])(?=\s(?:класс|групп))"), lambda m: f" {LETTER_NAMES[m[1].lower()]}"),
    (
        re.compile(rf"(?<=[A-Za-z])(-?| )(\d{{1,5}})(?![\d.,:/]*\d|\s?[%°$€]|{_LATIN_UNITS}(?!\w))"),
        _latin_number,
    ),
)
"""Names with numbers; before the rules of numbers."""
