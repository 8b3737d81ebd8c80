"""German text preparation: numbers, dates, times, money, units and abbreviations in words."""

from __future__ import annotations

import re

from num2words import num2words

from tolmach.processors.text_normalization.cardinals import cardinal
from tolmach.processors.text_normalization.common import Match, Prepared, Rule, pair_up, read_table, word_set
from tolmach.processors.text_normalization.european import Grammar, Near, Noun, near, nouns, prepare_with
from tolmach.processors.text_normalization.roman import roman_value

_MONTHS = tuple("januar februar märz april mai juni juli august september oktober november dezember".split())  # noqa: SIM905
_SHORT_MONTHS = {"jan": 1, "feb": 2, "mär": 3, "mrz": 3, "apr": 4, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "sept": 9,
                 "okt": 10, "nov": 11, "dez": 12}  # fmt: skip

_UNITS = nouns("""
%: Prozent, Prozent, n
‰: Promille, Promille, n
km/h: Kilometer pro Stunde, Kilometer pro Stunde
m/s: Meter pro Sekunde, Meter pro Sekunde
km²|qkm: Quadratkilometer, Quadratkilometer
m²|qm|m2: Quadratmeter, Quadratmeter
cm²: Quadratzentimeter, Quadratzentimeter
m³|cbm|m3: Kubikmeter, Kubikmeter
cm³: Kubikzentimeter, Kubikzentimeter
km: Kilometer, Kilometer
m: Meter, Meter
cm: Zentimeter, Zentimeter
mm: Millimeter, Millimeter
kg: Kilogramm, Kilogramm, n
g: Gramm, Gramm, n
mg: Milligramm, Milligramm, n
t: Tonne, Tonnen, f
l|L: Liter, Liter
ml: Milliliter, Milliliter
ha: Hektar, Hektar
Std|h: Stunde, Stunden, f
Min|min: Minute, Minuten, f
Sek|s: Sekunde, Sekunden, f
ms: Millisekunde, Millisekunden, f
°C|℃: Grad Celsius, Grad Celsius
°F|℉: Grad Fahrenheit, Grad Fahrenheit
°: Grad, Grad
Hz: Hertz, Hertz, n
kHz: Kilohertz, Kilohertz, n
MHz: Megahertz, Megahertz, n
GHz: Gigahertz, Gigahertz, n
W: Watt, Watt, n
kW: Kilowatt, Kilowatt, n
MW: Megawatt, Megawatt, n
kWh: Kilowattstunde, Kilowattstunden, f
V: Volt, Volt, n
kB|KB: Kilobyte, Kilobyte, n
MB: Megabyte, Megabyte, n
GB: Gigabyte, Gigabyte, n
TB: Terabyte, Terabyte, n
Mbit/s: Megabit pro Sekunde, Megabit pro Sekunde, n
dB: Dezibel, Dezibel, n
PS: P S, P S
""")
_DOLLAR, _CENT = Noun("Dollar", "Dollar", "Dollar"), Noun("Cent", "Cent", "Cent")
_EURO, _POUND = Noun("Euro", "Euro", "Euro"), Noun("Pfund", "Pfund", "Pfund", "n")
_FRANC, _RAPPEN = Noun("Franken", "Franken", "Franken"), Noun("Rappen", "Rappen", "Rappen")
_ROUBLE, _YEN = Noun("Rubel", "Rubel", "Rubel"), Noun("Yen", "Yen", "Yen")
_CURRENCIES = {
    "€": (_EURO, _CENT), "EUR": (_EURO, _CENT), "$": (_DOLLAR, _CENT), "US$": (_DOLLAR, _CENT), "USD": (_DOLLAR, _CENT),
    "£": (_POUND, Noun("Penny", "Pence", "Pence")), "GBP": (_POUND, Noun("Penny", "Pence", "Pence")),
    "CHF": (_FRANC, _RAPPEN), "¥": (_YEN, _CENT), "₽": (_ROUBLE, Noun("Kopeke", "Kopeken", "Kopeken", "f")),
    "₴": (Noun("Hrywnja", "Hrywnja", "Hrywnja", "f"), Noun("Kopijka", "Kopijka", "Kopijka", "f")),
}  # fmt: skip
_MILLION, _BILLION = Noun("Million", "Millionen", "Millionen", "f"), Noun("Milliarde", "Milliarden", "Milliarden", "f")
_SCALES = {
    "Mio": _MILLION, "Mill": _MILLION, "Million": _MILLION, "Millionen": _MILLION, "Mrd": _BILLION, "Mia": _BILLION,
    "Milliarde": _BILLION, "Milliarden": _BILLION, "Tsd": Noun("tausend", "tausend", "tausend", "n"),
    "Billion": Noun("Billion", "Billionen", "Billionen", "f"),
    "Billionen": Noun("Billion", "Billionen", "Billionen", "f"), "Bio": Noun("Billion", "Billionen", "Billionen", "f"),
}  # fmt: skip

_TEN = word_set("am im vom zum zur beim den dem des einem einer einen meinem seinem ihrem unserem meinen seinen jedem "
                "diesem dieser ab seit bis")  # fmt: skip
"""Words behind which an ordinal ends in -ten; and in -te behind der (as a subject), die, das."""
_TE = word_set("der die das dieser diese dieses jede jeder eine")
_FEMININE = word_set("frau stunde minute sekunde person stadt nacht hand million milliarde mutter tochter "
                     "schwester antwort fahrt wahl zahl art form kraft welt zeit tür uhr")  # fmt: skip
_MASCULINE_E = word_set("junge name käse kunde kollege gedanke buchstabe zeuge experte neffe löwe hase")


def _cardinal(value: int, noun: Noun | None, before: str) -> str:
    if value == 1:
        if noun is None:
            return "eins"
        return "eine" if noun.gender == "f" else "ein"
    said = cardinal(value, "de")
    # "hunderteins Euro": before a noun the s goes.
    return said[:-1] if noun is not None and said.endswith("eins") else said


def _plain(value: int, around: Near) -> str:
    if value != 1 or not around.follows[:1].isupper():
        return _cardinal(value, None, "")
    word = around.follows.lower()
    feminine = word in _FEMININE or (
        word.endswith(("e", "ung", "heit", "keit", "schaft", "ion", "tät", "ik", "ur", "enz", "ei", "in"))
        and word not in _MASCULINE_E
    )
    return "eine" if feminine else "ein"


def _ordinal(value: int, before: str) -> str:
    stem = str(num2words(value, lang="de", to="ordinal"))
    if before in _TEN:
        return stem + "n"
    if before in _TE or not before:
        return stem if before else stem + "r"
    return (
        stem + "r" if before in ("ein", "kein", "mein", "sein", "ihr", "unser", "heute", "war", "ist") else stem + "n"
    )


def _date(day: int, month: int, year: int | None, before: str) -> str:
    said = f"{_ordinal(day, before)} {_MONTHS[month - 1]}"
    return f"{said} {_year_words(year)}" if year else said


def _year_words(year: int) -> str:
    return str(num2words(year, lang="de", to="year"))


def _year(year: int, around: Near) -> str | None:
    if year < 1100:
        return None
    yearly = around.before in word_set("jahr jahre jahres seit ab bis nach vor um von in sommer winter herbst und") or (
        around.before in _MONTHS
    )
    if not yearly and around.follows[:1].isupper():
        return None  # 1945 Menschen
    return _year_words(year) if year < 2100 else None


def _time(hours: int, minutes: int, before: str) -> str:
    hour = "ein" if hours == 1 else _cardinal(hours, None, "")
    return f"{hour} Uhr" + (f" {_cardinal(minutes, None, '')}" if minutes else "")


def _fraction(above: int, below: int) -> str | None:
    if not 2 <= below <= 100 or above >= 100 or (above, below) == (24, 7):
        return None
    if below == 2:
        return "ein halb" if above == 1 else f"{_cardinal(above, None, '')} halbe"
    part = str(num2words(below, lang="de", to="ordinal")).removesuffix("te").removesuffix("t") + "tel"
    part = {3: "drittel", 7: "siebtel", 8: "achtel"}.get(below, part)
    return f"{'ein' if above == 1 else _cardinal(above, None, '')} {part}"


def _of_scale(noun: Noun) -> str:
    return ""


def _cents(with_noun: str, alone: str) -> str:
    return with_noun


def _ordinal_match(match: Match) -> str:
    return _ordinal(int(match[1]), near(match).before)


def _written_ordinal(match: Match) -> str:
    return str(num2words(int(match[1]), lang="de", to="ordinal")) + match[2][2:]


def _roman_ordinal(match: Match) -> str:
    value = roman_value(match[1])
    return match.group() if value is None else _ordinal(value, near(match).before)


def _ruler(match: Match) -> str:
    value = roman_value(match[3])
    if value is None:
        return match.group()
    of = (match[1] or "").strip().lower()
    article = (
        "dem" if of in ("von", "mit", "unter", "bei", "nach", "zu") else "den" if of in ("durch", "für") else "der"
    )
    if match[2].endswith("a") or match[2] in ("Elisabeth", "Elizabeth", "Margarethe"):
        article = "der" if article == "dem" else "die"
    end = "te" if article in ("der", "die") and of not in ("von", "mit", "unter", "bei", "nach", "zu") else "ten"
    stem = str(num2words(value, lang="de", to="ordinal")).removesuffix("te")
    stop = "." if re.match(r"\s*$", match.string[match.end() :]) else ""
    return f"{match[1] or ''}{match[2]} {article} {stem}{end}{stop}"


def _numbered(match: Match) -> str:
    value = roman_value(match[2])
    return match.group() if value is None else f"{match[1]} {_cardinal(value, None, '')}"


def _decade(match: Match) -> str:
    return f"{_year_words(int(match[1])) if len(match[1]) == 4 else _cardinal(int(match[1]), None, '')}er{match[2]}"


def _short(pattern: str, words: str) -> Rule:
    return re.compile(rf"(?<!\w){pattern}"), f"{words} "


_ABBREVIATIONS: tuple[Rule, ...] = (
    _short(r"z\.\s?B\.", "zum Beispiel"), _short(r"[Dd]\.\s?h\.", "das heißt"), _short(r"u\.\s?a\.", "unter anderem"),
    _short(r"u\.\s?s\.\s?w\.|usw\.", "und so weiter"), _short(r"bzw\.", "beziehungsweise"), _short(r"ca\.", "zirka"),
    _short(r"[Nn]r\.", "Nummer"), _short(r"Dr\.", "Doktor"), _short(r"Prof\.", "Professor"), _short(r"Hr\.", "Herr"),
    _short(r"Fr\.(?=\s[A-ZÄÖÜ])", "Frau"), _short(r"evtl\.", "eventuell"), _short(r"inkl\.", "inklusive"),
    _short(r"zzgl\.", "zuzüglich"), _short(r"ggf\.", "gegebenenfalls"), _short(r"vgl\.", "vergleiche"),
    _short(r"[Ss]og\.", "sogenannte"), _short(r"St\.(?=\s[A-ZÄÖÜ])", "Sankt"), _short(r"Tel\.", "Telefon"),
    _short(r"max\.", "maximal"), _short(r"min\.(?=\s)", "minimal"), _short(r"S\.\s?(?=\d)", "Seite"),
    _short(r"Kap\.\s?(?=\d)", "Kapitel"), _short(r"Abs\.\s?(?=\d)", "Absatz"), _short(r"Art\.\s?(?=\d)", "Artikel"),
    _short(r"Bd\.\s?(?=\d)", "Band"), _short(r"v\.\s?Chr\.", "vor Christus"), _short(r"n\.\s?Chr\.", "nach Christus"),
    _short(r"o\.\s?ä\.", "oder ähnliche"), _short(r"i\.\s?d\.\s?R\.", "in der Regel"), _short(r"etc\.", "et cetera"),
    _short(r"Jh\.", "Jahrhundert"), _short(r"Mwst\.|MwSt\.?", "Mehrwertsteuer"), _short(r"GmbH", "ge em be ha"),
    (re.compile(r"(?<=[a-zäöü])str\.(?!\w)"), "straße "), (re.compile(r"(?<!\w)Str\.(?!\w)"), "Straße "),
)  # fmt: skip

_RULERS = (
    "Alexander|August|Christian|Elisabeth|Elizabeth|Ferdinand|Franz|Friedrich|Georg|Gustav|Heinrich|Iwan|Jakob|"
    "Johannes|"
    "Johannes Paul|Joseph|Karl|Katharina|Konrad|Leo|Leopold|Ludwig|Margarethe|Maximilian|Napoleon|Nikolaus|Otto|Paul|"
    "Peter|"
    "Philipp|Pius|Benedikt|Ramses|Rudolf|Wilhelm|Friedrich Wilhelm|Charles|Louis|Henry"
)
_FIRST: tuple[Rule, ...] = (
    *_ABBREVIATIONS,
    (
        re.compile(
            rf"(?<!\w)((?:[Vv]on|[Mm]it|[Uu]nter|[Bb]ei|[Nn]ach|[Zz]u|[Dd]urch|"
            rf"[Ff]ür)\s)?({_RULERS})\s([IVX]{{1,6}})(?:\.|(?![\w.]))"
        ),
        _ruler,
    ),
    (
        re.compile(
            r"(?<!\w)(Kapitel|Teil|Band|Akt|Artikel|Abschnitt|Klasse|Phase|Typ|Stufe|Weltkrieg)\s([IVXLC]{1,6})(?!\w)"
        ),
        _numbered,
    ),
    (re.compile(r"(?<!\w)([IVX]{1,6})\.(?=\s[A-ZÄÖÜ])"), _roman_ordinal),
    (re.compile(r"(?<!\w)()([IVX]{2,6})(?!\w)"), lambda m: _numbered(m).strip()),
    (
        re.compile(r"(?<![\w.,])(\d{2,4})er(n?)(?!\w)-?(?:Jahre(n?))?"),
        lambda m: _decade(m) + (f" Jahre{m[3]}" if m[3] is not None else ""),
    ),
)

_CYRILLIC = read_table(
    "а:a б:b в:w г:g д:d е:e ё:jo ж:sch з:s и:i й:j к:k л:l м:m н:n о:o п:p р:r "
    "с:s т:t у:u ф:f х:ch ц:z ч:tsch ш:sch щ:schtsch ы:y э:e ю:ju я:ja і:i ї:ji є:je ґ:g"
)
"""Cyrillic letters in German spelling."""

_GERMAN = Grammar(
    lang="de",
    letters="abcdefghijklmnopqrstuvwxyzäöüß'",
    letter_names=pair_up(
        "abcdefghijklmnopqrstuvwxyzäöü",
        "a be ce de e ef ge ha i jot ka el em en o pe ku er es te u vau we ix ypsilon zett ä ö ü",
    ),
    months=_MONTHS,
    short_months=_SHORT_MONTHS,
    units=_UNITS,
    currencies=_CURRENCIES,
    scales=_SCALES,
    signs={
        "&": "und", "@": "ät", "#": "Nummer", "№": "Nummer", "%": "Prozent", "+": "plus", "=": "gleich",
        "<": "kleiner als",
        ">": "größer als", "~": "etwa", "≈": "etwa", "±": "plus minus", "×": "mal", "÷": "geteilt durch",
        "§": "Paragraf",
        "°": "Grad", "²": "Quadrat", "³": "hoch drei", "^": "hoch", "€": "Euro", "$": "Dollar", "£": "Pfund",
        "≤": "höchstens",
        "≥": "mindestens", "‰": "Promille", "¥": "Yen", "₽": "Rubel",
    },
    address_signs={
        ".": "Punkt", "@": "ät", "/": "Schrägstrich", ":": "Doppelpunkt", "-": "Minus", "_": "Unterstrich",
        "?": "Fragezeichen", "=": "gleich", "&": "und", "#": "Raute", "%": "Prozent", "+": "plus", "~": "Tilde",
    },
    cardinal=_cardinal,
    plain=_plain,
    ordinal_rules=(
        (re.compile(r"(?<![\w.,])(\d{1,3})\.(?=\s[A-ZÄÖÜ])"), lambda m: _maybe_ordinal(m)),
        (re.compile(r"(?<![\w.,])(\d{1,3})\.(?=\s[a-zäöü])"), lambda m: _maybe_ordinal(m)),
        (re.compile(r"(?<![\w.,])(\d{1,3})(te|ten|ter|tes)(?!\w)"), _written_ordinal),
    ),
    date=_date,
    year=_year,
    time=_time,
    fraction=_fraction,
    of_scale=_of_scale,
    cents=_cents,
    comma="Komma",
    point="Punkt",
    to="bis",
    ratio="zu",
    minus="minus",
    mixed="und",
    first=_FIRST,
    digit_by_digit=True,
    replace_letter=lambda char: _CYRILLIC.get(char, ""),
    read_as_words=word_set("NATO UNO UNESCO UNICEF PISA AIDS COVID FIFA UEFA TÜV IKEA NASA OPEC"),
)  # fmt: skip


def _maybe_ordinal(match: Match) -> str:
    # "Er wurde 3. Dann": only behind an article or its like a number with a full stop is an ordinal for certain.
    before = near(match).before
    if before in _TEN or before in _TE or before in ("ein", "sein", "ihr", "unser", "mein", "kein"):
        return _ordinal(int(match[1]), before)
    return match.group()


def prepare_german(text: str) -> Prepared:
    """German text as its voice reads it: words and punctuation, in lower case."""
    return prepare_with(_GERMAN, text)
