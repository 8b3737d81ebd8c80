"""English text preparation; see :mod:`tolmach.processors.text_normalization.russian` for the idea."""

from __future__ import annotations

import re
import unicodedata
from datetime import date

from num2words import num2words

from tolmach.processors.text_normalization.common import (
    Match,
    Prepared,
    Rule,
    clean,
    finish,
    is_readable,
    letter_name,
    pair_up,
    read_table,
    rewrite,
    say_address,
    value_of_digits,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz'"

_DIGITS = pair_up("0123456789", "zero one two three four five six seven eight nine")
_LETTER_NAMES = pair_up(
    "abcdefghijklmnopqrstuvwxyz",
    "ay bee see dee ee ef gee aitch eye jay kay el em en oh pee cue ar ess tee you vee double-you ex why zee",
)
_MONTHS = "January February March April May June July August September October November December"
_MONTH = _MONTHS.replace(" ", "|")

_UNITS = {
    "%": ("percent", "percent"), "km/h": ("kilometer per hour", "kilometers per hour"),
    "mph": ("mile per hour", "miles per hour"), "km²": ("square kilometer", "square kilometers"),
    "m²": ("square meter", "square meters"), "m³": ("cubic meter", "cubic meters"), "km": ("kilometer", "kilometers"),
    "cm": ("centimeter", "centimeters"), "mm": ("millimeter", "millimeters"), "kg": ("kilogram", "kilograms"),
    "mg": ("milligram", "milligrams"), "g": ("gram", "grams"), "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"), "ft": ("foot", "feet"), "ml": ("milliliter", "milliliters"), "m": ("meter", "meters"),
    "l": ("liter", "liters"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"), "h": ("hour", "hours"),
    "min": ("minute", "minutes"), "sec": ("second", "seconds"), "ms": ("millisecond", "milliseconds"),
    "°C": ("degree Celsius", "degrees Celsius"), "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "℃": ("degree Celsius", "degrees Celsius"), "℉": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"), "Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"), "GHz": ("gigahertz", "gigahertz"), "W": ("watt", "watts"),
    "kW": ("kilowatt", "kilowatts"), "V": ("volt", "volts"), "KB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"), "GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"),
    "dB": ("decibel", "decibels"),
}  # fmt: skip
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"), "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"), "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "¥": ("yen", "yen", "sen", "sen"),
}  # fmt: skip
_SIGNS = {
    "&": "and", "@": "at", "#": "number", "№": "number", "%": "percent", "+": "plus", "=": "equals", "<": "less than",
    ">": "greater than", "~": "about", "≈": "about", "±": "plus or minus", "×": "times", "÷": "divided by",
    "§": "section", "°": "degrees", "℃": "degrees Celsius", "℉": "degrees Fahrenheit", "²": "squared", "³": "cubed",
    "½": "one half", "¼": "one quarter", "¾": "three quarters", "⅓": "one third", "⅔": "two thirds", "^": "to the",
    "√": "square root of", "∞": "infinity", "¢": "cents", "≤": "at most", "≥": "at least", "≠": "is not",
}  # fmt: skip
_SIGNS |= {sign: names[1] for sign, names in _CURRENCIES.items()}
_ADDRESS_SIGNS = {
    ".": "dot", "@": "at", "/": "slash", ":": "colon", "-": "dash", "_": "underscore", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde",
}  # fmt: skip

_CYRILLIC = read_table(
    "а:a б:b в:v г:g д:d е:e ё:yo ж:zh з:z и:i й:y к:k л:l м:m н:n о:o п:p р:r с:s т:t у:u ф:f х:kh ц:ts ч:ch ш:sh "
    "щ:shch ъ: ы:y ь: э:e ю:yu я:ya і:i ї:yi є:ye ґ:g ў:w ј:y љ:ly њ:ny ћ:ch ђ:j џ:j ә:a ғ:g қ:k ң:ng ө:o ұ:u ү:u "
    "һ:h"
)
"""Cyrillic letters in English spelling (BGN/PCGN romanisation, the signs left out)."""
_GREEK = pair_up("αβγδεζηθικλμνξοπρσςτυφχψω", "a v g d e z i th i k l m n x o p r s s t y f ch ps o")
_SPECIAL = {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "th", "þ": "th", "ı": "i", "ŋ": "ng"}


def prepare_english(text: str) -> Prepared:
    """English text for a Silero model; Cyrillic letters, digits and signs become English words."""
    text = clean(text)
    shouted = text.isupper() and len(text.split()) > 2  # three capitalised words are no acronyms
    text = rewrite(say_address(text, _ADDRESS_SIGNS), _RULES)
    text = "".join(map(_romanise, text))
    text = _CAPITALS.sub(lambda m: m.group() if shouted else _acronym(m.group()), text)
    text = _CONSONANTS.sub(lambda m: _acronym(m.group().upper()), text)
    prepared = finish(text, LETTERS, _letter)
    words = re.sub(r"(?<![a-z])'|'(?![a-z])", "", prepared.text)
    return Prepared(" ".join(words.split()), prepared.lost)


def _cardinal(number: str) -> str:
    value = value_of_digits(number)
    if value is None:
        return " ".join(_DIGITS[digit] for digit in number)
    return str(num2words(value)).replace(",", "")


def _number(whole: str, fraction: str | None) -> str:
    said = _cardinal(whole.replace(",", ""))
    return f"{said} point {' '.join(_DIGITS[d] for d in fraction)}" if fraction else said


def _year(year: int) -> str:
    return str(num2words(year, to="year"))


def _ordinal(number: int) -> str:
    return str(num2words(number, to="ordinal"))


def _counted(whole: str, fraction: str | None, one: str, many: str) -> str:
    return f"{_number(whole, fraction)} {one if whole == '1' and not fraction else many}"


def _date(day: str, month: str, year: str, rest: str) -> str:
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return rest
    return f"{_MONTHS.split()[int(month) - 1]} {_ordinal(int(day))} {_year(int(year))}"


def _time(match: Match) -> str:
    hours, minutes, noon = match.group(1, 2, 3)
    said = _cardinal(str(int(hours)))
    if minutes and minutes != "00":
        said += f" oh {_cardinal(minutes[1])}" if minutes.startswith("0") else f" {_cardinal(minutes)}"
    elif not noon:
        said += " o'clock" if 0 < int(hours) <= 12 else " hundred" if int(hours) else " zero zero"
    return f"{said} {'ay em' if noon[0] in 'aA' else 'pee em'} " if noon else f"{said} "


def _money(match: Match) -> str:
    sign, whole, fraction, scale = match.group(1, 2, 3, 4)
    one, many, cent, cents = _CURRENCIES[sign]
    if scale:
        return f"{_number(whole, fraction)} {scale} {many}"
    if fraction and len(fraction) == 2:
        hundredths = f" {_counted(str(int(fraction)), None, cent, cents)}" if int(fraction) else ""
        return _counted(whole.replace(",", ""), None, one, many) + hundredths
    return _counted(whole, fraction, one, many)


def _decade(match: Match) -> str:
    said = _year(int(match[1])) if len(match[1]) == 4 else _cardinal(match[1])
    return said[:-1] + "ies" if said.endswith("y") else said + "s"


def _month_day(match: Match) -> str:
    month, day, year = match.group(1, 2, 3)
    if not 1 <= int(day) <= 31:
        return match.group()
    return f"{month} {_ordinal(int(day))}" + (f", {_year(int(year))}" if year else "")


_NUMBER = r"(?<!\d)(\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.(\d+))?"
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_CURRENCY = "[" + "".join(map(re.escape, _CURRENCIES)) + "]"
_SCALE = "thousand|million|billion|trillion"
_SHORT = {
    "Mr": "mister", "Mrs": "missis", "Ms": "miz", "Dr": "doctor", "Prof": "professor", "vs": "versus",
    "etc": "et cetera", "approx": "approximately", "dept": "department", "Jr": "junior", "Sr": "senior",
}  # fmt: skip


def _short(match: Match) -> str:
    return _SHORT[match[1]] + ("." if match[2] is not None and match[1] == "etc" else " ")


def _telephone(match: Match) -> str:
    number = match.group()
    if sum(char.isdigit() for char in number) < 7:
        return number
    groups = [" ".join(_DIGITS[d] for d in group) for group in re.findall(r"\d+", number)]
    return ("plus " if number.startswith("+") else "") + ", ".join(groups) + " "


_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<!\w)e\.\s?g\.", re.IGNORECASE), "for example "),
    (re.compile(r"(?<!\w)i\.\s?e\.", re.IGNORECASE), "that is "),
    (re.compile(r"(?<!\w)St\.(?=\s+[A-Z])"), "Saint "),
    (re.compile(r"(?<!\w)Ph\.\s?D(?:\.|(?!\w))"), "pee aitch dee "),
    (re.compile(r"(?<!\w)No\.(?=\s*\d)"), "number "),
    (re.compile(rf"(?<!\w)({'|'.join(_SHORT)})\.(?=(\s*$|\s+[A-Z])?)"), _short),
    (re.compile(r"(?<!\w)(?:[A-Z]\.){2,}"), lambda m: _acronym(m.group().replace(".", "")) + " "),
    (re.compile(r"(?<!\w)([A-Z])\.\s(?=[A-Z](?:\.\s|[a-z]))"), lambda m: f"{_LETTER_NAMES[m[1].lower()]} "),
    (re.compile(r"(?<![\d.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?!\d)"), lambda m: _date(*m.group(1, 2, 3, 0))),
    (re.compile(r"(?<![\d-])(\d{4})-(\d{2})-(\d{2})(?![\d-])"), lambda m: _date(*m.group(3, 2, 1, 0))),
    (re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])\s?([ap]\.?\s?m\b\.?)?", re.IGNORECASE), _time),
    (re.compile(r"(?<![\d:.])(1[0-2]|[1-9])()\s?([ap]\.?m\b\.?)", re.IGNORECASE), _time),
    (re.compile(r"(?<=\d):(?=\d)"), " to "),
    (re.compile(r"(?<![\w-])\+?\d[\d()]*(?:[ -]\(?\d{2,4}\)?){2,}(?!\d)"), _telephone),
    (re.compile(r"(?<!\d)\d+(?:\.\d+){2,}"), lambda m: m.group().replace(".", " point ")),
    (re.compile(rf"(?<!\w)({_MONTH})\s+(\d{{1,2}})(?:st|nd|rd|th)?(?!\d)(?:,?\s+(\d{{4}})(?!\d))?"), _month_day),
    (
        re.compile(rf"(?<!\w)({_MONTH}|[Ii]n|[Ss]ince|[Bb]y|[Uu]ntil)\s+(1[1-8]\d\d)(?![\w.,]*\d)(?!\s?%)"),
        lambda m: f"{m[1]} {_year(int(m[2]))}",
    ),
    (
        re.compile(r"(?<![\w.,+-])(\d{1,2})/(\d{1,2})/((?:19|20)\d\d)(?!\w)"),
        lambda m: ", ".join(map(_cardinal, m.group(1, 2))) + f", {_year(int(m[3]))}",
    ),
    # "1950 people" is rarer than the year, and said the same way by many.
    (
        re.compile(rf"(?<![\w.,:/$€£¥₽+-])((?:19|20)\d\d)(?![\w%°]|[.,:/-]\d|\s?(?:{_UNIT})(?!\w))"),
        lambda m: _year(int(m[1])),
    ),
    (re.compile(r"(?<![\w.,])(\d{2}|\d{4})'?s(?!\w)"), _decade),
    (re.compile(r"(?<![\w.,])(\d{1,15})(?:st|nd|rd|th)(?!\w)", re.IGNORECASE), lambda m: _ordinal(int(m[1]))),
    (re.compile(rf"({_CURRENCY})\s?{_NUMBER}(?:\s?({_SCALE})(?!\w))?"), _money),
    (re.compile(rf"{_NUMBER}\s?({_CURRENCY})"), lambda m: _counted(m[1], m[2], *_CURRENCIES[m[3]][:2])),
    (re.compile(r"(?<![\w.,])(\d+)(?:[-–]| [-–] )(?=\d)"), lambda m: f"{_cardinal(m[1])} to "),
    (re.compile(r"(?<![\w.,])-(?=\d)"), " minus "),
    (re.compile(rf"(?<![\d.,]){_NUMBER}\s?({_UNIT})(?!\w)"), lambda m: _counted(m[1], m[2], *_UNITS[m[3]])),
    (re.compile(r"(?<=\d)\s?/\s?(?=\d)"), " over "),
    (re.compile(rf"{_NUMBER}"), lambda m: f" {_number(m[1], m[2])} "),
    (re.compile("[" + "".join(map(re.escape, _SIGNS)) + "]"), lambda m: f" {_SIGNS[m.group()]} "),
)


_CAPITALS = re.compile(r"(?<![A-Za-z'])[A-Z]{2,6}(?![A-Za-z'])")
_CONSONANTS = re.compile(r"(?<![a-z'])[bcdfghjklmnpqrstvwxz]{2,}(?![a-z'])", re.IGNORECASE)
"""A word without a vowel cannot be read, only spelled."""


def _acronym(word: str) -> str:
    # NATO and UNICEF are read as words; three letters, or consonants in a row, are spelled.
    if (len(word) == 2 and word in _TWO_LETTER_WORDS) or (len(word) > 3 and is_readable(word)):
        return word
    return " ".join(_LETTER_NAMES[c] for c in word.lower())


_TWO_LETTER_WORDS = frozenset(
    "AM AN AS AT BE BY DO GO HE HI IF IN IS ME MY NO OF OH ON OR SO TO UP WE".split()  # noqa: SIM905
)


def _romanise(char: str) -> str:
    lower = char.lower()
    if lower not in _CYRILLIC:
        return char
    latin = _CYRILLIC[lower]
    return latin.capitalize() if char != lower else latin


def _letter(char: str) -> str:
    if char in _SPECIAL or char in _GREEK:
        return _SPECIAL.get(char) or _GREEK[char]
    base = unicodedata.normalize("NFD", char)[0]
    if base in _GREEK or base in _CYRILLIC or base in LETTERS:
        return _GREEK.get(base) or _CYRILLIC.get(base) or base
    return letter_name(char)
