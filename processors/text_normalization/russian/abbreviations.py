"""Russian abbreviations with and without a full stop, in the case that the sentence asks for.

Three kinds: phrases that are always read alike (:data:`_PHRASES`), nouns that stand before a number or a name and are
declined (:data:`_NUMBERED`, :data:`_NAMED`, :data:`_TITLES`), and adjectives that agree with the noun behind them
(:data:`_ADJECTIVES`). All are tables: add yours. Units after a number are in ``units``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tolmach.processors.text_normalization.common import Match, Rule
from tolmach.processors.text_normalization.russian.context import (
    is_noun,
    preposition_case,
    text_after,
    text_before,
    word_before,
    word_set,
)
from tolmach.processors.text_normalization.russian.morphology import decline, forms, is_part
from tolmach.processors.text_normalization.russian.numerals import Case, Gender, cardinal, ordinal

STOP = r"(?!\w)(?:\.(?!\s*$|\s+(?-i:[А-ЯЁ])))?"
"""The full stop of an abbreviation goes, unless it ends the sentence as well."""


def short(pattern: str, words: str, flags: int = re.IGNORECASE) -> tuple[re.Pattern[str], str]:
    """A rule: what is written (a pattern, at the start of a word), and the words it is read as."""
    return re.compile(rf"(?<!\w){pattern}", flags), f"{words} "


def _pairs(entries: str) -> dict[str, str]:
    """A table written as ``short=long; short=long``."""
    return {key.strip(): value.strip() for key, _, value in (entry.partition("=") for entry in entries.split(";"))}


# Phrases ----------------------------------------------------------------------------------------------------------


def _wednesday(match: Match) -> str:
    """``в ср. будет дождь``, but not "в ср. возрасте"."""
    return match.group() if match[1] and is_part(match[1], "NOUN", "ADJF") else "среду "


def _telephone(match: Match) -> str:
    cases = preposition_case(text_before(match))
    return decline("телефон", cases[0] if cases else "n", plural=False) + " "


def _cities(match: Match) -> str:
    cases = preposition_case(text_before(match))
    return decline("город", cases[0] if cases else "g" if is_noun(word_before(match)) else "n", plural=True) + " "


_PHRASES: tuple[Rule, ...] = (
    short(rf"и\s+т\.\s?д{STOP}", "и так далее"),
    short(rf"и\s+т\.\s?п{STOP}", "и тому подобное"),
    short(rf"и\s+др{STOP}", "и другие"),
    short(rf"и\s+пр{STOP}", "и прочее"),
    short(r"т\.\s?е\.", "то есть"),
    short(r"т\.\s?к\.", "так как"),
    short(r"т\.\s?о\.", "таким образом"),
    short(r"(?<=в )т\.\s?ч\.", "том числе"),
    short(rf"ч\.\s?т\.\s?д{STOP}", "что и требовалось доказать"),
    short(rf"до\s+н\.\s?э{STOP}", "до нашей эры"),
    short(rf"н\.\s?э{STOP}", "нашей эры"),
    short(r"с\.\s?ш\.", "северной широты"),
    short(r"ю\.\s?ш\.", "южной широты"),
    short(r"в\.\s?д\.(?!\s*\d)", "восточной долготы"),
    short(r"з\.\s?д\.(?!\s*\d)", "западной долготы"),
    short(r"напр\.", "например"),
    short(r"ок\.(?=\s*\d)", "около"),
    short(r"прибл\.", "приблизительно"),
    short(r"вкл\.(?=\s*[),.]|\s*$)", "включительно"),
    short(r"искл\.", "исключая"),
    short(r"и\.\s?о\.", "исполняющий обязанности"),
    short(r"вр\.\s?и\.\s?о\.", "временно исполняющий обязанности"),
    (re.compile(r"(?<!\w)([Тт]ел)\.|(?<!\w)([Тт]ел)(?=:?\s*[+(\d])"), _telephone),
    (re.compile(r"(?<![\d\w])(?<!\d\s)гг\.(?=\s?[А-ЯЁ])"), _cities),
    (re.compile(r"(?<!\w)С\.-\s?(?=Петербург)"), "Санкт-"),
    (re.compile(r"(?<!\w)Н\.\s?(?=Новгород(?!\w))"), "Нижний "),
    short(r"моб\.(?=\s*[+(\d])", "мобильный"),
    short(r"доб\.(?=\s*\d)", "добавочный"),
    short(r"им\.(?=\s*[«\"А-ЯЁ]|\s+[а-яё]+\s[А-ЯЁ])", "имени", 0),
    short(r"P\.\s?S\.", "постскриптум", 0),
    short(r"З\.\s?Ы\.", "постскриптум", 0),
    short(r"p\.\s?s\.", "постскриптум", 0),
    short(r"ж/д(?!\w)", "жэ-дэ"),
    short(r"б/у(?!\w)", "бэ-у"),
    short(r"х/б(?!\w)", "ха-бэ"),
    short(r"с/х(?!\w)", "эс-ха"),
    short(r"в/ч(?=\s)", "воинская часть"),
    short(r"а/м(?!\w)", "автомобиль"),
    short(r"р/с(?!\w)", "расчётный счёт"),
    short(r"к/ф(?!\w)", "кинофильм"),
    short(r"м/ф(?!\w)", "мультфильм"),
    short(r"т/с(?!\w)", "телесериал"),
    short(r"п/п(?!\w)", "по порядку"),
    short(r"н/д(?!\w)", "нет данных"),
    short(r"а/я(?!\w)", "абонентский ящик"),
    short(r"и/или(?!\w)", "и или"),
    short(r"и/о(?!\w)", "исполняющий обязанности"),
    short(r"см\.(?<!\d см\.)(?=\s+[«\"\w(])", "смотри"),
    (re.compile(r"(?<=[вВ] )ср\.(?=\s*$|\s*[,;)]|\s+(\w+))"), _wednesday),
    short(r"ср\.(?=\s+(?:с|также|рис|табл|гл|ст|п|стр|у|выше|ниже|напр|[a-z])(?!\w))", "сравни"),
    short(r"вм\.(?=\s+[а-яё])", "вместо"),
    short(r"чл\.?-корр\.?(?!\w)", "член-корреспондент"),
    short(r"к\.\s?т\.\s?н\.", "кандидат технических наук"),
    short(r"к\.\s?э\.\s?н\.", "кандидат экономических наук"),
    short(r"к\.\s?м\.\s?н\.", "кандидат медицинских наук"),
    short(r"к\.\s?ю\.\s?н\.", "кандидат юридических наук"),
    short(r"к\.\s?ф\.-м\.\s?н\.", "кандидат физико-математических наук"),
    short(r"к\.\s?и\.\s?н\.", "кандидат исторических наук"),
    short(r"д\.\s?т\.\s?н\.", "доктор технических наук"),
    short(r"д\.\s?э\.\s?н\.", "доктор экономических наук"),
    short(r"д\.\s?м\.\s?н\.", "доктор медицинских наук"),
    short(r"д\.\s?ю\.\s?н\.", "доктор юридических наук"),
    short(r"д\.\s?и\.\s?н\.", "доктор исторических наук"),
    short(r"д\.\s?ф\.-м\.\s?н\.", "доктор физико-математических наук"),
    short(r"техн\.(?=\s+наук)", "технических"),
    short(r"экон\.(?=\s+наук)", "экономических"),
    short(r"мед\.(?=\s+наук)", "медицинских"),
    short(r"ист\.(?=\s+наук)", "исторических"),
    short(r"юрид?\.(?=\s+наук)", "юридических"),
    short(r"филол\.(?=\s+наук)", "филологических"),
    short(r"филос\.(?=\s+наук)", "философских"),
    short(r"пед\.(?=\s+наук)", "педагогических"),
    short(r"физ\.?-мат\.(?=\s+наук)", "физико-математических"),
    short(r"ст\.\s?м\.(?=\s*[«\"А-ЯЁ])", "станция метро", 0),
    short(r"м\.(?=\s*[«\"][А-ЯЁ])", "метро", 0),
    short(r"эл\.\s?адрес", "электронный адрес"),
    short(r"эт\.(?=\s*[,;]|\s*$)(?<=\d эт\.)", "этаж"),
)


# Nouns before a number --------------------------------------------------------------------------------------------

_NUMBERED = _pairs(
    "ст=статья; ч=часть; п=пункт; пп=пункт; подп=подпункт; гл=глава; разд=раздел; абз=абзац; стр=страница; с=страница; "
    "рис=рисунок; табл=таблица; прил=приложение; прим=примечание; илл=иллюстрация; ил=иллюстрация; черт=чертёж; "
    "вып=выпуск; т=том; д=дом; кв=квартира; корп=корпус; к=корпус; оф=офис; каб=кабинет; ауд=аудитория; под=подъезд; "
    "ком=комната; вл=владение; уч=участок; отд=отделение; пом=помещение; подъезд=подъезд; лит=литера; ф=форма; "
    "поз=позиция"
)
"""Abbreviations with a full stop before a number; ``стр.`` behind a house is a building ("строение")."""

_AS_UNITS = word_set("ч с т к ф под")
"""Those of them that are no abbreviation of this kind behind a number: 5 ч. 30 мин."""

_ORDINAL_AFTER = word_set("часть")
"""What is counted like "часть вторая"; after the others the number is a name: "статья сто пять", "дом семь"."""


def _numbered(match: Match, short_form: str, number: str, more: str | None) -> str:
    noun = _NUMBERED[short_form.lower()]
    counted = re.search(r"\d\s$", text_before(match))
    if short_form in _AS_UNITS and counted and not re.search(r"(?:пп?|ст|гл)\.?\s?\d+\s$", text_before(match)):
        return match.group()
    if noun == "квартира" and (len(number) == 4 or re.search(r"[IVX]\s$", text_before(match))):
        return match.group()  # a quarter of a year
    before = text_before(match)
    if short_form == "стр" and re.search(r"(?:д|дом|корп|к)\.?\s\d+[а-я]?,\s$", before):
        noun = "строение"
    case = _case_of_part(match, before)
    plural = bool(more) or short_form in ("пп", "Пп")
    said = decline(noun, case, plural=plural)
    if short_form[0].isupper():
        said = said.capitalize()
    if not number or re.match(r"\.?\d|,\d", text_after(match)):
        return f"{said} {number}{more or ''}"
    if noun in _ORDINAL_AFTER and not more and len(number) < 4:
        return f"{said} {ordinal(int(number), case, 'f')}"
    rest = re.sub(r"\s?[-–]\s?", " – ", re.sub(r"\d+", lambda m: cardinal(m.group()), more or ""))
    return f"{said} {cardinal(number)}{rest}"


def _case_of_part(match: Match, before: str) -> Case:
    if re.search(r"(?<!\w)(?:см|ср)\.?\s$|(?<!\w)(?:смотри|сравни|смотрите)(?:\sтакже)?\s$", before):
        return "a"
    if re.search(r"(?<!\w)(?:см|смотри)\.?\s[^!?;]{1,30}(?:\d\s?,|\sи)\s$", before):
        return "a"
    if re.search(r"[\d»а-я]\)?\s$", before) and re.search(r"(?:\d[а-я]?|[»\"])\s$", before):
        return "g"  # "ч. 2 ст. 159"
    cases = preposition_case(before)
    if cases:
        return cases[0]
    word = word_before(match)
    if is_noun(word):
        return "g"
    return (
        "a" if any("tran" in form.marks and form.part in ("VERB", "INFN", "GRND") for form in forms(word)[:1]) else "n"
    )


# Nouns before a name ----------------------------------------------------------------------------------------------

_NAMED = _pairs(
    "г=город; гор=город; ул=улица; просп=проспект; пр=проспект; пер=переулок; пл=площадь; наб=набережная; бул=бульвар; "
    "ш=шоссе; пос=посёлок; п=посёлок; пгт=посёлок; с=село; сел=село; д=деревня; дер=деревня; ст=станция; о=остров; "
    "оз=озеро; р=река; мкр=микрорайон; мкрн=микрорайон; туп=тупик; м=метро; х=хутор; хр=хребет; зал=залив; "
    "прол=пролив; респ=республика; ж=журнал; изд=издательство; тов=товарищ; т=товарищ"
)
_TITLES = _pairs(
    "проф=профессор; акад=академик; доц=доцент; инж=инженер; ген=генерал; полк=полковник; кап=капитан; лейт=лейтенант; "
    "серж=сержант; адм=адмирал; преп=преподаватель; асп=аспирант; студ=студент; гр=гражданин; реж=режиссёр; "
    "худ=художник; арх=архитектор; губ=губернатор; мин=министр; архиеп=архиепископ; митр=митрополит; еп=епископ; "
    "свящ=священник; муз=музыка; сл=слова; авт=автор; пер=перевод; ред=редактор; корр=корреспондент; дир=директор; "
    "кн=князь; имп=император; зам=заместитель; зав=заведующий; нач=начальник; пом=помощник; секр=секретарь; "
    "канд=кандидат; ком=командир"
)

_NAME = r"(?=\s*[«\"]?\s?(?:[А-ЯЁ]\.\s?){0,2}([А-ЯЁ][а-яё]+(?:-[А-ЯЁа-яё]+)*))"


def _named(match: Match) -> str:
    short_form, name = match.group(1, 2)
    noun = _NAMED.get(short_form.lower()) or _TITLES[short_form.lower()]
    if short_form == "о" and any("Name" in form.marks for form in forms(name)[:2]):
        noun = "отец"
    said = decline(noun, _case_of_name(match, name), plural=False)
    return (said.capitalize() if short_form[0].isupper() else said) + " "


_NAMED_AFTER = word_set("ул просп пр пер пл наб бул ш туп мкр мкрн м")
"""What is named after somebody: the name stays in the genitive, whatever the case of the street."""


_GOES = re.compile(
    r"(?:ех|езж|езд|едет|еду[тщ]?|едем|лет[аеи]|леч|идёт|идет|ид[уё]|пош|приш|прибы|прибу|отправ|направ|верну|возвра|"
    r"перев[её]|достав|посла|посыла|приглас|дорог|путь|путешеств|рейс|билет|добра|попал|въезд|приезд)\w{0,8}(?:\s\w+)?\s\w+\s*$"
)
"""Who goes somewhere, just before a preposition: "приехал в г. Казань", where "живёт в г. Казань" is a place."""


def _case_of_name(match: Match, name: str) -> Case:
    parts = ("ADJF",) if match[1].lower() in _NAMED_AFTER else ("NOUN", "ADJF")
    of_name = [
        form.case
        for form in forms(name)
        if form.case and form.part in parts and not form.plural and "Poss" not in form.marks
    ]
    wanted = preposition_case(text_before(match))
    if wanted:
        case = next((case for case in wanted if case in of_name), wanted[0])
        # A name whose accusative is its nominative ("на оз. Селигер") says nothing of the case.
        agrees = any(form.part == "ADJF" for form in forms(name)[:1])
        if case == "a" and "n" in of_name and not agrees:
            return "a" if _GOES.search(text_before(match)) else wanted[0]
        return case
    word = word_before(match)
    if is_noun(word):
        place = any("Geox" in form.marks for form in forms(name)[:3])
        return "g" if "g" in of_name or place or not of_name else of_name[0]
    if word and "n" not in of_name and (seen := next((case for case in ("a", "d") if case in of_name), None)):
        return "a" if seen == "a" else "d"  # whom, or to whom
    return "n" if "n" in of_name or not of_name else of_name[0]


def _title(match: Match) -> str:
    """``зам. директора``: a title before its noun."""
    short_form = match[1]
    cases = preposition_case(text_before(match))
    case: Case = cases[0] if cases else "g" if is_noun(word_before(match)) else "n"
    said = decline(_TITLES[short_form.lower()], case, plural=False)
    return (said.capitalize() if short_form[0].isupper() else said) + " "


# Words with a hyphen in their middle ------------------------------------------------------------------------------

_CUT = _pairs(
    "р-н=район; д-р=доктор; г-н=господин; гр-н=гражданин; ин-т=институт; ун-т=университет; пр-т=проспект; б-р=бульвар; "
    "з-д=завод; к-т=комитет; о-в=остров; п-ов=полуостров; м-н=магазин; мкр-н=микрорайон; м-р=мистер; ф-т=факультет; "
    "эл-т=элемент; д-т=департамент; техн-м=техникум; с-з=совхоз; к-з=колхоз"
)
_CUT_FEMININE = _pairs(
    "г-ж=госпож; гр-к=гражданк; об-в=обществ; изд-в=издательств; кол-в=количеств; пр-в=правительств; "
    "произ-в=производств; стр-в=строительств; хоз-в=хозяйств; гос-в=государств; кач-в=качеств; ф-к=фабрик; "
    "б-к=библиотек; т-в=товариществ; д-с=детсад; ж-л=журнал; аген-в=агентств; мин-в=министерств; отд-н=отделени; "
    "м-ц=месяц"
)


def _cut(match: Match) -> str:
    stem, ending = match.group(1, 2)
    known = _CUT.get(stem.lower())
    if known is None:
        said = _CUT_FEMININE[stem.lower()] + ending
    elif ending:
        said = (known.removesuffix("ин") + "ин" if known.endswith("ин") else known) + ending
    else:
        name = re.match(r"\s?(?:[А-ЯЁ]\.\s?){0,2}([А-ЯЁ][а-яё]+)", text_after(match))
        if name:
            case = _case_of_name(match, name[1])
        else:
            # "в Ленинский р-н": an adjective before says the case.
            case = next(
                (f.case for f in forms(word_before(match)) if f.part == "ADJF" and f.gender == "m" and f.case), "n"
            )
            cases = preposition_case(text_before(match))
            case = cases[0] if cases else case
        said = decline(known, case, plural=False)
    return said.capitalize() if stem[0].isupper() else said


def _region(match: Match) -> str:
    """``в Московской обл.``: in the case of the adjective before it."""
    adjective = match[1]
    wanted = preposition_case(text_before(match))
    cases = [form.case for form in forms(adjective) if form.part == "ADJF" and form.gender == "f" and form.case]
    case = next((case for case in wanted if case in cases), cases[0] if cases else "n")
    return f"{adjective} {decline('область', case, plural=False)}"


# Adjectives -------------------------------------------------------------------------------------------------------

_ENDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    # n g d a i p of each gender and the plural
    "ый": {"m": ("ый", "ого", "ому", "ый", "ым", "ом"), "f": ("ая", "ой", "ой", "ую", "ой", "ой"),
           "n": ("ое", "ого", "ому", "ое", "ым", "ом"), "pl": ("ые", "ых", "ым", "ые", "ыми", "ых")},
    "ий": {"m": ("ий", "его", "ему", "ий", "им", "ем"), "f": ("ая", "ей", "ей", "ую", "ей", "ей"),
           "n": ("ее", "его", "ему", "ее", "им", "ем"), "pl": ("ие", "их", "им", "ие", "ими", "их")},
    "ний": {"m": ("ний", "него", "нему", "ний", "ним", "нем"), "f": ("няя", "ней", "ней", "нюю", "ней", "ней"),
            "n": ("нее", "него", "нему", "нее", "ним", "нем"), "pl": ("ние", "них", "ним", "ние", "ними", "них")},
    "кий": {"m": ("кий", "кого", "кому", "кий", "ким", "ком"), "f": ("кая", "кой", "кой", "кую", "кой", "кой"),
            "n": ("кое", "кого", "кому", "кое", "ким", "ком"), "pl": ("кие", "ких", "ким", "кие", "кими", "ких")},
    "гой": {"m": ("гой", "гого", "гому", "гой", "гим", "гом"), "f": ("гая", "гой", "гой", "гую", "гой", "гой"),
            "n": ("гое", "гого", "гому", "гое", "гим", "гом"), "pl": ("гие", "гих", "гим", "гие", "гими", "гих")},
    "ой": {"m": ("ой", "ого", "ому", "ой", "ым", "ом"), "f": ("ая", "ой", "ой", "ую", "ой", "ой"),
           "n": ("ое", "ого", "ому", "ое", "ым", "ом"), "pl": ("ые", "ых", "ым", "ые", "ыми", "ых")},
}  # fmt: skip
_ADJECTIVES = _pairs(
    "гл=главн|ый; ст=старш|ий; мл=младш|ий; макс=максимальн|ый; мин=минимальн|ый; ср=сред|ний; эл=электронн|ый; "
    "моб=мобильн|ый; гос=государственн|ый; физ=физичес|кий; юр=юридичес|кий; мед=медицинс|кий; тех=техничес|кий; "
    "соц=социальн|ый; нац=национальн|ый; междунар=международн|ый; рос=российс|кий; сов=советс|кий; воен=военн|ый; "
    "муз=музыкальн|ый; худ=художественн|ый; лит=литературн|ый; т. н=так называем|ый; т.н=так называем|ый; др=дру|гой; "
    "св=свят|ой; пр=проч|ий; след=следующ|ий; пред=предыдущ|ий; осн=основн|ой; общ=общ|ий; доп=дополнительн|ый; "
    "спец=специальн|ый; раб=рабоч|ий; жен=женс|кий; муж=мужс|кий; дет=детс|кий; нек=некотор|ый"
)
_GENDER_KEYS: dict[Gender | None, str] = {"m": "m", "f": "f", "n": "n", None: "m"}


def _adjective(match: Match) -> str:
    """``ст. лейтенанту``: an adjective in the form of the noun behind it."""
    short_form, noun = match.group(1, 2)
    stem, _, kind = _ADJECTIVES[re.sub(r"\s+", " ", short_form.lower())].partition("|")
    known = [form for form in forms(noun) if form.case and form.part in ("NOUN", "ADJF")]
    if not known:
        return match.group()
    wanted = preposition_case(text_before(match)) or (("g", "n") if is_noun(word_before(match)) else ("n", "a"))
    if noun[0].isupper():
        known = [form for form in known if not form.plural] or known
    form = next((form for case in wanted for form in known if form.case == case), known[0])
    endings = _ENDINGS[kind]["pl" if form.plural else _GENDER_KEYS[form.gender]]
    at = "ngdaip".index(form.case or "n")
    if form.case == "a" and form.animate and (form.plural or form.gender == "m"):
        at = 1
    said = stem + endings[at] + " "
    return said.capitalize() if short_form[0].isupper() else said


_LANGUAGES = _pairs(
    "англ=английск; нем=немецк; фр=французск; франц=французск; рус=русск; лат=латинск; греч=греческ; "
    "др.-греч=древнегреческ; ит=итальянск; итал=итальянск; исп=испанск; кит=китайск; яп=японск; польск=польск; "
    "укр=украинск; арабск=арабск; араб=арабск; тур=турецк; тюрк=тюркск; порт=португальск; чешск=чешск; фин=финск; "
    "швед=шведск; санскр=санскритск; ст.-слав=старославянск; др.-рус=древнерусск; венг=венгерск; кор=корейск; "
    "перс=персидск"
)


def _language(match: Match) -> str:
    """``от лат. aqua`` → от латинского; in brackets ``англ. water`` → по-английски."""
    stem = _LANGUAGES[match[1].lower()]
    cases = preposition_case(text_before(match))
    if not cases:
        in_brackets = re.search(r"[(,]\s?$", text_before(match)) or re.match(r"\s*[«A-Za-zα-ω]", text_after(match))
        return f"по-{stem}и " if in_brackets else match.group()
    ending = {"g": "ого", "p": "ом", "d": "ому", "i": "им", "a": "ий"}.get(cases[0], "ий")
    return f"{stem}{ending} "


def _either(table: Iterable[str]) -> str:
    return "|".join(re.escape(key).replace(r"\ ", r"\s?") for key in sorted(table, key=len, reverse=True))


def _street(match: Match) -> str:
    """A street or place whose name begins with a number or a small letter: ул. 8 Марта."""
    cases = preposition_case(text_before(match))
    case: Case = cases[0] if cases else "g" if is_noun(word_before(match)) else "n"
    return decline(_NAMED[match[1].lower()], case, plural=False) + " "


ABBREVIATIONS: tuple[Rule, ...] = (
    *_PHRASES,
    (
        re.compile(
            rf"(?<![\w.])({_either(_NUMBERED)})\.\s?(?:№\s?)?"
            r"(\d{1,6})((?:\s?[-–]\s?|\sи\s)\d{1,6}(?![\d.,]*\d))?(?!\w)",
            re.IGNORECASE,
        ),
        # "С. 5" may be somebody's initial.
        lambda m: m.group() if m[1] in ("С", "Т", "К", "Ф", "Д") else _numbered(m, *m.group(1, 2, 3)),
    ),
    (
        re.compile(
            r"(?<![\w.])(ст|ч|п|гл|разд|прил|табл|рис|т|кв)\.\s?(?=[IVXLC]+(?!\w)|[«\"][а-яё][»\"])", re.IGNORECASE
        ),
        lambda m: m.group() if m[1].lower() == "кв" else _numbered(m, m[1], "", None),
    ),
    (
        re.compile(
            rf"(?<![\w.-])(?<!\d\s)({_either({*_NAMED, *(k.capitalize() for k in _NAMED if len(k) > 1)})})\.{_NAME}"
        ),
        _named,
    ),
    (
        re.compile(
            r"(?<![\w.-])(?<!\d\s)([Уу]л|[Пп]росп|[Пп]ер|[Пп]л|[Нн]аб|[Бб]ул|[Мм]кр|[Пп]ос|[Дд]ер|[Оо]з)\.(?=\s*(?:\d|([а-яёА-ЯЁ]+)))"
        ),
        _street,
    ),
    (re.compile(rf"(?<![\w.-])(?<!\d\s)({_either(_TITLES)})\.{_NAME}"), _named),
    (re.compile(rf"(?<![\w.-])({_either({k.capitalize(): v for k, v in {**_TITLES}.items()})})\.{_NAME}"), _named),
    (
        re.compile(r"(?<![\w.-])(зам|зав|нач|пом|секр|канд|дир|реж|преп|студ|Зам|Зав|Нач|Дир|Реж)\.(?=\s+[а-яё])"),
        _title,
    ),
    (re.compile(rf"(?<![\w-])({_either(_CUT)})((?:а|у|е|ом|ы|ов|ам|ами|ах|ем|и)?)(?![\w-])", re.IGNORECASE), _cut),
    (
        re.compile(
            rf"(?<![\w-])({_either(_CUT_FEMININE)})(а|у|е|о|ы|и|ой|ом|ам|ами|ах|ем|я|ей)(?![\w-])", re.IGNORECASE
        ),
        _cut,
    ),
    (re.compile(r"(?<!\w)([А-ЯЁ][а-яё-]+(?:ая|ой|ую))\s+обл\.?(?!\w)"), _region),
    (re.compile(r"(?<!\w)обл\.", re.IGNORECASE), "область "),
    (re.compile(rf"(?<![\w.-])(?<!\d\s)({_either(_ADJECTIVES)})\.\s?(?=([а-яё]{{3,}}))", re.IGNORECASE), _adjective),
    (re.compile(r"(?<![\w.-])([Сс]в)\.\s?(?=([А-ЯЁ][а-яё]+))"), _adjective),
    (re.compile(rf"(?<![\w.-])({_either(_LANGUAGES)})\.(?!\w)", re.IGNORECASE), _language),
)
"""Abbreviations; those that need a number in front of them are ``units.UNITS``."""
