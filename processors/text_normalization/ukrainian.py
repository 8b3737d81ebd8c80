"""Ukrainian text preparation: numbers with case and gender, dates, times, money, units and abbreviations in words."""

from __future__ import annotations

import re
from functools import lru_cache

from num2words import num2words

from tolmach.processors.text_normalization.common import (
    Match,
    Prepared,
    Rule,
    pair_up,
    read_table,
    value_of_digits,
    word_set,
)
from tolmach.processors.text_normalization.european import Grammar, Near, Noun, near, nouns, prepare_with
from tolmach.processors.text_normalization.latin import to_cyrillic
from tolmach.processors.text_normalization.roman import roman_value

_MONTHS = tuple(
    "січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня".split()  # noqa: SIM905
)
_SHORT_MONTHS = {"січ": 1, "лют": 2, "берез": 3, "квіт": 4, "трав": 5, "черв": 6, "лип": 7, "серп": 8, "верес": 9,
                 "жовт": 10, "листоп": 11, "груд": 12}  # fmt: skip

_UNITS = nouns("""
%: відсоток, відсотки, відсотків
‰: проміле, проміле, проміле
км/год: кілометр на годину, кілометри на годину, кілометрів на годину
м/с: метр на секунду, метри на секунду, метрів на секунду
км²|кв._км: квадратний кілометр, квадратні кілометри, квадратних кілометрів
м²|кв._м|кв.м: квадратний метр, квадратні метри, квадратних метрів
м³|куб._м: кубічний метр, кубічні метри, кубічних метрів
км: кілометр, кілометри, кілометрів
м: метр, метри, метрів
см: сантиметр, сантиметри, сантиметрів
мм: міліметр, міліметри, міліметрів
кг: кілограм, кілограми, кілограмів
г: грам, грами, грамів
мг: міліграм, міліграми, міліграмів
т: тонна, тонни, тонн, f
л: літр, літри, літрів
мл: мілілітр, мілілітри, мілілітрів
га: гектар, гектари, гектарів
год: година, години, годин, f
хв: хвилина, хвилини, хвилин, f
с|сек: секунда, секунди, секунд, f
мс: мілісекунда, мілісекунди, мілісекунд, f
°C|°С|℃: градус Цельсія, градуси Цельсія, градусів Цельсія
°F|℉: градус Фаренгейта, градуси Фаренгейта, градусів Фаренгейта
°: градус, градуси, градусів
Гц: герц, герци, герців
кГц: кілогерц, кілогерци, кілогерців
МГц: мегагерц, мегагерци, мегагерців
ГГц: гігагерц, гігагерци, гігагерців
Вт: ват, вати, ват
кВт: кіловат, кіловати, кіловат
МВт: мегават, мегавати, мегават
В: вольт, вольти, вольт
КБ|Кб: кілобайт, кілобайти, кілобайтів
МБ|Мб: мегабайт, мегабайти, мегабайтів
ГБ|Гб: гігабайт, гігабайти, гігабайтів
ТБ|Тб: терабайт, терабайти, терабайтів
дБ: децибел, децибели, децибелів
шт: штука, штуки, штук, f
чол|осіб: особа, особи, осіб, f
""")
_KOPIYKA = Noun("копійка", "копійки", "копійок", "f")
_HRYVNIA = (Noun("гривня", "гривні", "гривень", "f"), _KOPIYKA)
_CENT = Noun("цент", "центи", "центів")
_DOLLAR, _EURO = (Noun("долар", "долари", "доларів"), _CENT), (Noun("євро", "євро", "євро"), _CENT)
_POUND = (Noun("фунт", "фунти", "фунтів"), Noun("пенс", "пенси", "пенсів"))
_CURRENCIES = {
    "₴": _HRYVNIA, "грн": _HRYVNIA, "UAH": _HRYVNIA, "$": _DOLLAR, "USD": _DOLLAR, "дол": _DOLLAR, "€": _EURO,
    "EUR": _EURO,
    "євро": _EURO, "£": _POUND, "GBP": _POUND, "₽": (Noun("рубль", "рублі", "рублів"), _KOPIYKA),
    "руб": (Noun("рубль", "рублі", "рублів"), _KOPIYKA), "коп": (_KOPIYKA, _KOPIYKA),
    "¥": (Noun("єна", "єни", "єн", "f"), _CENT),
    "zł": (Noun("злотий", "злоті", "злотих"), Noun("грош", "гроші", "грошів")),
}  # fmt: skip
_SCALES = {
    "тис": Noun("тисяча", "тисячі", "тисяч", "f"), "млн": Noun("мільйон", "мільйони", "мільйонів"),
    "млрд": Noun("мільярд", "мільярди", "мільярдів"), "трлн": Noun("трильйон", "трильйони", "трильйонів"),
}  # fmt: skip

_GENITIVE = word_set("від до після близько біля без для із більше менше протягом упродовж серед крім немає нема бракує")
"""Words before a number that put it into the genitive."""
_FEMININE = word_set(
    "книга книги книг жінка жінки дівчина дівчини година години хвилина хвилини секунда секунди людина кішка кішки "
    "машина "
    "машини кімната кімнати країна країни сторінка сторінки ночі речі сестра сестри дочки руки школа школи вулиця "
    "вулиці "
    "особа особи копійка копійки гривня гривні тонна тонни дитина ложка ложки чашка чашки квартира квартири мова мови "
    "пляшка пляшки група групи команда команди частина частини тисяча тисячі області область доба доби"
)
_NEUTER = word_set("вікно місто село слово яблуко море поле дерево питання місце")


@lru_cache(2048)
def _words(value: int, case: str, feminine: bool) -> str:
    said = str(num2words(value, lang="uk", case=case, gender="feminine" if feminine else "masculine"))
    # num2words has "двохста"; the genitive of hundreds is двохсот, п'ятисот.
    said = re.sub(r"(х|и)ста\b", r"\1сот", said)
    said = said.replace("тисячи", "тисячі")
    return re.sub(r"^одн(а|ієї|ій|у|ією) (тисяч)", r"\2", said)


def _cardinal(value: int, noun: Noun | None, before: str) -> str:
    return _words(value, "genitive" if before in _GENITIVE else "nominative", noun is not None and noun.gender == "f")


def _plain(value: int, around: Near) -> str:
    word = around.follows.lower()
    case = "genitive" if around.before in _GENITIVE else "nominative"
    one = value % 10 == 1 and value % 100 != 11
    if one and case == "nominative" and word.endswith(("у", "ю")) and len(word) > 2:
        return _words(value, "accusative", feminine=True)
    feminine = word in _FEMININE or (one and word.endswith(("а", "я")) and word not in _NEUTER and len(word) > 3)
    said = _words(value, case, feminine)
    if one and word in _NEUTER and case == "nominative":
        return re.sub("один$", "одне", said)
    return said


_ENDINGS = {"n": ("ий", "ій"), "g": ("ого", "ього"), "d": ("ому", "ьому"), "l": ("ому", "ьому"), "i": ("им", "ім"),
            "f": ("а", "я"), "fl": ("ій", "ій"), "fg": ("ої", "ьої"), "fa": ("у", "ю"), "p": ("і", "і"),
            "pg": ("их", "іх"), "ne": ("е", "є"), "pl": ("их", "іх")}  # fmt: skip


def _ordinal(value: int, form: str) -> str:
    """An ordinal; ``form`` is one of the keys of ``_ENDINGS``: case (n g d l i), f feminine, p plural, ne neuter."""
    stem = re.sub(r"^одна тисяча", "тисяча", str(num2words(value, lang="uk", to="ordinal")))
    hard, soft = _ENDINGS[form]
    if stem.endswith("ій"):
        return stem[:-2] + soft
    return stem[:-2] + hard


def _date(day: int, month: int, year: int | None, before: str) -> str:
    said = f"{_ordinal(day, 'g')} {_MONTHS[month - 1]}"
    return f"{said} {_ordinal(year, 'g')} року" if year else said


def _year(year: int, around: Near) -> str | None:
    word = around.follows.lower()
    case = {"рік": "n", "року": "g", "р": "g", "році": "l", "роком": "i", "років": "", "роки": "", "роках": ""}.get(
        word
    )
    if case:
        return _ordinal(year, case)
    if case is None and around.before in ("у", "в"):
        return (
            _ordinal(year, "l")
            if not word or (word[:1] in "бвпзнмітує" and 1800 <= year < 2100 and word not in _FEMININE)
            else None
        )
    return None


def _time(hours: int, minutes: int, before: str) -> str:
    tail = f" {'нуль ' if minutes < 10 else ''}{_words(minutes, 'nominative', False)}" if minutes else ""
    if before in ("о", "об", "по"):
        return _ordinal(hours, "fl") + tail if hours else "нуль годин" + tail
    if before in ("до", "після", "з", "від", "із"):
        return (_ordinal(hours, "fg") if hours else "нуль годин") + tail
    return _words(hours, "nominative", False) + (tail or " нуль нуль")


def _fraction(above: int, below: int) -> str | None:
    if not 2 <= below <= 100 or above > 99 or (above, below) == (24, 7):
        return None
    one = above % 10 == 1 and above % 100 != 11
    return f"{_words(above, 'nominative', True)} {_ordinal(below, 'f' if one else 'pg')}"


def _of_scale(noun: Noun) -> str:
    return ""


def _cents(with_noun: str, alone: str) -> str:
    return with_noun


_ORDINAL_FORMS = read_table(
    "й:n ий:n ій:n го:g ого:g му:d ому:d м:i им:i а:f ша:f га:f та:f я:f ту:fa у:fa ї:fg ої:fg ті:p і:p х:pg их:pg "
    "те:ne е:ne ше:ne ге:ne"
)
"""Endings behind a hyphen (5-го) and the form they stand for."""


def _with_ending(match: Match) -> str:
    value, end = int(match[1]), match[2].lower()
    if end == "ти" or end == "ма" or end not in _ORDINAL_FORMS:
        return match.group()
    if end == "й" and match[3] and match[3].endswith("ій"):
        return _ordinal(value, "fl")
    if end in ("х", "их") and value < 5:
        return _words(value, "genitive", False)
    return _ordinal(value, _ORDINAL_FORMS[end])


def _century(match: Match) -> str:
    value = roman_value(match[1])
    if value is None:
        return match.group()
    noun = match[2]
    form = {"століття": "ne", "столітті": "l", "сторіччя": "ne", "сторіччі": "l", "ст": "g", "століттям": "i",
            "століть": "pg"}.get(noun, "n")  # fmt: skip
    if noun in ("століття", "сторіччя") and near(match).before in (
        *_GENITIVE,
        "кінця",
        "кінець",
        "початок",
        "початку",
        "половині",
        "з",
    ):
        form = "g"
    return f"{_ordinal(value, form)} {'століття' if noun == 'ст' else noun}"


def _ruler(match: Match) -> str:
    value = roman_value(match[2])
    return match.group() if value is None else f"{match[1]} {_ordinal(value, 'f' if match[1][-1] in 'ая' else 'n')}"


def _numbered(match: Match) -> str:
    value = roman_value(match[2])
    return match.group() if value is None else f"{match[1]} {_words(value, 'nominative', False)}".strip()


def _short(pattern: str, words: str) -> Rule:
    return re.compile(rf"(?<!\w){pattern}"), f"{words} "


_FIRST: tuple[Rule, ...] = (
    _short(r"і т\.\s?д\.", "і так далі"), _short(r"і т\.\s?п\.", "і тому подібне"), _short(r"та ін\.", "та інші"),
    _short(r"т\.\s?зв\.", "так званий"), _short(r"напр\.", "наприклад"), _short(r"вул\.", "вулиця"),
    _short(r"просп\.", "проспект"), _short(r"буд\.(?=\s?\d)", "будинок"), _short(r"кв\.(?=\s?\d)", "квартира"),
    _short(r"стор\.(?=\s?\d)", "сторінка"), _short(r"с\.(?=\s?\d)", "сторінка"), _short(r"рис\.(?=\s?\d)", "рисунок"),
    _short(r"ст\.(?=\s?\d)", "стаття"), _short(r"п\.(?=\s?\d)", "пункт"), _short(r"м\.(?=\s[А-ЯІЇЄҐ])", "місто"),
    _short(r"обл\.", "область"), _short(r"проф\.", "професор"), _short(r"ім\.(?=\s[А-ЯІЇЄҐ])", "імені"),
    _short(r"див\.", "дивись"), _short(r"тел\.", "телефон"), _short(r"р\.\s?н\.", "року народження"),
    _short(r"до н\.\s?е\.", "до нашої ери"), _short(r"н\.\s?е\.", "нашої ери"),
    (re.compile(r"(?<=\d)\s?рр\.?(?!\w)"), " років"),
    (re.compile(r"(?<=(?<!\d)\d{4})\s?р\.(?!\w)(?=\s*$|\s+[А-ЯІЇЄҐ])"), " року."),
    (re.compile(r"(?<=(?<!\d)\d{4})\s?р\.(?!\w)"), " року"),
    (re.compile(r"(?<!\w)([IVX]{1,6})\s(століття|столітті|століттям|століть|сторіччя|сторіччі|ст)(?!\w)\.?"), _century),
    (re.compile(r"(?<!\w)((?i:розділ|глава|том|частина|тип|клас))\s([IVXLC]{1,6})(?!\w)"), _numbered),
    (re.compile(r"(?<!\w)([А-ЯІЇЄҐ][а-яіїєґ']{2,20})\s([IVX]{1,5})(?!\w)"), _ruler),
    (re.compile(r"(?<!\w)()([IVX]{2,6})(?!\w)"), _numbered),
)  # fmt: skip

_RUSSIAN_LETTERS = str.maketrans({"ы": "и", "э": "е", "ё": "йо", "ъ": "'", "Ы": "И", "Э": "Е", "Ё": "Йо", "Ъ": "'"})
_LATIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ʯḀ-ỿ]+(?:['-][A-Za-zÀ-ÖØ-öø-ʯḀ-ỿ]+)*")


def _rewrite_words(text: str) -> str:
    text = re.sub(r"(?<=року) +року(?![а-яіїєґ])", "", text)  # "15.05.2024 року"
    return _LATIN.sub(_latin_word, text).translate(_RUSSIAN_LETTERS)


def _latin_word(match: Match) -> str:
    # The Russian spelling, whose и is the Ukrainian і.
    return f" {to_cyrillic(match.group().replace(chr(39), '')).replace('и', 'і')} "


_CYRILLIC = read_table("ы:и э:е ё:йо ъ:ь ў:у ѣ:і")
"""Letters of other Cyrillic alphabets."""


def _part_of(noun: Noun, whole: int | None) -> str:
    """A noun behind a decimal fraction, in the genitive singular: 2,5 кілометра, гривні."""
    if noun.few == noun.many:
        return noun.many
    if noun.gender == "f" or noun.one == noun.many:
        return noun.few
    words = noun.one.split()
    at = 1 if words[0].endswith("ий") and len(words) > 1 else 0
    words[0] = re.sub("ий$", "ого", words[0])
    words[at] = re.sub("ток$", "тк", words[at]) + ("а" if not words[at].endswith("го") else "")
    return " ".join(words)


_PARTS = ("десята", "десятих"), ("сота", "сотих"), ("тисячна", "тисячних")


def _decimal(whole: str, fraction: str) -> str | None:
    """2,5: дві цілих п'ять десятих."""
    if len(fraction) > len(_PARTS) or value_of_digits(whole) is None:
        return None
    one, many = _PARTS[len(fraction) - 1]
    integers, above = Noun("ціла", "цілих", "цілих", "f"), Noun(one, many, many, "f")
    return " ".join(
        f"{_cardinal(int(run), noun, '')} {noun.one if int(run) % 10 == 1 and int(run) % 100 != 11 else noun.many}"
        for run, noun in ((whole, integers), (fraction, above))
    )


_UKRAINIAN = Grammar(
    lang="uk",
    letters="абвгґдеєжзиіїйклмнопрстуфхцчшщьюя'",
    letter_names=pair_up(
        "абвгґдеєжзиіїйклмнопрстуфхцчшщюя",
        "а бе ве ге ґе де е є же зе и і ї йот ка ел ем ен о пе ер ес те у еф ха це че ша ща ю я",
    ),
    months=_MONTHS,
    short_months=_SHORT_MONTHS,
    units=_UNITS,
    currencies=_CURRENCIES,
    scales=_SCALES,
    signs={
        "&": "і", "@": "равлик", "#": "номер", "№": "номер", "%": "відсотків", "+": "плюс", "=": "дорівнює",
        "<": "менше",
        ">": "більше", "~": "приблизно", "≈": "приблизно", "±": "плюс мінус", "×": "на", "÷": "поділити на",
        "§": "параграф", "°": "градусів", "²": "у квадраті", "³": "у кубі", "^": "у степені", "€": "євро",
        "$": "доларів",
        "£": "фунтів", "₴": "гривень", "≤": "не більше", "≥": "не менше", "‰": "проміле", "¥": "єн", "₽": "рублів",
    },
    address_signs={
        ".": "крапка", "@": "равлик", "/": "слеш", ":": "двокрапка", "-": "дефіс", "_": "підкреслення", "?": "питання",
        "=": "дорівнює", "&": "і", "#": "решітка", "%": "відсоток", "+": "плюс", "~": "тильда",
    },
    cardinal=_cardinal,
    plain=_plain,
    ordinal_rules=(
        (re.compile(r"(?<![\w.,])(\d{1,4})-([а-яіїєґ]{1,3})(?!\w)(?=\s([а-яіїєґ]+)|())"), _with_ending),
    ),
    date=_date,
    year=_year,
    time=_time,
    fraction=_fraction,
    of_scale=_of_scale,
    cents=_cents,
    comma="кома",
    point="крапка",
    to="–",
    ratio="до",
    minus="мінус",
    mixed="цілих",
    first=_FIRST,
    dotted_thousands=False,
    decimal=_decimal,
    part_of=_part_of,
    stress_marks=True,
    replace_letter=lambda char: _CYRILLIC.get(char, ""),
    rewrite_words=_rewrite_words,
    read_as_words=word_set("НАТО ЮНЕСКО ЮНІСЕФ ЦУМ ВИШ ГЕС ТЕС КОВІД ФІФА УЄФА"),
)  # fmt: skip


def prepare_ukrainian(text: str) -> Prepared:
    """Ukrainian text as its voice reads it: words and punctuation, in lower case."""
    return prepare_with(_UKRAINIAN, text)
