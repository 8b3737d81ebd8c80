"""English money and units of measurement in words: $0.50, €3.2m, US$20, 5 ft 10 in, m³, km/h, 72 °F."""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Match, Rule, alternatives
from tolmach.processors.text_normalization.english.numbers import NUMBER, cardinal, counted, number


def _units(table: str) -> dict[str, tuple[str, str]]:
    """``sign sign: singular, plural`` a line; a plural is only written where it is not the singular with an s."""
    units: dict[str, tuple[str, str]] = {}
    for line in table.strip().splitlines():
        signs, _, names = line.partition(":")
        one, _, many = names.strip().partition(", ")
        units |= dict.fromkeys(signs.split(), (one, many or one + "s"))
    return units


UNITS = _units("""
%: percent, percent
‰: per mille, per mille
km: kilometer
m: meter
cm: centimeter
mm: millimeter
µm μm um: micrometer
nm: nanometer
mi: mile
yd yds: yard
ft: foot, feet
kg kgs: kilogram
g: gram
mg: milligram
µg μg mcg: microgram
t: tonne
lb lbs: pound
oz: ounce
l L: liter
ml mL: milliliter
cl: centiliter
dl dL: deciliter
gal: gallon
qt: quart
pt: pint
tbsp: tablespoon
tsp: teaspoon
ha: hectare
h hr hrs: hour
min mins: minute
s sec secs: second
ms: millisecond
µs μs us: microsecond
ns: nanosecond
°C ℃ ºC: degree Celsius, degrees Celsius
°F ℉ ºF: degree Fahrenheit, degrees Fahrenheit
° º: degree
Hz: hertz, hertz
kHz: kilohertz, kilohertz
MHz: megahertz, megahertz
GHz: gigahertz, gigahertz
THz: terahertz, terahertz
mW: milliwatt
W: watt
kW: kilowatt
MW: megawatt
GW: gigawatt
TW: terawatt
Wh: watt hour
kWh: kilowatt hour
MWh: megawatt hour
GWh: gigawatt hour
TWh: terawatt hour
V: volt
mV: millivolt
kV: kilovolt
mA: milliampere
mAh: milliampere hour
Ah: ampere hour
Ω ohm: ohm
kΩ: kiloohm
J: joule
kJ: kilojoule
MJ: megajoule
kcal: kilocalorie
cal: calorie
N: newton
kN: kilonewton
Nm: newton meter
Pa: pascal
hPa: hectopascal
kPa: kilopascal
MPa: megapascal
bar: bar
mbar: millibar
hp: horsepower, horsepower
dB: decibel
dBA: decibel
bit: bit
kB KB: kilobyte
MB: megabyte
GB: gigabyte
TB: terabyte
PB: petabyte
kbps Kbps kbit/s: kilobit per second, kilobits per second
Mbps Mbit/s Mb/s: megabit per second, megabits per second
Gbps Gbit/s Gb/s: gigabit per second, gigabits per second
mph: mile per hour, miles per hour
kph kmh: kilometer per hour, kilometers per hour
mpg: mile per gallon, miles per gallon
rpm RPM: revolution per minute, revolutions per minute
bpm BPM: beat per minute, beats per minute
fps FPS: frame per second, frames per second
psi: pound per square inch, pounds per square inch
ppm: part per million, parts per million
ppb: part per billion, parts per billion
dpi: dot per inch, dots per inch
px: pixel
MP: megapixel
mol: mole
mmol: millimole
pts pts.: point
""")
"""Units behind a number, as they are written; powers and quotients are made of them."""

_SHORT_WITH_STOP = {
    "in": ("inch", "inches"), "ft": ("foot", "feet"), "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"), "yd": ("yard", "yards"), "mi": ("mile", "miles"), "min": ("minute", "minutes"),
    "sec": ("second", "seconds"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"), "gal": ("gallon", "gallons"),
    "pts": ("point", "points"), "pt": ("point", "points"), "mins": ("minute", "minutes"), "yrs": ("year", "years"),
    "yr": ("year", "years"), "wks": ("week", "weeks"), "wk": ("week", "weeks"), "mos": ("month", "months"),
    "secs": ("second", "seconds"), "tbsp": ("tablespoon", "tablespoons"), "tsp": ("teaspoon", "teaspoons"),
    "fl oz": ("fluid ounce", "fluid ounces"), "fl. oz": ("fluid ounce", "fluid ounces"),
    "sq ft": ("square foot", "square feet"), "sq. ft": ("square foot", "square feet"),
    "sq m": ("square meter", "square meters"), "sq. m": ("square meter", "square meters"),
    "sq km": ("square kilometer", "square kilometers"), "sq. km": ("square kilometer", "square kilometers"),
    "sq mi": ("square mile", "square miles"), "sq. mi": ("square mile", "square miles"),
    "sq in": ("square inch", "square inches"), "cu ft": ("cubic foot", "cubic feet"),
    "cu. ft": ("cubic foot", "cubic feet"), "cu m": ("cubic meter", "cubic meters"),
}  # fmt: skip
"""Units that are written with a full stop as often as without."""

_PER = {
    "h": "hour", "hr": "hour", "hour": "hour", "s": "second", "sec": "second", "min": "minute", "day": "day",
    "d": "day", "wk": "week", "week": "week", "mo": "month", "month": "month", "yr": "year", "year": "year",
    "m": "meter", "km": "kilometer", "l": "liter", "L": "liter", "dl": "deciliter", "dL": "deciliter",
    "ml": "milliliter", "kg": "kilogram", "g": "gram", "lb": "pound", "gal": "gallon", "ha": "hectare",
    "person": "person", "night": "night", "100km": "one hundred kilometers", "100 km": "one hundred kilometers",
    "cm": "centimeter", "oz": "ounce", "sq ft": "square foot", "mi": "mile", "cap": "head", "unit": "unit",
    "piece": "piece",
}  # fmt: skip
_POWERS = {"²": "square ", "2": "square ", "³": "cubic ", "3": "cubic "}
_POWERED = "km|cm|mm|m|ft|yd|mi|in|kg|nm"

_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"), "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"), "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "¥": ("yen", "yen", "sen", "sen"), "₴": ("hryvnia", "hryvnias", "kopiyka", "kopiykas"),
    "₹": ("rupee", "rupees", "paisa", "paise"), "₩": ("won", "won", "jeon", "jeon"),
    "₪": ("shekel", "shekels", "agora", "agorot"), "₺": ("lira", "lira", "kurus", "kurus"),
    "₿": ("bitcoin", "bitcoins", "satoshi", "satoshis"), "₸": ("tenge", "tenge", "tiyn", "tiyn"),
    "₫": ("dong", "dong", "xu", "xu"), "฿": ("baht", "baht", "satang", "satang"),
    "zł": ("zloty", "zlotys", "grosz", "groszy"),
}  # fmt: skip
_DOLLARS = {
    "US": "you ess ", "U.S.": "you ess ", "C": "Canadian ", "CA": "Canadian ", "A": "Australian ", "AU": "Australian ",
    "NZ": "New Zealand ", "HK": "Hong Kong ", "S": "Singapore ", "": "",
}  # fmt: skip
_CODES = {
    "USD": _CURRENCIES["$"], "EUR": _CURRENCIES["€"], "GBP": _CURRENCIES["£"], "RUB": _CURRENCIES["₽"],
    "JPY": _CURRENCIES["¥"], "UAH": _CURRENCIES["₴"], "INR": _CURRENCIES["₹"], "KRW": _CURRENCIES["₩"],
    "ILS": _CURRENCIES["₪"], "TRY": _CURRENCIES["₺"], "PLN": _CURRENCIES["zł"],
    "CNY": ("yuan", "yuan", "fen", "fen"), "RMB": ("yuan", "yuan", "fen", "fen"),
    "CHF": ("Swiss franc", "Swiss francs", "centime", "centimes"),
    "CAD": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "AUD": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "SEK": ("Swedish krona", "Swedish kronor", "ore", "ore"),
    "NOK": ("Norwegian krone", "Norwegian kroner", "ore", "ore"),
    "DKK": ("Danish krone", "Danish kroner", "ore", "ore"), "CZK": ("Czech koruna", "Czech korunas", "haler", "halers"),
    "BTC": _CURRENCIES["₿"],
}  # fmt: skip
_SCALES = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "mln": "million",
    "mm": "million",
    "b": "billion", "B": "billion", "bn": "billion", "Bn": "billion", "bln": "billion", "t": "trillion",
    "T": "trillion",
    "tn": "trillion", "trn": "trillion",
}  # fmt: skip
_SCALE_WORD = "hundred|thousand|million|billion|trillion"
_SCALE = rf"(?:\s?-?({_SCALE_WORD})(?!\w)|\s?({'|'.join(sorted(_SCALES, key=len, reverse=True))})(?![\w/²³]))"
_ONE_OF = re.compile(
    r"(?i)(?:^|\s)(?:an?|every|each|another|per|the|this|that|his|her|my|our|their|its|your|first|last|new|two|three)\s$"
)
_NOUN_FOLLOWS = re.compile(
    r"[\s-](?!(?:and|or|to|in|on|at|for|of|from|by|with|per|an?|the|is|was|are|were|will|would|has|had|have|as|than|"
    r"but|so|if|that|which|when|who|each|every|more|less|off|over|under|up|down|into|after|before|because|it|he|she|we|"
    r"they|you|this|last|next|now|today|away|apart|long|tall|wide|high|deep|old|ago|later|below|above|worth)(?!\w))[a-z]{2}"
)


def _describes(match: Match) -> bool:
    """Whether a number and its unit stand before a noun: a 5 km run, a $100 bill; the unit is then in the singular."""
    before, after = (
        match.string[max(0, match.start() - 10) : match.start()],
        match.string[match.end() : match.end() + 12],
    )
    return _ONE_OF.search(before) is not None and _NOUN_FOLLOWS.match(after) is not None


def _sum_of(
    match: Match, names: tuple[str, str, str, str], kind: str, written: tuple[str, str | None, str | None]
) -> str:
    """An amount of money: ``written`` is whole part, fraction and scale as they were found."""
    one, many, cent, cents = names
    whole, fraction, scale = written
    if _describes(match):
        many, cents = one, cent
    if scale:
        return f"{number(whole, fraction)} {_SCALES.get(scale, scale)} {kind}{many} "
    if fraction is not None and len(fraction) == 2:
        hundredths = counted(str(int(fraction)), None, cent, cents) if int(fraction) else ""
        if hundredths and whole == "0":
            return f"{hundredths} "
        return f"{counted(whole.replace(',', ''), None, kind + one, kind + many)} {hundredths} ".replace("  ", " ")
    return f"{counted(whole, fraction, kind + one, kind + many)} "


def _signed(match: Match) -> str:
    kind, sign, whole, fraction, word, letter = match.group("kind", "sign", "whole", "fraction", "word", "letter")
    minus = "minus " if match["minus"] else ""
    return minus + _sum_of(match, _CURRENCIES[sign], _DOLLARS[kind or ""], (whole, fraction, word or letter))


def _sum_range(match: Match) -> str:
    kind, sign, first, last, scale = match.group(1, 2, 3, 4, 5)
    names = _CURRENCIES[sign]
    return f"{_spoken(first)} to {_spoken(last)} {scale + ' ' if scale else ''}{_DOLLARS[kind or '']}{names[1]} "


def _spoken(written: str) -> str:
    whole, _, fraction = written.partition(".")
    return number(whole, fraction or None)


def _behind(match: Match) -> str:
    whole, fraction, scale, sign = match.group(1, 2, 3, 4)
    if fraction is None and (comma := re.fullmatch(r"(\d+),(\d\d)", whole)):
        whole, fraction = comma.groups()
    return _sum_of(match, _CURRENCIES.get(sign) or _CODES[sign], "", (whole, fraction, scale))


def _before(match: Match) -> str:
    return _sum_of(match, _CODES[match[1]], "", (match[2], match[3], match[4]))


def _cents(match: Match) -> str:
    return counted(match[1], match[2], *(("cent", "cents") if match[3] == "¢" else ("penny", "pence"))) + " "


# Units ------------------------------------------------------------------------------------------------------------


def _names(unit: str) -> tuple[str, str]:
    if unit in UNITS:
        return UNITS[unit]
    if unit in _SHORT_WITH_STOP:
        return _SHORT_WITH_STOP[unit]
    left, slash, right = unit.partition("/")
    if slash:
        one, many = _names(left)
        return f"{one} per {_per(right)}", f"{many} per {_per(right)}"
    power = _POWERS[unit[-1]]
    one, many = _names(unit[:-1].rstrip("^"))
    return power + one, power + many


def _per(unit: str) -> str:
    return _PER[unit] if unit in _PER else _names(unit)[0]


def _measured(match: Match) -> str:
    whole, fraction, unit = match.group(1, 2, 3)
    one, many = _names(unit)
    return counted(whole, fraction, one, one if _describes(match) else many) + " "


def _measured_fraction(match: Match) -> str:
    return f"{match[1]} {_names(match[2])[0 if match[1].count('/') and ' ' not in match[1] else 1]} "


def _hyphened(match: Match) -> str:
    return f"{number(match[1], match[2])} {_names(match[3])[0]} "


def _feet_and_inches(match: Match) -> str:
    feet, inches = match.group(1, 2)
    return f"{counted(feet, None, 'foot', 'feet')} {counted(inches, match[3], 'inch', 'inches')} "


def _times_or_by(match: Match) -> str:
    # A sum has its equals sign near by, and else it is the size of something: 3×4 = 12, a 3×4 grid.
    return " times " if "=" in match.string[match.end() : match.end() + 20] else " by "


def _scaled(match: Match) -> str:
    return f"{number(match[1], match[2])} {_SCALES[match[3]]} "


_QUOTIENT = (
    r"(?:mmol|kWh|mcg|km|mg|kg|µg|ng|mol|MB|GB|kB|KB|ft|ml|mL|mi|kJ|m|g|l|L|J|W)"
    r"/(?:100\s?km|m[²³23]|cm[²³23]|km[²2]|hour|hr|h|sec|s|min|day|dL|dl|ml|mL|lb|gal|kg|km|cm|ha|yr|L|l|m|g)"
)
_UNIT = alternatives(UNITS)
_STOPPED = alternatives(_SHORT_WITH_STOP)
_CURRENCY = alternatives(_CURRENCIES)
_CODE = "|".join(_CODES)
_AMOUNT = r"\d{1,3}(?:,\d{3}){1,5}(?:\.\d+)?|\d+(?:\.\d+)?"

MONEY_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<=[$€£])\.(?=\d\d(?!\d))"), "0."),
    (re.compile(r"(?<=\d[kKmMbBn])[-–](?=[$€£]\d)"), " to "),
    (
        re.compile(
            rf"(?<![\w$])(US|U\.S\.|CA|C|AU|A|NZ|HK|S)?({_CURRENCY})\s?({_AMOUNT})\s?[-–]\s?\2?({_AMOUNT})(?![\d,.]*\d)"
            rf"(?:\s({_SCALE_WORD})(?!\w))?(?!\s?(?:[kKmMbB]|bn)(?!\w))"
        ),
        _sum_range,
    ),
    (
        re.compile(
            rf"(?P<minus>(?<!\w)-)?(?:(?<!\w)(?P<kind>US|U\.S\.|CA|C|AU|A|NZ|HK|S))?(?P<sign>{_CURRENCY})\s?"
            rf"(?P<whole>\d{{1,3}}(?:,\d{{3}}){{1,5}}(?!\d)|\d+)(?:\.(?P<fraction>\d+))?(?:\s?-?(?P<word>{_SCALE_WORD})(?!\w)"
            rf"|\s?(?P<letter>{'|'.join(sorted(_SCALES, key=len, reverse=True))})(?![\w/²³]))?"
        ),
        _signed,
    ),
    (
        re.compile(
            rf"(?<![\d.,])(\d{{1,3}}(?:,\d{{3}}){{1,5}}(?!\d)|\d+,\d\d(?!\d)|\d+)(?:\.(\d+))?(?:\s?({_SCALE_WORD}|bn|[kKmMbB](?!\w)))?"
            rf"\s?({_CURRENCY}|(?:{_CODE})(?!\w))"
        ),
        _behind,
    ),
    (
        re.compile(
            rf"(?<!\w)({_CODE})\s?(\d{{1,3}}(?:,\d{{3}}){{1,5}}(?!\d)|\d+)(?:\.(\d+))?(?:\s?({_SCALE_WORD}|bn|[kKmMbB])(?!\w))?"
        ),
        _before,
    ),
    (re.compile(rf"{NUMBER}\s?(¢|p(?=[\s.,!?]*$|[.,!?]|\s(?:each|more|off|a|per|for|to|is|was)\b))"), _cents),
    (re.compile(rf"{NUMBER}\s?(bn|tn|mln|bln)(?!\w)"), _scaled),
    (
        re.compile(
            rf"{NUMBER}([kKmMbB])(?=\s(?!(?:was|is|has|as|this|its|his)\b)(?:people|users|more|[a-z]{{4,15}}s)(?!\w))"
        ),
        _scaled,
    ),
    (re.compile(r"(?<![\w.,])(\d{3}|\d+\.\d+)()([kK])(?!\w)"), _scaled),
    (re.compile(r"(?<![\w.,])(\d+)(?:\.(\d+))?([MB])(?![\w-])"), _scaled),
    (
        re.compile(
            rf"(?<!\w)(dollars?|euros?|pounds?|cents?|yen|pence|rubles?|million|thousand|billion)\s?/\s?"
            rf"({alternatives(_PER)})(?!\w)"
        ),
        lambda m: f"{m[1]} per {_PER[m[2]]}",
    ),
)

UNIT_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<=\d)\s?[x×X]\s?(?=\d)"), _times_or_by),
    (re.compile(r"(?<=[a-z])\s[x×]\s(?=\d)"), " by "),
    (
        re.compile(
            r"(?<![\w.,])(\d{1,2})\s?(?:ft\.?|feet|foot|')\s?(\d{1,2})(?:\.(\d))?\s?(?:inches|inch|in(?:\.|(?!\w))|\"|'')"
        ),
        _feet_and_inches,
    ),
    (re.compile(r"(?<![\w.,])(\d{1,2})'(\d{1,2})()(?!\w)"), _feet_and_inches),
    (re.compile(rf"(?<![\w.,/])((?:\d+ )?\d{{1,2}}/\d{{1,3}})\s?({_STOPPED}|{_UNIT})(?!\w)"), _measured_fraction),
    (re.compile(rf"{NUMBER}\s?({_QUOTIENT})(?![\w/])"), _measured),
    (re.compile(rf"{NUMBER}\s?((?:{_POWERED})(?:\^?[23]|[²³]))(?!\w)"), _measured),
    (re.compile(rf"{NUMBER}\s?({_STOPPED})\.(?=\s+[a-z(]|\s*[,;])"), _measured),
    (re.compile(rf"{NUMBER}\s?({_STOPPED})(?![\w/'])(?<! in)"), _measured),
    (
        re.compile(rf"{NUMBER}\s?(in)(?=\.?\s(?:tall|wide|long|deep|high|thick|of (?:rain|snow)|by)(?!\w)|\.\s?$)"),
        _measured,
    ),
    (
        # "A 12 in ruler": between an article and a noun the preposition makes no sense.
        re.compile(
            rf"(?<=\b[Aa]\s){NUMBER}\s?(in)\.?(?=\s(?!the|an?|this|that|his|her|my|our|its|their|all|each)[a-z]{{3,20}})"
        ),
        _hyphened,
    ),
    (re.compile(rf"{NUMBER}-({_UNIT}|in)(?!\w)(?=\s[a-z])"), _hyphened),
    # Letters that mean more than a unit (5G, 3D, 4K, 2A) need a space before them, and then no capital behind.
    (re.compile(rf"{NUMBER}\s({_UNIT})(?![\w/'])"), _measured),
    (re.compile(rf"{NUMBER}((?!(?:s|N|J|t|L)(?!\w))(?:{_UNIT}))(?![\w/'])"), _measured),
    (re.compile(r"(?<![\w.,])(\d+)\s?''"), lambda m: counted(m[1], None, "inch", "inches") + " "),
    (re.compile(r"(?<![\w.,/])(\d+)[xX](?=\s[a-z]|[.,!?]|$)"), lambda m: f"{cardinal(m[1])} times"),
    (re.compile(r"°\s?([CF])(?!\w)"), lambda m: " degrees Celsius " if m[1] == "C" else " degrees Fahrenheit "),
    (re.compile(r"(?<=in )(km|kg|cm|mm|lbs|mph)(?!\w)"), lambda m: _names(m[1])[1]),
    (re.compile(r"(?<!\w)(km/h)(?!\w)"), lambda m: _names(m[1])[1]),
)
