"""How a number before a Russian noun is read: as how many or as which one, in which case and gender.

The noun's own form says most: after 2-4 stand the genitive singular (два дома), the same case in the plural (двум
домам) or, of living beings seen or met, the genitive plural (двух девушек); after 5 the genitive plural or the same
case. A noun in the singular that no "how many" licenses is one of a row: "на 3 этаже" is на третьем этаже. What the
form leaves open, ``government`` decides. See docs/adr/0036.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from tolmach.processors.text_normalization.common import word_set
from tolmach.processors.text_normalization.russian.government import (
    MEASURES,
    PREPOSITIONS,
    PROCESSES,
    RELATIONAL_NOUNS,
    WINDOW,
    Cases,
    Government,
    government,
    tokens,
)
from tolmach.processors.text_normalization.russian.morphology import Form, forms, is_part
from tolmach.processors.text_normalization.russian.numerals import (
    CASES,
    Case,
    Gender,
    cardinal,
    collective,
    ordinal,
)

ROWS = word_set(
    "этаж класс курс век место ряд глава том тур раунд тайм сезон серия подъезд отдел разряд категория группа "
    "степень сорт созыв ранг рота отряд дивизия полк взвод батальон армия корпус отделение палата созвездие путь "
    "платформа перрон эпизод выпуск издание квартал полугодие семестр четверть урок период вагон ярус этап сектор "
    "цех поколение съезд мировой строка столбец абзац колонка январь февраль март апрель май июнь июль август "
    "сентябрь октябрь ноябрь декабрь дивизион лига попытка четвертьфинал микрорайон"
)
"""Nouns that stand in rows, and adjectives (вторая мировая): after 1, and after 2-4 where both are possible, which one
is meant rather than how many."""

PLACINGS = word_set(
    "величине счету численности популярности важности значимости длине площади высоте населению размеру "
    "времени богатству возрасту старшинству глубине мощности стоимости"
)
"""What a place in a row is measured by: третий по величине город."""

PARTS = frozenset(("часть",))
"""Nouns before a number that make it an ordinal: часть вторая. After others (дом 12, страница 40) it is a name."""

LABELS = word_set(
    "дом квартира задача вариант страница глава пункт статья урок автобус маршрут рейс аудитория кабинет школа метод "
    "таблица рисунок упражнение уравнение билет номер вагон место поезд том выпуск корпус подъезд этаж палата зал "
    "сектор трек формула шаг этап правило тест раздел приложение версия уровень модель участок цех гимназия лицей "
    "больница окно касса трамвай троллейбус строка столбец лот код параграф лекция серия опыт пример случай способ"
)
"""Nouns with a number behind them for a name: "в задаче 15 ошибка" has no fifteenth mistake."""

NO_NOUNS = word_set("и или а не но уже еще это плюс минус равно будет")
"""Words behind a number that are not counted, though the dictionary has such nouns."""

Kind = Literal["cardinal", "ordinal", "collective"]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a number is to be read.

    Attributes:
        kind: How many (два), which one (второй), or of a group (двое).
        case: The numeral's case.
        gender: The gender of what is counted.
        animate: Whether living beings are counted; heard in the accusative.
        governed: The cases that the sentence allows, likeliest first; what is joined to this number shares them.
    """

    kind: Kind = "cardinal"
    case: Case = "n"
    gender: Gender = "m"
    animate: bool = False
    governed: Cases = ("n", "a")

    def say(self, number: str) -> str:
        """The number in words; a number too long for a name is read digit by digit."""
        value = int(number) if len(number) <= 15 and not (number.startswith("0") and len(number) > 1) else None
        if value is not None and self.kind == "ordinal":
            return ordinal(value, self.case, self.gender, animate=self.animate)
        if value is not None and self.kind == "collective":
            said = collective(value, self.case, animate=self.animate)
            if said is not None:
                return said
        return cardinal(number, self.case, self.gender, animate=self.animate)


Category = Literal["one", "few", "many", "thousands"]


def category(value: int) -> Category:
    """Which agreement a cardinal asks for: 1, 2-4, 5-20, or a round thousand, which has a genitive behind it."""
    if value and value % 1000 == 0:
        return "thousands"
    if value % 100 in (11, 12, 13, 14):
        return "many"
    return "one" if value % 10 == 1 else "few" if value % 10 in (2, 3, 4) else "many"


@lru_cache(maxsize=512)  # the same line is often said again, and a hostile text says nothing else
def agreement(before: str, value: int, after: str) -> Reading:
    """How a number is read between what stands before it and what stands behind it.

    Args:
        before: The text before the number; the last 160 characters are looked at.
        value: The number.
        after: The text behind it; the first 160 characters are looked at.
    """
    following = following_words(after)
    joined_behind = len(following) > 2 and following[0] in ("и", "или", "либо") and following[1][0].isdigit()
    placed = len(following) > 2 and following[0] == "по" and following[1] in PLACINGS
    nouns = counted_forms(following[2:] if joined_behind or placed else following)
    joined = joined_behind or re.search(r"\d(?:, | и | или )$", before[-8:]) is not None
    governed = government(before, following)
    kind = category(value)
    if not nouns:
        return _from_to(governed, kind, following) or _row_again(before) or _bare(governed, kind)
    cases = _likely_cases(governed, kind, nouns)
    if placed:
        return _which_one(governed, (*cases, *CASES), kind, nouns) or _bare(governed, kind)
    if value and joined and any(form.lemma in ROWS and form.plural for form in nouns):
        form = next(form for form in nouns if form.lemma in ROWS and form.plural)
        return Reading("ordinal", form.case or "n", form.gender or "m", form.animate, cases)
    which = _which_one(governed, cases, kind, nouns)
    if which is not None and _is_of_a_row(which, governed, value, nouns, following):
        return which
    reading = _how_many(cases, kind, _beside(which, nouns), value)
    if reading is not None:
        return reading
    named = not governed.counted_before and any(form.lemma in LABELS for form in governed.noun)
    if named and not any(form.plural and form.case not in ("n", "a") for form in nouns):
        return _bare(governed, kind)
    if kind == "few" and governed.firm and not governed.preposition:
        # "Её не было 3 дня": the form says that the verb does not govern the number.
        reading = _how_many(("a", "n"), kind, nouns, value)
        if reading is not None:
            return reading
    if not joined_behind:
        # Where the noun's form contradicts "how many", the number says which one, or the noun overrules the governor.
        if which is not None and value and kind != "one":
            return which
        if governed.preposition and not any(form.plural for form in nouns):
            return _bare(governed, kind)  # "в 5 мама ушла": the noun is not what the preposition governs
        reading = _how_many((*cases, *CASES), kind, nouns, value)
        if reading is not None:
            return reading
        which = _which_one(governed, (*cases, *CASES), kind, nouns)
        if which is not None and value:
            return which
    form = nouns[0]
    return Reading("cardinal", cases[0], form.gender or "m", form.animate, governed.cases)


@lru_cache(maxsize=512)
def case_of_measure(before: str, kind: Category, unit: str, after: str) -> Case:
    """The case of a number before a unit of measure, whose form does not say it: до 5 кг, владеет 5 %.

    Args:
        before: The text before the number.
        kind: What the number asks of its noun.
        unit: The unit in the nominative.
        after: The text behind the unit.
    """
    governed = government(before, following_words(after), measured=bool(unit))
    if kind == "one" and governed.preposition == "по":
        return "d"
    if governed.lasting and governed.cases[0] == "n" and unit and not _is_instrumental(governed):
        return "a"
    return governed.cases[0]


# What is counted ---------------------------------------------------------------------------------------------------


def following_words(after: str) -> list[str]:
    """The words behind a number that belong to it: up to a sign."""
    match = re.match(r"(?:\s*[^\W_]+(?:-[^\W_]+)*(?=[\s,.;:!?…)»]|$))*", after[:WINDOW])
    return tokens(match.group())[:10] if match else []


def counted_forms(following: Sequence[str]) -> tuple[Form, ...]:
    """The noun behind a number, as every form it may be in, likeliest first; () when none follows."""
    return tuple(_counted(following))


def _counted(following: Sequence[str]) -> Iterator[Form]:
    """The same; adjectives between the number and the noun must agree with it."""
    adjectives: list[tuple[Form, ...]] = []
    for i, token in enumerate(following[:5]):
        if not token[0].isalpha() or token in PREPOSITIONS or token in NO_NOUNS:
            break
        found = forms(token)
        if token in ("самых", "очень", "наиболее", "менее", "более"):
            continue
        adjectival = tuple(form for form in found if form.part in ("ADJF", "PRTF") and form.case)
        if adjectival and i + 1 < len(following) and _has_noun(following[i + 1], adjectival):
            adjectives.append(adjectival)  # "красные" and "рабочих" are nouns as well
            continue
        if is_part(token, "NOUN", at_least=0.3):
            nouns = _likely_nouns(found)
            agreeing = [form for form in nouns if all(_agrees(form, words) for words in adjectives)]
            yield from agreeing or nouns
            return
        if not adjectival or not is_part(token, "ADJF", "PRTF", at_least=0.3):
            break
        adjectives.append(adjectival)
    # No noun: the adjective stands for one (2 раненых), unless it is a pronoun (5 моих). Participles stand for people.
    for form in adjectives[-1] if adjectives else ():
        if "Apro" not in form.marks:
            yield replace(form, animate=form.animate or form.part == "PRTF")


def _likely_nouns(found: Sequence[Form]) -> list[Form]:
    """Readings as a noun; surnames only where nothing else is meant (машина is a genitive of Машин, too)."""
    nouns = [form for form in found if form.part == "NOUN" and form.case]
    return [form for form in nouns if not form.marks & {"Surn", "Name", "Patr"}] or nouns


def _has_noun(token: str, adjective: Sequence[Form]) -> bool:
    return is_part(token, "NOUN", at_least=0.3) and any(
        _agrees(form, adjective) for form in forms(token) if form.part == "NOUN" and form.case
    )


def _agrees(noun: Form, adjective: Sequence[Form]) -> bool:
    # "два новых дома": the adjective is genitive plural beside a genitive singular.
    if not noun.plural and noun.case == "g" and any(form.plural and form.case in ("g", "n") for form in adjective):
        return True
    return any(
        form.case == noun.case and form.plural == noun.plural and (form.plural or form.gender == noun.gender)
        for form in adjective
    )


def _is_adjective(form: Form) -> bool:
    """Whether a noun is declined like an adjective, as рабочий and столовая are, and санаторий and стая are not."""
    if form.part in ("ADJF", "PRTF"):
        return True
    return form.lemma.endswith(("ый", "ий", "ой", "ая", "ое")) and any(
        other.part in ("ADJF", "PRTF") for other in forms(form.lemma)
    )


# How many ----------------------------------------------------------------------------------------------------------


def _likely_cases(governed: Government, kind: Category, nouns: Sequence[Form]) -> Cases:
    cases = governed.cases
    measured = any(form.lemma in MEASURES for form in nouns)
    if kind == "one" and governed.preposition == "по":
        return ("d", "a", "p")
    if governed.absent and measured:
        return ("a", "n")  # "его нет 5 дней"
    if not governed.firm and not measured and _wants_genitive(governed):
        return ("g",)
    if kind == "thousands" and governed.preposition in ("в", "во") and not measured:
        return ("p", "a")  # "в 1000 городов", but "в 1000 раз"
    if governed.lasting and measured and cases == ("n", "a") and not _is_instrumental(governed):
        return ("a", "n")
    return cases


def _is_instrumental(governed: Government) -> bool:
    """Whether a property stands before the number, which then is a nominative: скоростью тысяча метров."""
    return any(form.case == "i" for form in governed.noun)


def _wants_genitive(governed: Government) -> bool:
    """Whether the noun before the number has what is counted as its genitive: жители пяти деревень."""
    for form in governed.noun:
        verbal = form.lemma.endswith(("ние", "тие", "ция"))
        if not verbal and (form.case == "d" or (form.case == "i" and not form.animate)):
            continue
        if form.lemma in PROCESSES:
            return True
        if verbal and governed.noun_preposition not in ("в", "во", "на", "у"):
            return True  # "в здании 5 этажей", but "при создании 5 рот"
        if form.lemma in RELATIONAL_NOUNS and not governed.noun_preposition:
            return True
    return False


def _how_many(cases: Cases, kind: Category, nouns: Sequence[Form], value: int) -> Reading | None:
    best: tuple[float, Reading] | None = None
    for case in cases:
        for form in nouns:
            reading = _license(case, kind, form, value, cases)
            no_object = case == "a" and cases[0] == "n" and form.plural and form.gender == "m"
            if reading is not None and no_object and 1 < value < 5 and form.lemma != "человек":
                # "Родилось 2 близнецов": the genitive plural of what cannot be an object asks for a collective.
                reading = replace(reading, kind="collective", case="n")
            if reading is not None and (best is None or form.score > best[0]):
                best = form.score, reading
        if best is not None:
            return best[1]
    return None


def _beside(which: Reading | None, nouns: Sequence[Form]) -> Sequence[Form]:
    """What may be counted: not rare homonyms of a noun that makes an ordinal ("3 урок" is no genitive of урка)."""
    if which is None:
        return nouns
    best = max((form for form in nouns if not form.plural), key=lambda form: form.score, default=nouns[0])
    return [form for form in nouns if form.lemma == best.lemma or form.score > best.score / 8]


def _license(case: Case, kind: Category, form: Form, value: int, cases: Cases) -> Reading | None:
    """The reading when a form may stand behind a cardinal in this case; None when it may not."""
    gender = form.gender or "m"
    fixed = "Fixd" in form.marks
    reading = Reading("cardinal", case, gender, form.animate, cases)
    oblique = case in ("g", "d", "i", "p")
    if kind == "one":
        return reading if (not form.plural and form.case == case) or fixed else None
    if kind == "thousands":
        return reading if (form.plural and form.case in ("g", case if oblique else "g")) or fixed else None
    if fixed:
        return reading
    if oblique:
        return reading if form.plural and form.case == case else None
    if kind == "many":
        return reading if form.plural and form.case == "g" else None
    if not form.plural:
        return Reading("cardinal", case, gender, False, cases) if form.case == "g" and not _is_adjective(form) else None
    if form.case == "g":
        if "Pltm" in form.marks or form.lemma == "ребенок":
            return Reading("collective", case, gender, form.animate, cases)
        if _is_adjective(form):
            grouped = form.animate and gender == "m" and value < 5 and case == "n"
            return Reading("collective" if grouped else "cardinal", case, gender, form.animate, cases)
        if form.animate and case == "a":
            return reading
    if form.case == "n" and _is_adjective(form) and case == "n":
        return reading
    return None


# Which one ---------------------------------------------------------------------------------------------------------


def _which_one(governed: Government, cases: Cases, kind: Category, nouns: Sequence[Form]) -> Reading | None:
    """The number as an ordinal that agrees with its noun, when the noun's form allows it."""
    if governed.noun and not governed.firm:
        cases = (*cases, "g")
    for case in cases:
        fitting = [form for form in nouns if form.case == case and not form.plural and form.gender]
        if fitting:
            form = max(fitting, key=lambda form: form.score)
            return Reading("ordinal", case, form.gender or "m", form.animate, cases)
    # "5 и 6 классы"
    for form in nouns:
        if form.plural and form.case in ("n", "a") and kind != "one" and not form.animate:
            return Reading("ordinal", "n", form.gender or "m", form.animate, cases)
    return None


def _is_of_a_row(
    which: Reading, governed: Government, value: int, nouns: Sequence[Form], following: Sequence[str]
) -> bool:
    """Whether "which one" is likelier where "how many" is possible as well: на 1 этаже, ученик 4 класса."""
    kind = category(value)
    if kind == "one" and value > 20 and which.case == "p" and any(form.lemma in LABELS for form in nouns):
        return True  # "в 41 квартире"
    first = forms(following[0])[0]
    adjective = first.part == "ADJF" and first.lemma in ROWS and not first.plural
    if not adjective and not any(form.lemma in ROWS for form in nouns):
        return False
    if adjective:
        return True
    if kind == "one":
        # "осталось 1 место", "купил 1 том"; but "1 место" alone, "на 1 месте".
        of_a_noun = bool(governed.noun) and which.case == "g"
        return governed.firm or of_a_noun or (governed.cases[0] != "a" and not governed.existence)
    if kind == "few":
        if governed.firm and governed.preposition and "a" not in governed.cases and "n" not in governed.cases:
            return not any(form.plural for form in nouns if form.case in governed.cases)
        return bool(governed.noun) and (not governed.noun_preposition or governed.counted_before)
    return False


# Bare numbers ------------------------------------------------------------------------------------------------------


def _bare(governed: Government, kind: Category) -> Reading:
    """A number with no noun behind it."""
    cases = governed.cases
    noun = governed.noun
    parts = [form for form in noun if form.lemma in PARTS and not form.plural]
    if parts:
        fitting = [form for form in parts if form.case in cases] or parts
        form = min(fitting, key=lambda form: form.case != cases[0])
        return Reading("ordinal", form.case or "n", form.gender or "f", False, cases)
    if not noun:
        return Reading("cardinal", cases[0], "m", False, cases)
    # "минуты две", "недели три": the noun before its number
    counted = [form for form in noun if form.case == "g" and not form.plural and form.lemma in MEASURES]
    if kind == "few" and counted:
        return Reading("cardinal", cases[0] if governed.firm else "n", counted[0].gender or "m", False, cases)
    return Reading("cardinal", "n", "m", False, cases)


def _from_to(governed: Government, kind: Category, following: Sequence[str]) -> Reading | None:
    """The first of "с 5 по 9 класс", an ordinal when the second is one; of "от 1 до 3 минут", with their gender."""
    if governed.preposition not in ("с", "со", "от") or len(following) < 3:
        return None
    if following[0] not in ("по", "до", "на") or not following[1].isdigit() or len(following[1]) > 15:
        return None
    other = agreement(f"{following[0]} ", int(following[1]), " ".join(following[2:]))
    if other.kind == "ordinal" or kind in ("one", "few"):
        kind_of_both: Kind = "ordinal" if other.kind == "ordinal" else "cardinal"
        return Reading(kind_of_both, "g", other.gender, other.animate, ("g",))
    return None


_FROM = re.compile(r"(?<!\w)(?:с|со|от) (\d{1,15} [а-яё]{1,30}) (на|по|до) $", re.IGNORECASE)


def _row_again(before: str) -> Reading | None:
    """The second of "с 3 места на 1": an ordinal when the first is one."""
    match = _FROM.search(before[-60:])
    if match is None:
        return None
    number, _, noun = match[1].partition(" ")
    first = agreement("с ", int(number), noun)
    if first.kind != "ordinal":
        return None
    return Reading("ordinal", "g" if match[2] == "до" else "a", first.gender, first.animate, first.governed)
