"""Russian dates in words: days of a month, years, spans of them, decades; the case comes from what stands before.

A day is a neuter ordinal ("пятое число"), in the genitive unless a preposition or a word like "сегодня" says otherwise.
"""

from __future__ import annotations

import re
from datetime import date

from tolmach.processors.text_normalization.common import Match, Rule
from tolmach.processors.text_normalization.russian.context import (
    PREPOSITIONS,
    is_noun,
    text_after,
    text_before,
    word_before,
    word_set,
)
from tolmach.processors.text_normalization.russian.numerals import Case, ordinal

MONTHS = "января февраля марта апреля мая июня июля августа сентября октября ноября декабря".split()  # noqa: SIM905

_MONTH = "|".join(MONTHS)
_SHORT_MONTHS = {
    "янв": 0, "фев": 1, "февр": 1, "мар": 2, "апр": 3, "июн": 5, "июл": 6, "авг": 7, "сен": 8, "сент": 8, "окт": 9,
    "ноя": 10, "нояб": 10, "дек": 11,
}  # fmt: skip
_MONTH_STEMS = "январ|феврал|март|апрел|ма(?=[йяюе])|июн|июл|август|сентябр|октябр|ноябр|декабр"
_SEASONS = "весной|летом|осенью|зимой|весны|лета|осени|зимы|весна|лето|осень|зима|весну|зиму"
_ROMAN_MONTHS = {
    name: at + 1
    for at, name in enumerate("I II III IV V VI VII VIII IX X XI XII".split())  # noqa: SIM905
}


# Days -------------------------------------------------------------------------------------------------------------

_IS_THE_DAY = word_set(
    "сегодня завтра вчера послезавтра позавчера это уже было был была будет наступит наступило наступает настало "
    "скоро дата"
)
"""After these a day is named, not meant as the time of something: "сегодня пятое мая"."""

_ON_THE_DAY: dict[str, Case] = {
    "к": "d", "ко": "d", "по": "a", "на": "a", "за": "a", "через": "a", "про": "a", "перед": "i", "между": "i",
    "над": "i", "о": "p", "об": "p", "при": "p",
}  # fmt: skip


def _case_of_day(match: Match) -> Case:
    before = text_before(match)
    word = word_before(match)
    if word in _IS_THE_DAY or re.search(r"\bдата(?: рождения| смерти| выдачи)?:? ?$", before):
        return "n"
    if word in ("с", "со") and re.search(r"поздрав\w*(?: \w+)? со?\s$", before):
        return "i"
    if word in ("с", "со") and re.match(r"\s?!", text_after(match)) and before.strip() in ("с", "со"):
        return "i"
    if re.match(r"(?:праздну|отмеча)(?:ем|ю|ть|ешь)$", word) and "ден" not in before:
        return "a"
    if re.match(r"\s?–\s?[^\d\s]", text_after(match)) and not word:
        return "n"
    return _ON_THE_DAY.get(word, "g")


def _days(match: Match) -> str:
    days, month, year = match.group(1, 2, 3)
    case = _case_of_day(match)
    first, *rest = re.split(r"(\s?[-–]\s?(?=\d)|\s(?:по|на|до|и|или)\s|,\s)", days)
    said = [_day(first, case)]
    for sign, day in zip(rest[::2], rest[1::2], strict=True):
        word = sign.strip()
        if word in ("по", "на", "до"):
            case = "g" if word == "до" else "a"
        said.append(f" {word} " if word.isalpha() else ", " if word == "," else " – ")
        said.append(_day(day, case))
    end = f" {_year_words(year, 'g')} года " if year else ""
    return f"{''.join(said)} {month.lower()}{end}"


_DAY_ENDINGS: dict[str, Case] = {"е": "n", "ое": "n", "го": "g", "ого": "g", "му": "d", "ому": "d", "м": "i", "ым": "i"}


def _day(text: str, case: Case) -> str:
    number, _, ending = text.partition("-")
    return ordinal(int(number), _DAY_ENDINGS.get(ending, case), "n")


def _year_words(year: str, case: Case) -> str:
    value = int(year)
    if len(year) == 2 and value < 10:
        value += 2000
    return ordinal(value, case)


def _numeric_date(match: Match, day: str, month: str, year: str) -> str:
    if word_before(match).startswith("верси"):
        return match.group()
    try:
        date(int(year) if len(year) == 4 else 2000 + int(year), int(month), int(day))
    except ValueError:
        return match.group()
    said = f"{ordinal(int(day), _case_of_day(match), 'n')} {MONTHS[int(month) - 1]}"
    return f" {said} {_year_words(year, 'g')} года "


def _day_and_month(match: Match) -> str:
    """``до 15.01``: a date after a preposition, where it might be a number elsewhere."""
    day, month = match.group(1, 2)
    if word_before(match) not in ("с", "со", "до", "от", "по", "к", "на", "после") and not (
        month.startswith("0") and re.match(r"\s*$|\s*[.,;)]|\s(?:в|с|на|по|у)\s", text_after(match))
    ):
        return match.group()
    if not 1 <= int(day) <= 31 or not 1 <= int(month) <= 12 or re.match(r"\s?[%°]", text_after(match)):
        return match.group()
    return f"{ordinal(int(day), _case_of_day(match), 'n')} {MONTHS[int(month) - 1]}"


_D = r"(?:0?[1-9]|[12]\d|3[01])(?:-(?:го|е|му|ое|ого|ому|ым|м)(?!\w))?"
_COUNTED = r"\s(?:человек|людей|раз|руб|долл|евро|тыс|мл|[а-яё]+(?:ов|ев|ей)(?!\w))"
"""What follows a number that counts, and is no year."""
_YEAR_END = r"\s*(?:г(?:ода|\.)?(?!\w))"
_DAY_RULES: tuple[Rule, ...] = (
    (
        re.compile(r"(?<![\d-])(\d{4})-(\d{2})-(\d{2})(?:T|\s)(?=\d{1,2}:)"),
        lambda m: _numeric_date(m, *m.group(3, 2, 1)) + " ",
    ),
    (
        re.compile(rf"(?<![\d.])(\d{{1,2}})([./-])(\d{{1,2}})\2(\d{{4}})(?![\d]|[-./]\d)(?:{_YEAR_END})?"),
        lambda m: _numeric_date(m, *m.group(1, 3, 4)),
    ),
    (
        re.compile(rf"(?<![\d.,/-])(\d{{1,2}})([./])(\d{{2}})\2(\d{{2}})(?![\d]|[-.,/]\d)(?:{_YEAR_END})?"),
        lambda m: _numeric_date(m, *m.group(1, 3, 4)),
    ),
    (
        re.compile(r"(?<![\d.,/-])(\d{4})([-./])(\d{2})\2(\d{2})(?![\d-]|[.,]\d)"),
        lambda m: _numeric_date(m, *m.group(4, 3, 1)),
    ),
    (re.compile(r"(?<![\d.,:/-])(\d{2})\.(0[1-9]|1[0-2])(?![\d%°]|[.,:/-]\d)"), _day_and_month),
    (
        re.compile(rf"(?<=\d\s)({'|'.join(_SHORT_MONTHS)})(?:\.|(?=\s\d))(?!\w)", re.IGNORECASE),
        lambda m: MONTHS[_SHORT_MONTHS[m[1].lower()]] + " ",
    ),
    (
        re.compile(
            rf"(?<![\d.,:/-])({_D}(?:(?:\s?[-–]\s?|\s(?:по|на|до|и|или)\s|,\s){_D}){{0,5}})\s+({_MONTH})(?!\w)"
            rf"(?:\s+(\d{{4}})(?![\d%]|[.,:]\d)"
            rf"(?:\s*(?:года|г\.|г)(?!\w)|(?!\s*(?:год|г|[-–]\s?\d)|{_COUNTED})))?",
            re.IGNORECASE,
        ),
        _days,
    ),
)

# Weekdays ---------------------------------------------------------------------------------------------------------

_WEEKDAYS = {
    "пн": ("понедельник", "понедельника", "понедельнику"), "вт": ("вторник", "вторника", "вторнику"),
    "ср": ("среда", "среды", "среде"), "чт": ("четверг", "четверга", "четвергу"),
    "пт": ("пятница", "пятницы", "пятнице"), "сб": ("суббота", "субботы", "субботе"),
    "вс": ("воскресенье", "воскресенья", "воскресенью"),
}  # fmt: skip
_WEEKDAY_IN = {"среда": "среду", "пятница": "пятницу", "суббота": "субботу"}


def _weekday(match: Match) -> str:
    nominative, genitive, dative = _WEEKDAYS[match[1].lower()]
    preposition = word_before(match)
    if preposition in ("в", "во", "на", "по", "за"):
        return _WEEKDAY_IN.get(nominative, nominative)
    if preposition in ("к", "ко"):
        return dative
    return genitive if preposition in ("с", "со", "до", "от", "после") else nominative


_WEEKDAY_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<![\w-])([Пп]н|[Вв]т|[Чч]т|[Пп]т|[Сс]б|[Вв]с|ПН|ВТ|ЧТ|ПТ|СБ|ВС)(?!\w)\.?(?=\s?[-–,;)]|\s|\s*$)"
                r"(?<!\d\s[Вв]т)"), _weekday),
    (
        re.compile(r"\s?[-–]\s?([Пп]н|[Вв]т|[Сс]р|[Чч]т|[Пп]т|[Сс]б|[Вв]с|ПН|ВТ|СР|ЧТ|ПТ|СБ|ВС)(?!\w)\.?"),
        lambda m: f" – {_WEEKDAYS[m[1].lower()][0]}",
    ),
    (re.compile(r"(?<![\w-])([Сс]р)(?=\s?[-–,;]|\s*$|\.?\s(?:в|с)\s\d)"), _weekday),
)  # fmt: skip


# Years ------------------------------------------------------------------------------------------------------------

_YEAR_FORMS: dict[str, Case] = {
    "год": "n", "года": "g", "году": "p", "годом": "i", "годе": "p", "годы": "n", "годов": "g", "годам": "d",
    "годами": "i", "годах": "p",
}  # fmt: skip
_ONE_YEAR: dict[Case, str] = {"n": "год", "a": "год", "g": "года", "d": "году", "i": "годом", "p": "году"}
_MANY_YEARS: dict[Case, str] = {"n": "годы", "a": "годы", "g": "годов", "d": "годам", "i": "годами", "p": "годах"}
_IN_THE_YEAR: dict[str, Case] = {**PREPOSITIONS, "на": "a", "за": "a", "по": "a", "через": "a"}


def _case_of_year(match: Match, years: int) -> Case:
    before, word = text_before(match), word_before(match)
    if word in _IN_THE_YEAR:
        return _IN_THE_YEAR[word]
    if word == "и" and (shared := re.search(r"(?<!\w)(в|во|между|к|с|от)\s\d{4}\s?(?:г\.\s?)?и\s$", before)):
        return _IN_THE_YEAR[shared[1]]
    if re.search(r"(?:квартал|полугоди|семестр|кв\.)[а-яё]* $", before):
        return "g"
    if re.match(r"\s*(?:рождени|выпуск|постройк|издани|урожа|изготовлени|основани)", text_after(match)):
        return "g"
    if word in _IS_THE_DAY or (years == 1 and word in ("сейчас", "весь")):
        return "n"
    if word:
        return "g" if years == 1 or is_noun(word) else "n"
    # A date's year ("15 мая, 2024 г.") stands behind a comma or a bracket; what begins a sentence is its subject.
    return "n" if years > 1 or re.search(r"(?:^|[.!?–:;(] ?)$", before.rstrip()) else "g"


def _years(match: Match) -> str:
    first, more, adjective, word = match.group(1, 2, 3, 4)
    numbers = re.split(r"(\s?[-–/]\s?|,\s|\s(?:и|или|по|до)\s)", first + more)
    count = len(numbers) // 2 + 1
    word = (word or "").lower()
    short = word.rstrip(".") in ("г", "гг")
    if not short and word not in _YEAR_FORMS:
        return match.group()
    if len(first) < 4 and not _is_short_year(first, word):
        return match.group()
    preposition = word_before(match)
    case = _case_of_year(match, count) if short else _YEAR_FORMS[word]
    if word == "году" and preposition in ("к", "ко", "по", "благодаря"):
        case = "d"
    if word == "годы" and preposition in ("в", "на", "за", "по"):
        case = "a"
    said, form = [], case
    if preposition in ("с", "со") and any(sign.strip() in ("по", "до") for sign in numbers[1::2]):
        form = "g"
    for at, number in enumerate(numbers):
        sign = number.strip()
        if at % 2 == 0:
            said.append(ordinal(int(number), form))
        elif sign in ("по", "до"):
            form = case = "a" if sign == "по" else "g"
            said.append(f" {sign} ")
        else:
            said.append(f" {sign} " if sign.isalpha() else ", " if sign == "," else " – ")
    if short:
        word = (_MANY_YEARS if word.startswith("гг") and not _spans(numbers) else _ONE_YEAR)[case]
    return f"{''.join(said)} {adjective or ''}{word} "


def _spans(numbers: list[str]) -> bool:
    """Whether it is "с … по …", which ends on one year."""
    return any(sign.strip() in ("по", "до") for sign in numbers[1::2])


def _is_short_year(number: str, word: str) -> bool:
    """Whether one to three digits name a year: nobody counts "5 году", "988 года" or "5 год"."""
    last = int(number) % 10
    counted = last in (2, 3, 4) and int(number) % 100 not in (12, 13, 14)
    if word in ("году", "годом"):
        return True
    if word == "года":
        return len(number) == 3 and not counted and last != 1
    return word == "год" and last != 1


def _bare_year(match: Match) -> str:
    """A year after a preposition without its noun: в 2023 построили."""
    preposition, number = word_before(match), match[1]
    if preposition not in ("в", "во", "с", "до", "после", "к", "от", "по", "около"):
        return match.group()
    after = text_after(match)
    follows = re.match(r"\s([а-яё]+)", after)
    if not re.match(r"\s*(?:[.,;:!?)–]|$|и\s)", after) and (
        not follows or (is_noun(follows[1]) and follows[1] not in _AFTER_A_YEAR)
    ):
        return match.group()
    if number.endswith("00") and not re.match(r"\s*[.!?]?\s*$", after):
        return match.group()
    case = "p" if preposition in ("в", "во") else "a" if preposition == "по" else PREPOSITIONS[preposition]
    return ordinal(int(number), case)


_AFTER_A_YEAR = word_set("или при под над без для после мы вы его её них там здесь тут много")


def _month_of_year(match: Match) -> str:
    first, second = match.group(2, 3)
    said = ordinal(int(first), "g") + (f" – {ordinal(int(second), 'g')}" if second else "")
    return f"{match[1]} {said} {'годов' if second else 'года'} "


_Y = r"(?<![\w.,:/+-])"
_YEAR_RULES: tuple[Rule, ...] = (
    (
        re.compile(
            rf"(?<!\w)((?:{_MONTH_STEMS})[а-яё]{{0,3}}|{_SEASONS})\s+(1\d{{3}}|20\d\d)(?:\s?[-–]\s?((?:1\d|20)\d\d))?"
            rf"(?![\w%]|[.,:-]\d|\s*(?:год|г(?!\w)|гг)|{_COUNTED})",
            re.IGNORECASE,
        ),
        _month_of_year,
    ),
    (
        re.compile(
            rf"{_Y}(\d{{1,4}})((?:(?:\s?[-–/]\s?|,\s|\s(?:и|или|по|до)\s)\d{{2,4}}){{0,5}})\s*"
            r"((?:учебн|финансов|хозяйственн|календарн|отчётн|бюджетн|текущ)[а-яё]{2,3}\s)?"
            r"(гг?\.(?!\s?[А-ЯЁ][а-яё]{0,2}\.)|гг?(?!\w)|год[а-яё]{0,3}(?!\w))",
        ),
        lambda m: m.group() if len(m[1]) < 4 and m[4].startswith("г") and m[4][1:2] in ("", ".") else _years(m),
    ),
    (
        re.compile(r"(?<=\()(1\d{3}|20\d\d)\s?[-–]\s?(1\d{3}|20\d\d)(?=\))"),
        lambda m: f"{ordinal(int(m[1]))} – {ordinal(int(m[2]))}",
    ),
    (
        re.compile(
            r"(?<!\w)([Сс]о?)\s(1\d{3}|20\d\d)\s(по|до)\s(1\d{3}|20\d\d)(?![\w%]|[.,:-]\d)"
            rf"(?!{_COUNTED})"
        ),
        lambda m: f"{m[1]} {ordinal(int(m[2]), 'g')} {m[3]} {ordinal(int(m[4]), 'a' if m[3] == 'по' else 'g')}",
    ),
    (re.compile(rf"{_Y}(1[5-9]\d\d|20[0-4]\d)(?![\w%°$€₽]|[.,:/-]\d|\s?[-–]\s?\d)"), _bare_year),
)


# Decades ----------------------------------------------------------------------------------------------------------

_DECADE_ENDINGS: dict[str, Case] = {
    "е": "n", "ые": "n", "х": "p", "ых": "p", "м": "d", "ым": "d", "ми": "i", "ыми": "i",
}  # fmt: skip


def _decade(match: Match) -> str:
    first, second, ending, word = match.group(1, 2, 3, 4)
    case = _DECADE_ENDINGS[ending]
    before = word_before(match)
    if ending == "м" and not (word or before in ("к", "ко", "по")):
        return match.group()  # "на 20-м этаже"
    if case == "n" and not word and re.match(r"\s[а-яё]+[ое](?!\w)", text_after(match)):
        return match.group()  # "20-е место"
    said = " – ".join(ordinal(int(n), case, plural=True) for n in ((first, second) if second else (first,)))
    if word and word.lower().startswith("г") and word.lower().rstrip(".") in ("г", "гг"):
        inside = re.search(r"(?<!\w)(?:в|во|о|об|на|при)\s(?:\d+-?х?(?:,\s|\sи\s|\s?[-–]\s?))*$", text_before(match))
        word = _MANY_YEARS["g" if case == "p" and not inside else case]
        stop = "." if (match[4] or "").endswith(".") and re.match(r"\s*$|\s+[А-ЯЁ]", text_after(match)) else ""
        return f"{said} {word}{stop} "
    return said + (f" {word}" if word else "")


_DECADE_RULES: tuple[Rule, ...] = (
    (
        re.compile(
            r"(?<![\w.,:/])(\d0|\d{3}0)(?:-?(?:е|х)?\s?[-–]\s?(\d0|\d{3}0))?-(е|ые|х|ых|м|ым|ми|ыми)(?!\w)"
            r"(?:\s+(гг?\.?(?!\w)|год[а-яё]{1,3}(?!\w)))?"
        ),
        _decade,
    ),
)

ROMAN_MONTH: Rule = (
    re.compile(r"(?<![\w.])(\d{1,2})\.([IVX]{1,4})\.(?=\d{4}(?!\w))"),
    lambda m: f"{m[1]}.{_ROMAN_MONTHS[m[2]]}." if m[2] in _ROMAN_MONTHS else m.group(),
)
"""``12.IV.1961``, before it is taken for a web address."""

DATE_RULES: tuple[Rule, ...] = (*_DAY_RULES, *_WEEKDAY_RULES, *_DECADE_RULES, *_YEAR_RULES)
"""Dates, weekdays, decades and years; before the rules of plain numbers."""
