"""Russian abbreviations with and without a full stop, and the words they are read as."""

from __future__ import annotations

import re

STOP = r"(?!\w)(?:\.(?!\s*$|\s+(?-i:[А-ЯЁ])))?"
"""The full stop of an abbreviation goes, unless it ends the sentence as well."""


def short(pattern: str, words: str, flags: int = re.IGNORECASE) -> tuple[re.Pattern[str], str]:
    """A rule: what is written (a pattern, at the start of a word), and the words it is read as."""
    return re.compile(rf"(?<!\w){pattern}", flags), f"{words} "


ABBREVIATIONS = (
    short(rf"и\s+т\.\s?д{STOP}", "и так далее"),
    short(rf"и\s+т\.\s?п{STOP}", "и тому подобное"),
    short(rf"и\s+др{STOP}", "и другие"),
    short(rf"и\s+пр{STOP}", "и прочее"),
    short(r"т\.\s?е\.", "то есть"),
    short(r"т\.\s?к\.", "так как"),
    short(r"т\.\s?н\.", "так называемый"),
    short(r"т\.\s?о\.", "таким образом"),
    short(r"до\s+н\.\s?э\.", "до нашей эры"),
    short(r"н\.\s?э\.", "нашей эры"),
    short(r"напр\.", "например"),
    short(r"(?<=на )ул\.", "улице"),
    short(r"ул\.", "улица"),
    short(r"просп\.", "проспект"),
    short(r"пл\.(?=\s*[А-ЯЁ])", "площадь", 0),
    short(r"пер\.(?=\s*[А-ЯЁ])", "переулок", 0),
    short(r"обл\.", "область"),
    short(r"р-н(?!\w)", "район"),
    short(r"д\.(?=\s*\d)", "дом"),
    short(r"кв\.(?=\s*\d)", "квартира"),
    short(r"стр\.(?=\s*\d)", "страница"),
    short(r"рис\.(?=\s*\d)", "рисунок"),
    short(r"гл\.(?=\s*\d)", "глава"),
    short(r"ст\.(?=\s*\d)", "статья"),
    short(r"п\.(?=\s*\d)", "пункт"),
    short(r"тел\.", "телефон"),
    short(r"г\.(?=\s*[А-ЯЁ])", "город", 0),
    short(r"проф\.", "профессор"),
    short(r"акад\.", "академик"),
    short(r"им\.(?=\s*[А-ЯЁ])", "имени", 0),
    short(r"см\.(?=\s+[а-яё])", "смотри", 0),
    short(r"ср\.(?=\s+[а-яё])", "сравни", 0),
    short(r"г-н(?!\w)", "господин"),
    short(r"г-жа(?!\w)", "госпожа"),
)
"""Abbreviations and their words; those that need a number in front of them are :data:`UNITS`."""
