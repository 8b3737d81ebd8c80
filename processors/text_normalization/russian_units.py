"""Russian units of measure and currencies: how they are written, and the forms of their names after a number."""

from __future__ import annotations

from typing import NamedTuple

from tolmach.processors.text_normalization.russian_abbreviations import STOP, short
from tolmach.processors.text_normalization.russian_numerals import Gender


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

BARE_UNITS = (
    short(rf"тыс{STOP}", "тысяч"),
    short(rf"млн{STOP}", "миллионов"),
    short(rf"млрд{STOP}", "миллиардов"),
    short(rf"трлн{STOP}", "триллионов"),
    short(rf"руб{STOP}", "рублей"),
    short(rf"коп{STOP}", "копеек"),
    short(rf"гг{STOP}", "годов"),
    short(rf"вв{STOP}", "веков"),
    short(rf"чел{STOP}", "человек"),
    short(r"км/ч(?!\w)", "километров в час"),
    short(r"кг(?!\w)", "килограммов"),
    short(r"км(?!\w)", "километров"),
)
"""Units that stand without a number, or with one already in words."""
