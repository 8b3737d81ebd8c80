"""Russian words of the text preparation: numbers, abbreviations, units, signs, letter names.

num2words declines the number itself; case, gender and agreement with what is counted are chosen here.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from num2words import num2words

from tolmach.processors.text_normalization.common import pair_up, value_of_digits

Case = Literal["n", "g", "d", "a", "i", "p"]
"""Nominative, genitive, dative, accusative, instrumental, prepositional; num2words' letters."""

Gender = Literal["m", "f", "n"]

_DIGITS = "ноль один два три четыре пять шесть семь восемь девять".split()  # noqa: SIM905
_PARTS = {1: "десят", 2: "сот", 3: "тысячн", 4: "десятитысячн", 5: "стотысячн", 6: "миллионн"}


def digits(number: str) -> str:
    """A run of digits one by one: ``007`` → ноль ноль семь."""
    return " ".join(_DIGITS[int(digit)] for digit in number)


def cardinal(number: str, case: Case = "n", gender: Gender = "m") -> str:
    """A run of digits as a number; leading zeros, and runs longer than any number people name, digit by digit."""
    value = value_of_digits(number)
    if value is None:
        zeros = len(number) - len(number.lstrip("0"))
        if 0 < zeros < len(number) <= 4:
            return f"{digits(number[:zeros])} {cardinal(number[zeros:], case, gender)}"
        return digits(number)
    # The gender is that of the counted things, which thousands and millions have of their own.
    gender = gender if value % 10 in (1, 2) and value % 100 not in (11, 12) else "m"
    return _fix(num2words(value, lang="ru", case=case, gender=gender)) if value < 1000 else _large(value, case, gender)


def _large(value: int, case: Case, gender: Gender) -> str:
    # num2words gives the gender to the millions too ("две миллиона"), so the last three digits go separately.
    head, tail = value - value % 1000, value % 1000
    words = _fix(num2words(head, lang="ru", case=case))
    return f"{words} {_fix(num2words(tail, lang='ru', case=case, gender=gender))}" if tail else words


def ordinal(number: int, case: Case = "n", gender: Gender = "m", *, plural: bool = False) -> str:
    """Which one: 5 → пятый, пятого, пятая, пятые."""
    return _fix(num2words(number, lang="ru", to="ordinal", case=case, gender=gender, plural=plural, animate=False))


def decimal(whole: str, fraction: str) -> str:
    """A decimal fraction: 3,14 → три целых четырнадцать сотых."""
    if len(fraction) not in _PARTS or value_of_digits(whole) is None:
        return f"{cardinal(whole)} запятая {digits(fraction)}"
    parts = _PARTS[len(fraction)] + agree(int(fraction), "ая", "ых", "ых")
    integers = agree(int(whole), "целая", "целых", "целых")
    return f"{cardinal(whole, gender='f')} {integers} {cardinal(str(int(fraction)), gender='f')} {parts}"


def agree(count: int, one: str, few: str, many: str) -> str:
    """The form of a noun after a number: 1 час, 2 часа, 5 часов."""
    if count % 100 in (11, 12, 13, 14):
        return many
    return one if count % 10 == 1 else few if count % 10 in (2, 3, 4) else many


def first_of_compound(number: int) -> str:
    """The first part of a compound: 5 → пяти(этажный), 100 → сто(процентный)."""
    if number in (1, 1000):
        return "одно" if number == 1 else "тысяче"
    words = cardinal(str(number), "g").split()
    exceptions = {"ста": "сто", "девяноста": "девяносто", "одного": "одно"}
    return "".join(exceptions.get(word, word) for word in words)


def _fix(words: str) -> str:
    return words.removeprefix("одна ") if words.startswith("одна тысяча") else words


class Unit(NamedTuple):
    """A counted noun: 1 рубль, 2 рубля, 5 рублей, and its gender."""

    one: str
    few: str
    many: str
    gender: Gender = "m"


def _unit(forms: str, gender: Gender = "m") -> Unit:
    one, few, many = forms.split(",")
    return Unit(one, few, many, gender)


_METRE, _GRAM, _LITRE = _unit("метр,метра,метров"), _unit("грамм,грамма,граммов"), _unit("литр,литра,литров")
_KM = _unit("километр,километра,километров")
_HOUR, _MINUTE, _SECOND = (
    _unit("час,часа,часов"),
    _unit("минута,минуты,минут", "f"),
    _unit("секунда,секунды,секунд", "f"),
)
_PER_CENT = _unit("процент,процента,процентов")
_ROUBLE, _DOLLAR = _unit("рубль,рубля,рублей"), _unit("доллар,доллара,долларов")
_EURO = _unit("евро,евро,евро")


def _with(prefix: str, unit: Unit) -> Unit:
    return Unit(prefix + unit.one, prefix + unit.few, prefix + unit.many, unit.gender)


def _times(unit: Unit, suffix: str) -> Unit:
    return Unit(f"{unit.one} {suffix}", f"{unit.few} {suffix}", f"{unit.many} {suffix}", unit.gender)


def _squared(unit: Unit, how: str) -> Unit:
    return Unit(f"{how}ый {unit.one}", f"{how}ых {unit.few}", f"{how}ых {unit.many}", unit.gender)


_DEGREE = _unit("градус,градуса,градусов")
_CELSIUS, _FAHRENHEIT = _times(_DEGREE, "цельсия"), _times(_DEGREE, "фаренгейта")
_BYTE, _HERTZ, _WATT = _unit("байт,байта,байт"), _unit("герц,герца,герц"), _unit("ватт,ватта,ватт")
_VOLT = _unit("вольт,вольта,вольт")

UNITS: dict[str, Unit] = {
    "%": _PER_CENT, "‰": _unit("промилле,промилле,промилле"),
    "км/ч": _times(_KM, "в час"), "km/h": _times(_KM, "в час"), "м/с": _times(_METRE, "в секунду"),
    "m/s": _times(_METRE, "в секунду"), "км²": _squared(_KM, "квадратн"), "м²": _squared(_METRE, "квадратн"),
    "м³": _squared(_METRE, "кубическ"), "km²": _squared(_KM, "квадратн"), "m²": _squared(_METRE, "квадратн"),
    "m³": _squared(_METRE, "кубическ"), "кв. м": _squared(_METRE, "квадратн"), "кв.м": _squared(_METRE, "квадратн"),
    "мм рт. ст": _times(_with("милли", _METRE), "ртутного столба"),
    "км": _KM, "м": _METRE, "см": _with("санти", _METRE), "мм": _with("милли", _METRE), "km": _KM, "m": _METRE,
    "cm": _with("санти", _METRE), "mm": _with("милли", _METRE), "кг": _with("кило", _GRAM), "г": _GRAM, "гр": _GRAM,
    "мг": _with("милли", _GRAM), "kg": _with("кило", _GRAM), "g": _GRAM, "mg": _with("милли", _GRAM),
    "т": _unit("тонна,тонны,тонн", "f"), "га": _unit("гектар,гектара,гектаров"), "л": _LITRE,
    "мл": _with("милли", _LITRE), "l": _LITRE, "ml": _with("милли", _LITRE), "ч": _HOUR, "час": _HOUR, "мин": _MINUTE,
    "сек": _SECOND, "мс": _with("милли", _SECOND), "ms": _with("милли", _SECOND), "min": _MINUTE,
    "°C": _CELSIUS, "°С": _CELSIUS, "℃": _CELSIUS, "°F": _FAHRENHEIT, "℉": _FAHRENHEIT, "°": _DEGREE,
    "Гц": _HERTZ, "кГц": _with("кило", _HERTZ), "МГц": _with("мега", _HERTZ), "ГГц": _with("гига", _HERTZ),
    "Hz": _HERTZ, "kHz": _with("кило", _HERTZ), "MHz": _with("мега", _HERTZ), "GHz": _with("гига", _HERTZ),
    "Вт": _WATT, "кВт": _with("кило", _WATT), "МВт": _with("мега", _WATT), "W": _WATT, "kW": _with("кило", _WATT),
    "кВт·ч": _times(_with("кило", _WATT), "час"), "кВт*ч": _times(_with("кило", _WATT), "час"), "В": _VOLT, "V": _VOLT,
    "КБ": _with("кило", _BYTE), "МБ": _with("мега", _BYTE), "ГБ": _with("гига", _BYTE), "ТБ": _with("тера", _BYTE),
    "KB": _with("кило", _BYTE), "MB": _with("мега", _BYTE), "GB": _with("гига", _BYTE), "TB": _with("тера", _BYTE),
    "Кб": _with("кило", _BYTE), "Мб": _with("мега", _BYTE), "Гб": _with("гига", _BYTE), "Тб": _with("тера", _BYTE),
    "дБ": _unit("децибел,децибела,децибел"), "dB": _unit("децибел,децибела,децибел"),
    "тыс": _unit("тысяча,тысячи,тысяч", "f"), "млн": _unit("миллион,миллиона,миллионов"),
    "млрд": _unit("миллиард,миллиарда,миллиардов"), "трлн": _unit("триллион,триллиона,триллионов"),
    "руб": _ROUBLE, "р": _ROUBLE, "коп": _unit("копейка,копейки,копеек", "f"), "долл": _DOLLAR,
    "шт": _unit("штука,штуки,штук", "f"),
    "чел": _unit("человек,человека,человек"), "USD": _DOLLAR, "EUR": _EURO, "RUB": _ROUBLE,
}  # fmt: skip
"""Units after a number, as they are written (case matters, a full stop may follow)."""

CURRENCIES: dict[str, tuple[Unit, Unit]] = {
    "$": (_DOLLAR, _unit("цент,цента,центов")),
    "€": (_EURO, _unit("цент,цента,центов")),
    "£": (_unit("фунт,фунта,фунтов"), _unit("пенни,пенни,пенни")),
    "₽": (_ROUBLE, _unit("копейка,копейки,копеек", "f")),
    "¥": (_unit("иена,иены,иен", "f"), _unit("сен,сена,сен")),
    "₴": (_unit("гривна,гривны,гривен", "f"), _unit("копейка,копейки,копеек", "f")),
    "₸": (_unit("тенге,тенге,тенге"), _unit("тиын,тиына,тиын")),
}
"""Currency signs: the unit and its hundredth."""

MONTHS = "января февраля марта апреля мая июня июля августа сентября октября ноября декабря".split()  # noqa: SIM905

STOP = r"(?!\w)(?:\.(?!\s*$|\s+(?-i:[А-ЯЁ])))?"
"""The full stop of an abbreviation goes, unless it ends the sentence as well."""


def _short(pattern: str, words: str, flags: int = re.IGNORECASE) -> tuple[re.Pattern[str], str]:
    return re.compile(rf"(?<!\w){pattern}", flags), f"{words} "


ABBREVIATIONS = (
    _short(rf"и\s+т\.\s?д{STOP}", "и так далее"),
    _short(rf"и\s+т\.\s?п{STOP}", "и тому подобное"),
    _short(rf"и\s+др{STOP}", "и другие"),
    _short(rf"и\s+пр{STOP}", "и прочее"),
    _short(r"т\.\s?е\.", "то есть"),
    _short(r"т\.\s?к\.", "так как"),
    _short(r"т\.\s?н\.", "так называемый"),
    _short(r"т\.\s?о\.", "таким образом"),
    _short(r"до\s+н\.\s?э\.", "до нашей эры"),
    _short(r"н\.\s?э\.", "нашей эры"),
    _short(r"напр\.", "например"),
    _short(r"(?<=на )ул\.", "улице"),
    _short(r"ул\.", "улица"),
    _short(r"просп\.", "проспект"),
    _short(r"пл\.(?=\s*[А-ЯЁ])", "площадь", 0),
    _short(r"пер\.(?=\s*[А-ЯЁ])", "переулок", 0),
    _short(r"обл\.", "область"),
    _short(r"р-н(?!\w)", "район"),
    _short(r"д\.(?=\s*\d)", "дом"),
    _short(r"кв\.(?=\s*\d)", "квартира"),
    _short(r"стр\.(?=\s*\d)", "страница"),
    _short(r"рис\.(?=\s*\d)", "рисунок"),
    _short(r"гл\.(?=\s*\d)", "глава"),
    _short(r"ст\.(?=\s*\d)", "статья"),
    _short(r"п\.(?=\s*\d)", "пункт"),
    _short(r"тел\.", "телефон"),
    _short(r"г\.(?=\s*[А-ЯЁ])", "город", 0),
    _short(r"проф\.", "профессор"),
    _short(r"акад\.", "академик"),
    _short(r"им\.(?=\s*[А-ЯЁ])", "имени", 0),
    _short(r"см\.(?=\s+[а-яё])", "смотри", 0),
    _short(r"ср\.(?=\s+[а-яё])", "сравни", 0),
    _short(r"г-н(?!\w)", "господин"),
    _short(r"г-жа(?!\w)", "госпожа"),
)
"""Abbreviations and their words; those that need a number in front of them are :data:`UNITS`."""

BARE_UNITS = (
    _short(rf"тыс{STOP}", "тысяч"),
    _short(rf"млн{STOP}", "миллионов"),
    _short(rf"млрд{STOP}", "миллиардов"),
    _short(rf"трлн{STOP}", "триллионов"),
    _short(rf"руб{STOP}", "рублей"),
    _short(rf"коп{STOP}", "копеек"),
    _short(rf"гг{STOP}", "годов"),
    _short(rf"вв{STOP}", "веков"),
    _short(rf"чел{STOP}", "человек"),
    _short(r"км/ч(?!\w)", "километров в час"),
    _short(r"кг(?!\w)", "килограммов"),
    _short(r"км(?!\w)", "километров"),
)
"""Units that stand without a number, or with one already in words."""

SIGNS = {
    "№": "номер", "§": "параграф", "&": "и", "@": "собака", "#": "решётка", "%": "процентов", "+": "плюс",
    "=": "равно", "<": "меньше", ">": "больше", "~": "примерно", "≈": "примерно", "±": "плюс минус", "×": "на",
    "÷": "разделить на", "√": "корень из", "∞": "бесконечность", "°": "градусов", "℃": "градусов цельсия",
    "℉": "градусов фаренгейта", "²": "в квадрате", "³": "в кубе", "½": "одна вторая", "¼": "одна четвёртая",
    "¾": "три четверти", "⅓": "одна треть", "⅔": "две трети", "≤": "не больше", "≥": "не меньше", "≠": "не равно",
    "→": "–", "‰": "промилле", "^": "в степени", "¢": "центов",
}  # fmt: skip
SIGNS |= {sign: units[0].many for sign, units in CURRENCIES.items()}

ADDRESS_SIGNS = {
    ".": "точка", "@": "собака", "/": "слэш", ":": "двоеточие", "-": "дефис", "_": "подчёркивание", "?": "вопрос",
    "=": "равно", "&": "и", "#": "решётка", "%": "процент", "+": "плюс", "~": "тильда",
}  # fmt: skip

LETTER_NAMES = pair_up(
    "абвгдежзийклмнопрстуфхцчшщъыьэюяё",
    "а бэ вэ гэ дэ е жэ зэ и и-краткое ка эл эм эн о пэ эр эс тэ у эф ха цэ чэ ша ща твёрдый-знак ы мягкий-знак э ю я "
    "ё",
)
_READ_OTHERWISE = {"США": "сэ-шэ-а", "ФБР": "фэ-бэ-эр", "ГИБДД": "ги-бэ-дэ-дэ", "НЛО": "эн-эл-о"}
_SPELLED = frozenset("ООН ООО ОАО ЗАО МГУ ЕС КНДР ОАЭ АЭС ЦРУ МЧС".split())  # noqa: SIM905


def spell(word: str) -> str | None:
    """Letter names of a Russian acronym that is not read as a word: ``СССР`` → эс-эс-эс-эр; None for other words."""
    if word in _READ_OTHERWISE:
        return _READ_OTHERWISE[word]
    if word in _SPELLED or not set(word) & set("АЕЁИОУЫЭЮЯ"):
        return "-".join(LETTER_NAMES[c] for c in word.lower())
    return None
