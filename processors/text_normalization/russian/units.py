"""Russian units of measure and currencies: how they are written, and the forms of their names after a number."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tolmach.processors.text_normalization.russian.abbreviations import STOP, short
from tolmach.processors.text_normalization.russian.agreement import Category
from tolmach.processors.text_normalization.russian.morphology import decline
from tolmach.processors.text_normalization.russian.numerals import Case, Gender


@dataclass(frozen=True, slots=True)
class Unit:
    """A counted noun: 1 рубль, 2 рубля, 5 рублей; the other cases come from the dictionary.

    Attributes:
        one: Nominative singular.
        few: Genitive singular.
        many: Genitive plural as it stands after a number (ватт, килограммов).
        gender: Of the noun.
        adjective: The stem of an adjective before it (кубическ, квадратн), or "".
        tail: What follows unchanged (в час, цельсия), or "".
        coin: The hundredth of a currency, which the two digits behind a comma count.
    """

    one: str
    few: str
    many: str
    gender: Gender = "m"
    adjective: str = ""
    tail: str = ""
    coin: Unit | None = None

    def after(self, kind: Category, case: Case) -> str:
        """The name after a cardinal: после 5 → рублей, к 5 → рублям."""
        if kind == "one":
            return self._said(self._singular(case), case, plural=False)
        if kind == "thousands":
            return self._said(self.many, "g", plural=True)
        if case in ("n", "a"):
            # "два кубических метра", but "две столовые ложки"
            beside: Case = "n" if kind == "few" and self.gender == "f" else "g"
            return self._said(self.few if kind == "few" else self.many, beside, plural=True)
        noun = self.many if case == "g" else decline(self.one, case, plural=True)
        return self._said(noun, case, plural=True)

    def after_fraction(self) -> str:
        """The name after a fraction: две целых пять десятых рубля."""
        return self._said(self.few, "g", plural=False)

    def after_scale(self) -> str:
        """The name after thousands and millions: пять тысяч рублей."""
        return self._said(self.many, "g", plural=True)

    def _singular(self, case: Case) -> str:
        if case == "n" or (case == "a" and self.gender != "f"):
            return self.one
        return self.few if case == "g" else decline(self.one, case, plural=False)

    def _said(self, noun: str, case: Case, *, plural: bool) -> str:
        adjective = ""
        if self.adjective:
            endings = _PLURAL if plural else _FEMININE if self.gender == "f" else _MASCULINE
            ending = endings[case]
            if self.adjective[-1] in "кгх" and ending[0] == "ы":
                ending = "и" + ending[1:]
            adjective = self.adjective + ending
        return " ".join(filter(None, (adjective, noun, self.tail)))


_MASCULINE: dict[Case, str] = {"n": "ый", "g": "ого", "d": "ому", "a": "ый", "i": "ым", "p": "ом"}
_FEMININE: dict[Case, str] = {"n": "ая", "g": "ой", "d": "ой", "a": "ую", "i": "ой", "p": "ой"}
_PLURAL: dict[Case, str] = {"n": "ые", "g": "ых", "d": "ым", "a": "ые", "i": "ыми", "p": "ых"}


def _unit(forms: str, gender: Gender = "m") -> Unit:
    one, few, many = forms.split(",")
    return Unit(one, few, many, gender)


def _with(prefix: str, unit: Unit) -> Unit:
    return replace(unit, one=prefix + unit.one, few=prefix + unit.few, many=prefix + unit.many)


def _prefixed(symbol: str, unit: Unit, prefixes: str) -> dict[str, Unit]:
    """A unit and its multiples: Вт, кВт (кило), МВт (мега)."""
    return {symbol: unit} | {
        short_form + symbol: _with(name, unit) for short_form, _, name in (p.partition(":") for p in prefixes.split())
    }


_METRE, _GRAM, _LITRE = _unit("метр,метра,метров"), _unit("грамм,грамма,граммов"), _unit("литр,литра,литров")
_HOUR, _MINUTE, _SECOND = (
    _unit("час,часа,часов"),
    _unit("минута,минуты,минут", "f"),
    _unit("секунда,секунды,секунд", "f"),
)
_DEGREE = _unit("градус,градуса,градусов")
_CELSIUS, _FAHRENHEIT = replace(_DEGREE, tail="цельсия"), replace(_DEGREE, tail="фаренгейта")
_BYTE, _BIT = _unit("байт,байта,байт"), _unit("бит,бита,бит")
_HERTZ, _WATT = _unit("герц,герца,герц"), _unit("ватт,ватта,ватт")
_AMPERE, _VOLT = _unit("ампер,ампера,ампер"), _unit("вольт,вольта,вольт")
_CALORIE = _unit("калория,калории,калорий", "f")
_ATMOSPHERE = _unit("атмосфера,атмосферы,атмосфер", "f")
_PIECE = _unit("штука,штуки,штук", "f")

_KOPECK, _CENT = _unit("копейка,копейки,копеек", "f"), _unit("цент,цента,центов")
_ROUBLE = replace(_unit("рубль,рубля,рублей"), coin=_KOPECK)
_DOLLAR = replace(_unit("доллар,доллара,долларов"), coin=_CENT)
_EURO = replace(_unit("евро,евро,евро"), coin=_CENT)
_POUND = replace(_unit("фунт,фунта,фунтов"), coin=_unit("пенни,пенни,пенни"))
_HRYVNIA = replace(_unit("гривна,гривны,гривен", "f"), coin=_KOPECK)
_YEN = replace(_unit("иена,иены,иен", "f"), coin=_unit("сен,сена,сен"))
_YUAN = replace(_unit("юань,юаня,юаней"), coin=_unit("фэнь,фэня,фэней"))
_TENGE = replace(_unit("тенге,тенге,тенге"), coin=_unit("тиын,тиына,тиын"))
_RUPEE = replace(_unit("рупия,рупии,рупий", "f"), coin=_unit("пайса,пайсы,пайс", "f"))
_LIRA = replace(_unit("лира,лиры,лир", "f"), coin=_unit("куруш,куруша,курушей"))
_BELARUS_ROUBLE = replace(_ROUBLE, adjective="белорусск")

LENGTHS: dict[str, Unit] = {
    **_prefixed("м", _METRE, "к:кило с:санти д:деци м:милли мк:микро н:нано"),
    **_prefixed("m", _METRE, "k:кило c:санти d:деци m:милли"),
}
"""Units that may be squared and cubed."""

UNITS: dict[str, Unit] = {
    "%": _unit("процент,процента,процентов"), "‰": _unit("промилле,промилле,промилле"),
    "п.п": replace(_unit("пункт,пункта,пунктов"), adjective="процентн"),
    "п. п": replace(_unit("пункт,пункта,пунктов"), adjective="процентн"),
    "мм рт. ст": replace(_with("милли", _METRE), tail="ртутного столба"),
    "л. с": replace(_unit("сила,силы,сил", "f"), adjective="лошадин"),
    "л.с": replace(_unit("сила,силы,сил", "f"), adjective="лошадин"),
    **{form: replace(_unit("ложка,ложки,ложек", "f"), adjective="столов") for form in ("ст. л", "ст.л")},
    **{form: replace(_unit("ложка,ложки,ложек", "f"), adjective="чайн") for form in ("ч. л", "ч.л")},
    **_prefixed("г", _GRAM, "к:кило м:милли мк:микро"), "гр": _GRAM, **_prefixed("g", _GRAM, "k:кило m:милли"),
    "т": _unit("тонна,тонны,тонн", "f"), "ц": _unit("центнер,центнера,центнеров"),
    "га": _unit("гектар,гектара,гектаров"), "сот": _unit("сотка,сотки,соток", "f"),
    **_prefixed("л", _LITRE, "м:милли"), **_prefixed("l", _LITRE, "m:милли"),
    "ч": _HOUR, "час": _HOUR, "мин": _MINUTE, "min": _MINUTE, "сек": _SECOND, "мс": _with("милли", _SECOND),
    "ms": _with("милли", _SECOND), "мкс": _with("микро", _SECOND), "нед": _unit("неделя,недели,недель", "f"),
    "мес": _unit("месяц,месяца,месяцев"),
    "°C": _CELSIUS, "°С": _CELSIUS, "° C": _CELSIUS, "° С": _CELSIUS, "℃": _CELSIUS, "°F": _FAHRENHEIT,
    "℉": _FAHRENHEIT, "°": _DEGREE, "град": _DEGREE,
    **_prefixed("Гц", _HERTZ, "к:кило М:мега Г:гига"), **_prefixed("Hz", _HERTZ, "k:кило M:мега G:гига"),
    **_prefixed("Вт", _WATT, "к:кило М:мега Г:гига м:милли"), **_prefixed("W", _WATT, "k:кило M:мега"),
    **{f"{k}Вт{sign}ч": _with(f"{name}ватт-", _HOUR)
       for k, name in (("", ""), ("к", "кило"), ("М", "мега"), ("Г", "гига")) for sign in ("·", "*", "-", "⋅", "")},
    **_prefixed("В", _VOLT, "к:кило м:милли"), "V": _VOLT, **_prefixed("А", _AMPERE, "м:милли"),
    **{f"мА{sign}ч": _with("миллиампер-", _HOUR) for sign in ("·", "*", "⋅", "")},
    **_prefixed("Ом", _unit("ом,ома,ом"), "к:кило М:мега"),
    **_prefixed("Па", _unit("паскаль,паскаля,паскалей"), "г:гекто к:кило М:мега"),
    **_prefixed("Дж", _unit("джоуль,джоуля,джоулей"), "к:кило М:мега"),
    **_prefixed("кал", _CALORIE, "к:кило"), "Н": _unit("ньютон,ньютона,ньютонов"), "атм": _ATMOSPHERE,
    "бар": _unit("бар,бара,бар"), "лм": _unit("люмен,люмена,люменов"), "моль": _unit("моль,моля,молей"),
    "дБ": _unit("децибел,децибела,децибел"), "dB": _unit("децибел,децибела,децибел"),
    **{form: _with(name, unit) for prefixes, name in (
        ("КБ Кб кБ KB", "кило"), ("МБ Мб MB", "мега"), ("ГБ Гб GB", "гига"), ("ТБ Тб TB", "тера"))
       for form in prefixes.split() for unit in (_BYTE,)},
    "Кбит": _with("кило", _BIT), "Мбит": _with("мега", _BIT), "Гбит": _with("гига", _BIT), "бит": _BIT,
    "Мп": _with("мега", _unit("пиксель,пикселя,пикселей")), "Мпикс": _with("мега", _unit("пиксель,пикселя,пикселей")),
    "об": _unit("оборот,оборота,оборотов"), "уд": _unit("удар,удара,ударов"),
    "руб": _ROUBLE, "р": _ROUBLE, "RUB": _ROUBLE, "коп": _KOPECK, "долл": _DOLLAR, "USD": _DOLLAR, "EUR": _EURO,
    "грн": _HRYVNIA, "UAH": _HRYVNIA, "GBP": _POUND, "CNY": _YUAN, "JPY": _YEN, "тг": _TENGE, "KZT": _TENGE,
    "BYN": _BELARUS_ROUBLE,
    "шт": _PIECE, "экз": _unit("экземпляр,экземпляра,экземпляров"), "ед": _unit("единица,единицы,единиц", "f"),
    "чел": _unit("человек,человека,человек"), "уп": _unit("упаковка,упаковки,упаковок", "f"),
    "стр": _unit("страница,страницы,страниц", "f"), "балл": _unit("балл,балла,баллов"),
    **LENGTHS,
}  # fmt: skip
"""Units after a number, as they are written (case matters, a full stop may follow)."""

PER: dict[str, str] = {
    "ч": "в час", "час": "в час", "h": "в час", "с": "в секунду", "сек": "в секунду", "s": "в секунду",
    "мин": "в минуту", "min": "в минуту", "сут": "в сутки", "день": "в день", "нед": "в неделю", "мес": "в месяц",
    "год": "в год", "м³": "на кубический метр", "м3": "на кубический метр", "м²": "на квадратный метр",
    "м2": "на квадратный метр", "км²": "на квадратный километр", "км2": "на квадратный километр",
    "см²": "на квадратный сантиметр", "см³": "на кубический сантиметр", "с²": "на секунду в квадрате",
    "кв. м": "за квадратный метр", "100 км": "на сто километров", "км": "на километр", "м": "на метр",
    "кг": "на килограмм", "г": "на грамм", "л": "на литр", "мл": "на миллилитр", "дл": "на децилитр", "га": "с гектара",
    "т": "за тонну", "кВт·ч": "за киловатт-час", "кВтч": "за киловатт-час", "шт": "за штуку", "чел": "на человека",
}  # fmt: skip
"""What stands behind the stroke of a unit: км/ч, г/см³, л/100 км."""

SCALES: dict[str, Unit] = {
    "тыс": _unit("тысяча,тысячи,тысяч", "f"), "млн": _unit("миллион,миллиона,миллионов"),
    "млрд": _unit("миллиард,миллиарда,миллиардов"), "трлн": _unit("триллион,триллиона,триллионов"),
    "mln": _unit("миллион,миллиона,миллионов"),
}  # fmt: skip
"""Scales, which may stand before a unit."""

CURRENCIES: dict[str, Unit] = {
    "$": _DOLLAR, "€": _EURO, "£": _POUND, "₽": _ROUBLE, "¥": _YEN, "₴": _HRYVNIA, "₸": _TENGE, "₹": _RUPEE, "₺": _LIRA,
}  # fmt: skip
"""Currency signs."""

_LONGEST_FIRST = sorted(map(re.escape, UNITS), key=len, reverse=True)
_POWER = r"(?:[²³]|\^?[23](?![\d.,]?\d))"
UNIT_PATTERN = (
    rf"(?:(?P<square>кв|куб)(?:\.\s?|\s)(?P<squared>км|см|мм|м)|(?P<unit>{'|'.join(_LONGEST_FIRST)})(?P<power>{_POWER})?)"
    rf"(?:\.?\s?/\s?(?P<per>{'|'.join(sorted(map(re.escape, PER), key=len, reverse=True))}))?{STOP}"
)
"""A unit behind its number, with the groups that :func:`find_unit` takes."""


def find_unit(groups: dict[str, str | None]) -> Unit | None:
    """The unit that :data:`UNIT_PATTERN` found; None when it makes no sense (литры в квадрате)."""
    square, power, symbol = groups["square"], groups["power"], groups["squared"] or groups["unit"]
    if symbol is None:
        return None
    unit = UNITS[symbol]
    if square or power:
        if symbol not in LENGTHS:
            return None
        cubic = square == "куб" or (power is not None and power[-1] in "³3")
        unit = replace(unit, adjective="кубическ" if cubic else "квадратн")
    per = groups["per"]
    if per is None:
        return unit
    if unit.coin and PER[per].startswith("на "):
        return replace(unit, tail=f"за {PER[per][3:]}")  # руб./кг
    return replace(unit, tail=f"{unit.tail} {PER[per]}".strip())


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
