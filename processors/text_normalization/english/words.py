"""English abbreviations, initialisms, addresses and signs in words: St. as Street or Saint, NATO, MP3, #1."""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Match, Rule, alternatives, pair_up, word_set
from tolmach.processors.text_normalization.english.numbers import cardinal, digits

LETTER_NAMES = pair_up(
    "abcdefghijklmnopqrstuvwxyz",
    "ay bee see dee ee ef gee aitch eye jay kay el em en oh pee cue ar ess tee you vee double-you ex why zee",
)

SIGNS = {
    "&": "and", "@": "at", "#": "number", "№": "number", "%": "percent", "+": "plus", "=": "equals", "<": "less than",
    ">": "greater than", "~": "about", "≈": "about", "±": "plus or minus", "×": "times", "÷": "divided by",
    "§": "section", "°": "degrees", "℃": "degrees Celsius", "℉": "degrees Fahrenheit", "²": "squared", "³": "cubed",
    "½": "one half", "¼": "one quarter", "¾": "three quarters", "⅓": "one third", "⅔": "two thirds", "^": "to the",
    "√": "square root of", "∞": "infinity", "¢": "cents", "≤": "at most", "≥": "at least", "≠": "is not",
    "‰": "per mille",
    "$": "dollars", "€": "euros", "£": "pounds", "₽": "rubles", "¥": "yen", "₴": "hryvnias", "₹": "rupees", "₩": "won",
    "₪": "shekels", "₺": "lira", "₿": "bitcoin", "₸": "tenge", "₫": "dong", "฿": "baht", "Ω": "ohms",
}  # fmt: skip
"""Signs that stand alone, when nothing has given them a meaning."""

ADDRESS_SIGNS = {
    ".": "dot", "@": "at", "/": "slash", ":": "colon", "-": "dash", "_": "underscore", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde",
}  # fmt: skip

# Abbreviations ----------------------------------------------------------------------------------------------------

_TITLES = {
    "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Dr": "doctor", "Prof": "professor", "Sen": "senator",
    "Gov": "governor", "Rep": "representative", "Gen": "general", "Col": "colonel", "Capt": "captain",
    "Lt": "lieutenant", "Sgt": "sergeant", "Maj": "major", "Cpl": "corporal", "Cmdr": "commander", "Adm": "admiral",
    "Pres": "president", "Rev": "reverend", "Hon": "honorable", "Pvt": "private", "Insp": "inspector",
    "Supt": "superintendent", "Messrs": "messers", "Amb": "ambassador", "Pfc": "private first class", "Fr": "father",
    "Br": "brother", "Mt": "mount", "Ft": "fort", "Sr": "sister", "Prov": "province",
}  # fmt: skip
"""Before a name, with a full stop; those of :data:`_BARE_TITLES` without one as well."""
_BARE_TITLES = "Mr|Mrs|Ms|Dr|Prof|Sgt|Capt|Lt|Mt"

_ROADS = {
    "St": "street", "Ave": "avenue", "Av": "avenue", "Blvd": "boulevard", "Rd": "road", "Ln": "lane", "Dr": "drive",
    "Hwy": "highway", "Sq": "square", "Pl": "place", "Ct": "court", "Pkwy": "parkway", "Ter": "terrace",
    "Cres": "crescent",
    "Apt": "apartment",
}  # fmt: skip
"""Behind a name or an ordinal."""

_ANYWHERE = {
    "vs": "versus", "etc": "et cetera", "approx": "approximately", "dept": "department", "Dept": "department",
    "Jr": "junior", "Sr": "senior", "Esq": "esquire", "Ltd": "limited", "Inc": "incorporated", "Corp": "corporation",
    "Bros": "brothers", "Assn": "association", "Univ": "university", "Intl": "international", "govt": "government",
    "Govt": "government", "misc": "miscellaneous", "incl": "including", "excl": "excluding", "temp": "temperature",
    "tel": "telephone", "Tel": "telephone", "ext": "extension", "est": "established", "Est": "established",
    "max": "maximum", "avg": "average", "Ave": "avenue", "Blvd": "boulevard", "Rd": "road", "Hwy": "highway",
    "Apt": "apartment", "apt": "apartment", "cf": "compare", "Mfg": "manufacturing", "hrs": "hours", "yrs": "years",
    "mins": "minutes", "secs": "seconds", "lbs": "pounds", "Vol": "volume", "dr": "doctor", "mr": "mister",
    "mrs": "missus", "assoc": "associate", "asst": "assistant", "Asst": "assistant",
    "attn": "attention", "Attn": "attention", "Co": "company", "viz": "namely", "Natl": "national", "qty": "quantity",
    "Sept": "September", "Mon": "Monday", "Thurs": "Thursday", "pop": "population", "Bldg": "building",
    "orig": "originally",
    "resp": "respectively", "min": "minimum", "no": "no", "fig": "figure", "Fig": "figure",
}  # fmt: skip
"""Abbreviations that need their full stop to be known."""
_WITHOUT_STOP = {
    "vs": "versus", "Ltd": "limited", "Inc": "incorporated", "Jr": "junior", "Corp": "corporation", "Blvd": "boulevard",
    "approx": "approximately", "govt": "government", "Hwy": "highway", "etc": "et cetera", "dept": "department",
    "Dept": "department", "Bros": "brothers", "Mrs": "missus", "Mr": "mister",
}  # fmt: skip
_NUMBERED = {
    "No": "number", "no": "number", "Nos": "numbers", "nos": "numbers", "vol": "volume", "Vol": "volume",
    "vols": "volumes", "p": "page", "pp": "pages", "fig": "figure", "Fig": "figure", "figs": "figures",
    "Figs": "figures",
    "ch": "chapter", "Ch": "chapter", "chap": "chapter", "sec": "section", "Sec": "section", "art": "article",
    "Art": "article", "ed": "edition", "ext": "extension", "Ext": "extension", "Apt": "apartment", "apt": "apartment",
    "Rm": "room", "ver": "version", "Ver": "version", "c": "circa", "ca": "circa", "eq": "equation", "Eq": "equation",
    "para": "paragraph",
    "Para": "paragraph", "tel": "telephone", "Tel": "telephone", "max": "maximum",
    "min": "minimum", "Op": "opus", "op": "opus", "Bk": "book", "pt": "part", "Pt": "part", "Hwy": "highway",
    "Rte": "route",
    "est": "established", "Est": "established",
}  # fmt: skip
"""Before a number, with a full stop."""

_SENTENCE_STARTS = (
    "The|He|She|It|They|We|You|A|An|In|On|At|But|And|Then|There|This|That|These|Those|His|Her|Our|My|Their|When|After|"
    "Before|If|So|As|Its|What|Who|Where|Why|How|No|Yes|For|From|To|With|By|Some|All|Most|Many|One|Now|Today|Turn|Go"
)


def _road(match: Match) -> str:
    stop = (
        "." if re.match(rf"\s*$|\s+(?:{_SENTENCE_STARTS})(?!\w)", match.string[match.end() : match.end() + 12]) else ""
    )
    return f"{match[1]} {_ROADS[match[2]]}{stop}"


def _anywhere(match: Match) -> str:
    stop = "." if re.match(r"\s*$|\s+[A-Z]", match.string[match.end() : match.end() + 3]) else ""
    # "Smith Jr. Works": a new sentence may begin, and a pause harms nothing, but not between a firm and its suffix.
    return _ANYWHERE[match[1]] + (
        stop if match[1] in ("etc", "Inc", "Ltd", "Co", "Corp", "Ave", "Rd", "lbs", "hrs") else ""
    )


ABBREVIATION_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<!\w)e\.\s?g\.,?(?!\w)", re.IGNORECASE), "for example "),
    (re.compile(r"(?<!\w)i\.\s?e\.,?(?!\w)", re.IGNORECASE), "that is "),
    (re.compile(r"(?<!\w)et\s+al\.", re.IGNORECASE), "and others "),
    (re.compile(r"(?<!\w)a\.\s?k\.\s?a\.", re.IGNORECASE), "also known as "),
    (re.compile(r"(?<!\w)w/o\s"), "without "),
    (re.compile(r"(?<!\w)w/\s?(?=[A-Za-z])"), "with "),
    (re.compile(r"(?<!\w)c/o\s"), "care of "),
    (re.compile(r"(?<!\w)b/c\s"), "because "),
    (re.compile(r"(?<!\w)n/a(?!\w)", re.IGNORECASE), "not applicable"),
    (re.compile(r"(?<!\w)ph\.\s?d(?:\.|(?!\w))", re.IGNORECASE), "pee aitch dee "),
    (re.compile(rf"(?<!\w)({alternatives(_NUMBERED)})\.\s?(?=\d)"), lambda m: _NUMBERED[m[1]] + " "),
    (re.compile(r"(?<!\w)(No|Nos)\s(?=\d)"), lambda m: _NUMBERED[m[1]] + " "),
    # "Oak Dr. near", "5th Ave. and", "Main St.": a name before, and no name behind.
    (
        re.compile(
            rf"(?<!\w)((?!(?:{_SENTENCE_STARTS})\s)(?:[A-Z][a-z]{{1,20}}|\d{{1,3}}(?:st|nd|rd|th)))\s({alternatives(_ROADS)})(?!\w)"
            rf"(?:\.(?=\s+(?:[a-z0-9(]|(?:{_SENTENCE_STARTS})(?!\w))|\s*[,;:!?)]|\s*$)|(?=\s+[a-z]|\s*[,;!?)]|\s*$))"
        ),
        _road,
    ),
    (re.compile(r"(?<!\w)(?:St\.|St)(?=\s+[A-Z])"), "Saint"),
    (re.compile(rf"(?<!\w)({alternatives(_TITLES)})\.\s?(?=[A-Z])(?<!Sr\. )"), lambda m: _TITLES[m[1]] + " "),
    (re.compile(rf"(?<!\w)({_BARE_TITLES})(?=\s+[A-Z])"), lambda m: _TITLES[m[1]]),
    (re.compile(rf"(?<!\w)({alternatives(_ANYWHERE)})\.(?!\w)(?<!min\.)(?<!no\.)"), _anywhere),
    (re.compile(rf"(?<!\w)({alternatives(_WITHOUT_STOP)})(?!\w)"), lambda m: _WITHOUT_STOP[m[1]]),
    (re.compile(r"(?<=[a-z] )(?:&\s)?(Co)(?=\s+[a-z]|,|\s*$)"), lambda m: m.group().replace("Co", "company")),
    (re.compile(r"(?<![\w.])(?:[A-Za-z]\.){2,8}(?!\w)(?:'s)?"), lambda m: _dotted(m.group())),
    (re.compile(r"(?<!\w)([A-Z])\.\s(?=[A-Z](?:\.\s|[a-z]))"), lambda m: f"{LETTER_NAMES[m[1].lower()]} "),
)


def _dotted(written: str) -> str:
    if written.lower() in ("a.m.", "p.m."):
        return written
    letters, _, possessive = written.partition("'")
    return spell(letters.replace(".", "")) + ("'s" if possessive else "") + " "


# Initialisms ------------------------------------------------------------------------------------------------------

_WORDS = word_set(
    "AM AN AS AT BE BY DO GO HE HI IF IN IS ME MY NO OF OH ON OR SO TO UP WE AND ARE BUT CAN DID FOR GET HAS HAD HER "
    "HIM HIS HOW ITS LET MAY NEW NOT NOW OFF OLD ONE OUR OUT OWN SAY SEE SHE THE TOO TWO WAS WAY WHY YES YOU ALL ANY "
    "BAD BIG DAY END FUN MAN MEN PUT RED RUN SET SIT TEN TOP USE WAR PIN SIM GIF RAM ROM ZIP LAN WAN MAD BAR CAR CAT "
    "DOG EAT FAR FEW HOT JOB KEY LAW LIE LOT LOW MOM DAD NET PAY SAD SIX SON SUN TRY WIN WOW YET AGO ASK BOX BOY BUY "
    "CUT EYE FLY GOD GUN HIT ICE ILL KID MIX"
)
"""Words that capitals do not make an initialism of, and acronyms of three letters that are read as words."""
_SPELLED = word_set(
    "USSR USDA UCLA USPS IAEA ESPN ACLU OECD AARP IEEE AAPL ICBM IMDB ECHR EBRD USAF UCAS UNHCR USMC ASMR USAA ISBN "
    "ISSN IRGC"
)
"""Initialisms that would pass for words."""
_FINAL = word_set(
    "nd nt nk ng nx rs rt rd rk rm rn rp rl rf st sk sp ss sh ct ck ch ks ft lt ld lf lk lm lp ll mp ms ns ps ts th "
    "pt pp tt ff gs ds bs ls ys ws xt nn mm rr zz cs ph"
)
_INITIAL = word_set(
    "bl br cl cr dr fl fr gl gr pl pr sc sh sk sl sm sn sp st sw th tr tw wh ch kn ph qu wr str spr scr spl shr thr "
    "sch chr squ"
)
"""Consonants that may end and begin an English word."""


def is_readable(word: str) -> bool:
    """Whether capitals can be read as an English word, as NATO and COVID are, and FBI and USSR are not."""
    match = re.fullmatch(r"([^aeiouy]{0,3})[aeiouy]+(?:[^aeiouy]{1,2}[aeiouy]+)*([^aeiouy]{0,2})", word.lower())
    return (
        match is not None and (len(match[1]) < 2 or match[1] in _INITIAL) and (len(match[2]) < 2 or match[2] in _FINAL)
    )


def spell(word: str) -> str:
    """The names of a word's letters: ``BBC`` → bee bee see."""
    return " ".join(LETTER_NAMES[c] for c in word.lower() if c in LETTER_NAMES)


def acronym(word: str) -> str:
    """A word in capitals, read as one (NATO) or spelled (BBC)."""
    if word in _WORDS or (len(word) > 3 and word not in _SPELLED and is_readable(word)):
        return word
    return spell(word)


_UNSPELLED = word_set("hmm hm shh sh psst pst brr mm mmm zzz grr tsk pfft nth st nd rd th ng ft")
_CAPITALS = re.compile(r"(?<![A-Za-z'])([A-Z]{2,8})(?![A-Za-z])(?<!')")
_PLURAL_CAPITALS = re.compile(r"(?<![A-Za-z'])([A-Z]{2,5})(s)(?![A-Za-z'])")
_CONSONANTS = re.compile(r"(?<![a-z])(?<![a-z]')[bcdfghjklmnpqrstvwxz]{2,20}(?![a-z])(?!'[a-z])", re.IGNORECASE)
"""A word without a vowel cannot be read, only spelled."""


def say_initialisms(text: str) -> str:
    """Words in capitals, and words without a vowel, read as words where they can be."""
    shouted = text.isupper() and len(text.split()) > 2  # three capitalised words are no acronyms
    if not shouted:
        text = _PLURAL_CAPITALS.sub(lambda m: acronym(m[1]) + "s", text)
        text = _CAPITALS.sub(lambda m: acronym(m[1]), text)
    return _CONSONANTS.sub(lambda m: m.group() if m.group().lower() in _UNSPELLED else spell(m.group()), text)


RESOLUTION_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<![\w.,])(240|360|480|720|1080|1440|2160|4320)p(?!\w)"), lambda m: f"{_resolution(m[1])} pee"),
)
"""Lines of a screen, which money would take for pence."""


def _decimal_model(match: Match) -> str:
    return f"{spell(match[1])} {cardinal(match[2])} point {digits(match[3])} "


INITIALISM_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<!\w)Ph\.?D(s?)(?!\w)"), lambda m: f"pee aitch dee{m[1]} "),
    (re.compile(r"(?<!\w)(?:WW|WWI|W\.W\.)\s?(2|II)(?!\w)"), "World War two"),
    (re.compile(r"(?<!\w)(?:WW|W\.W\.)\s?(1|I)(?!\w)"), "World War one"),
    (re.compile(r"(?<!\w)AT&T(?!\w)"), "ay tee and tee"),
    (re.compile(r"(?<!\w)H2O(?!\w)"), "aitch two oh"),
    (re.compile(r"(?<!\w)R&D(?!\w)"), "ar and dee"),
    (re.compile(r"(?<!\w)Q&A(?!\w)"), "cue and ay"),
    (re.compile(r"(?<!\w)([A-Z])&([A-Z])(?!\w)"), lambda m: f"{spell(m[1])} and {spell(m[2])}"),
    (re.compile(r"(?<!\w)iOS(?!\w)"), "eye oh ess"),
    (re.compile(r"(?<!\w)macOS(?!\w)"), "mac oh ess"),
    (re.compile(r"(?<!\w)(e)-?(?=(?:mail|book|commerce)s?(?!\w))"), "e-"),
    (re.compile(r"(?<!\w)C\+\+"), "see plus plus"),
    (re.compile(r"(?<!\w)C#"), "see sharp"),
    (re.compile(r"(?<!\w)F#(?=\W)"), "ef sharp"),
    (re.compile(r"(?<![\w.])\.NET(?!\w)"), "dot net"),
    (re.compile(r"(?<!\w)([A-Z]{1,6})-?(\d{1,4})(?![\d,.]*\d)(?=[A-Z]?\b)"), lambda m: _model(m[1], m[2])),
    (re.compile(r"(?<!\w)([A-Z]{1,6})-?(\d{1,4})\.(\d{1,4})(?![\d.]*\d)"), _decimal_model),
    (re.compile(r"(?<=Boeing )7(\d)7(?!\d)"), lambda m: f"seven {cardinal(m[1] + '7')}"),
    (
        re.compile(r"(?<![\w.,$€£])(\d{1,4})([A-Z]{1,3})(?![\w'])"),
        lambda m: f"{cardinal(m[1])} {m[2] if m[2] in _WORDS else spell(m[2])}",
    ),
)
"""Names of letters and digits; they run before the numbers are read."""


def _model(letters: str, written: str) -> str:
    said = letters if len(letters) > 3 and is_readable(letters) else letters if letters in ("I",) else spell(letters)
    return f"{said} {cardinal(written)} "


def _resolution(written: str) -> str:
    # 1080p, 720p: in pairs, as they are said.
    if len(written) in (3, 4) and written[-2:] not in ("00",) and written[-2] != "0":
        return f"{cardinal(written[:-2])} {cardinal(written[-2:])}"
    return cardinal(written)


# The net, versions, signs -----------------------------------------------------------------------------------------


def _hashtag(match: Match) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Z])(?=[A-Z][a-z])|_", " ", match[1])
    return f" hashtag {words} "


def _handle(match: Match) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Za-z])", " ", match[1])
    return f" at {words.replace('_', ' underscore ')} "


def _ip_address(match: Match) -> str:
    parts = match.group().split(".")
    return " dot ".join(map(digits, parts)) if len(parts) == 4 else " point ".join(map(cardinal, parts))


NET_RULES: tuple[Rule, ...] = (
    (
        re.compile(
            r"(?<=dot )(uk|eu|io|ai|ru|de|fr|ua|us|tv|ca|au|es|ie|co)"
            r"(?= dot | slash |[\s.,!?]*$|[.,!?]|\s[a-z])"
        ),
        lambda m: "co" if m[1] == "co" else spell(m[1]),
    ),
    (re.compile(r"(?<![\w&])#(\d{1,8}[A-Za-z]\w{0,80})"), _hashtag),
    (re.compile(r"(?<![\w&])#(?=\d)"), " number "),
    (re.compile(r"(?<![\w&])#([A-Za-z]\w{0,80})"), _hashtag),
    (re.compile(r"(?<![\w.+-])@([A-Za-z_]\w{0,60})"), _handle),
    (re.compile(r"(?<!\w)[vV](?=\d{1,4}(?:\.\d|\s|$|[,;!?]))"), "version "),
    (re.compile(r"(?<!\w)[vV]\.\s?(?=\d)"), "version "),
    (
        re.compile(
            r"(?<!\w)((?i:version|release|python|ios|macos|android|linux|ubuntu|windows|java|kernel|php|node|firmware)\s)"
            r"(\d{1,4})\.(\d{1,4})(?![.\d])"
        ),
        lambda m: f"{m[1]}{cardinal(m[2])} point {cardinal(m[3])} ",
    ),
    (re.compile(r"(?<=\d)\+(?=\s[a-z]|\s*$|[.,!?])"), " plus"),
    (re.compile(r"(?<!\w)~\s?(?=\d)"), "about "),
    (re.compile(r"(?<=\d)\s?\*\s?(?=\d)"), " times "),
    (re.compile(r"(?<=\d)\s[-–]\s(?=\d+(?:\.\d+)?\s?=)"), " minus "),
)

VERSION_RULES: tuple[Rule, ...] = ((re.compile(r"(?<![\d.])\d{1,6}(?:\.\d{1,6}){2,5}(?![\d])"), _ip_address),)
"""What has two points or more, when it is no date."""

SIGN_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<=[A-Za-z])/(?=[A-Za-z])"), " "),
    (re.compile("§§"), " sections "),
    (re.compile("[" + "".join(map(re.escape, SIGNS)) + "]"), lambda m: f" {SIGNS[m.group()]} "),
)
