"""Russian vocabulary of the text preparation: abbreviations, units, signs, letter names."""

from __future__ import annotations

import re
from typing import NamedTuple

from tolmach.processors.silero.text.common import pair_up
from tolmach.processors.silero.text.russian_numbers import Gender

__all__ = [
    "ABBREVIATIONS",
    "ADDRESS_SIGNS",
    "BARE_UNITS",
    "CURRENCIES",
    "LETTER_NAMES",
    "MONTHS",
    "SIGNS",
    "STOP",
    "UNITS",
    "Unit",
    "spell",
]


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
