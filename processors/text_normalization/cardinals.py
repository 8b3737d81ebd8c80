"""Cardinal numbers of the languages that num2words does not know: Bulgarian, Croatian, Estonian, Greek, Maltese.

And of all others through num2words: :func:`cardinal` says a number in any language of Canary-1b-v2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from num2words import num2words

_ABOVE = 10**9
"""Numbers of ten digits and more are read digit by digit in the five languages."""


@lru_cache(2048)
def cardinal(value: int, lang: str) -> str:
    """A number of zero or more in words.

    Raises:
        NotImplementedError: If nobody here knows the language's numbers.
    """
    primary = lang.partition("-")[0].lower()
    own = _OWN.get(primary)
    if own is None:
        return str(num2words(value, lang=primary))
    if value >= _ABOVE:
        return " ".join(own(int(digit)) for digit in str(value))
    return own(value)


def _small(words: str) -> tuple[str, ...]:
    return tuple(words.split(","))


_HR = _small("nula,jedan,dva,tri,četiri,pet,šest,sedam,osam,devet,deset,jedanaest,dvanaest,trinaest,četrnaest,petnaest,"
             "šesnaest,sedamnaest,osamnaest,devetnaest")  # fmt: skip
_HR_TENS = _small(",,dvadeset,trideset,četrdeset,pedeset,šezdeset,sedamdeset,osamdeset,devedeset")
_HR_HUNDREDS = _small(",sto,dvjesto,tristo,četiristo,petsto,šesto,sedamsto,osamsto,devetsto")


def _croatian(value: int, feminine: bool = False) -> str:
    words: list[str] = []
    for scale, one, few, many, gender in (
        (10**6, "milijun", "milijuna", "milijuna", False),
        (1000, "tisuća", "tisuće", "tisuća", True),
    ):
        count, value = divmod(value, scale)
        if count == 1:
            words.append(one)
        elif count:
            form = few if count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14) else many
            words.append(f"{_croatian(count, gender)} {form}")
    if value >= 100:
        words.append(_HR_HUNDREDS[value // 100])
        value %= 100
    if value >= 20:
        words.append(_HR_TENS[value // 10])
        value %= 10
    if value or not words:
        words.append({1: "jedna", 2: "dvije"}.get(value, _HR[value]) if feminine else _HR[value])
    return " ".join(words)


_BG = _small("нула,едно,две,три,четири,пет,шест,седем,осем,девет,десет,единадесет,дванадесет,тринадесет,четиринадесет,"
             "петнадесет,шестнадесет,седемнадесет,осемнадесет,деветнадесет")  # fmt: skip
_BG_TENS = _small(",,двадесет,тридесет,четиридесет,петдесет,шестдесет,седемдесет,осемдесет,деветдесет")
_BG_HUNDREDS = _small(",сто,двеста,триста,четиристотин,петстотин,шестстотин,седемстотин,осемстотин,деветстотин")


def _bulgarian(value: int, masculine: bool = False) -> str:
    words: list[str] = []
    for scale, one, many, gender in ((10**6, "един милион", "милиона", True), (1000, "хиляда", "хиляди", False)):
        count, value = divmod(value, scale)
        if count:
            words.append(one if count == 1 else f"{_bulgarian(count, gender)} {many}")
    last: list[str] = []
    if value >= 100:
        last.append(_BG_HUNDREDS[value // 100])
        value %= 100
    if value >= 20:
        last.append(_BG_TENS[value // 10])
        value %= 10
    if value or not (words or last):
        last.append({1: "един", 2: "два"}.get(value, _BG[value]) if masculine else _BG[value])
    # "и" stands before the last word only.
    words += last
    return " ".join([*words[:-1], "и", words[-1]]) if len(words) > 1 and last else " ".join(words)


_ET = _small("null,üks,kaks,kolm,neli,viis,kuus,seitse,kaheksa,üheksa,kümme")


def _estonian(value: int) -> str:
    words: list[str] = []
    count, value = divmod(value, 10**6)
    if count:
        words.append("üks miljon" if count == 1 else f"{_estonian(count)} miljonit")
    count, value = divmod(value, 1000)
    if count:
        words.append("tuhat" if count == 1 else f"{_estonian(count)} tuhat")
    count, value = divmod(value, 100)
    if count:
        words.append("sada" if count == 1 else f"{_ET[count]}sada")
    if value > 19:
        words.append(f"{_ET[value // 10]}kümmend")
        value %= 10
    if value > 10:
        words.append(f"{_ET[value - 10]}teist")
    elif value or not words:
        words.append(_ET[value])
    return " ".join(words)


_EL = _small("μηδέν,ένα,δύο,τρία,τέσσερα,πέντε,έξι,επτά,οκτώ,εννέα,δέκα,έντεκα,δώδεκα,δεκατρία,δεκατέσσερα,δεκαπέντε,"
             "δεκαέξι,δεκαεπτά,δεκαοκτώ,δεκαεννέα")  # fmt: skip
_EL_TENS = _small(",,είκοσι,τριάντα,σαράντα,πενήντα,εξήντα,εβδομήντα,ογδόντα,ενενήντα")
_EL_HUNDREDS = _small(",εκατό,διακόσια,τριακόσια,τετρακόσια,πεντακόσια,εξακόσια,επτακόσια,οκτακόσια,εννιακόσια")
_EL_FEMININE = {1: "μία", 3: "τρεις", 4: "τέσσερις", 13: "δεκατρείς", 14: "δεκατέσσερις"}


def _greek(value: int, feminine: bool = False) -> str:
    words: list[str] = []
    count, value = divmod(value, 10**6)
    if count:
        words.append("ένα εκατομμύριο" if count == 1 else f"{_greek(count)} εκατομμύρια")
    count, value = divmod(value, 1000)
    if count:
        words.append("χίλια" if count == 1 else f"{_greek(count, feminine=True)} χιλιάδες")
    if value >= 100:
        hundreds = _EL_HUNDREDS[value // 100]
        hundreds = hundreds[:-1] + "ες" if feminine and value >= 200 else hundreds
        words.append("εκατόν" if 100 < value < 200 else hundreds)
        value %= 100
    if value >= 20:
        words.append(_EL_TENS[value // 10])
        value %= 10
    if value or not words:
        words.append(_EL_FEMININE.get(value, _EL[value]) if feminine else _EL[value])
    return " ".join(words)


_MT = _small("żero,wieħed,tnejn,tlieta,erbgħa,ħamsa,sitta,sebgħa,tmienja,disgħa,għaxra,ħdax,tnax,tlettax,erbatax,"
             "ħmistax,sittax,sbatax,tmintax,dsatax")  # fmt: skip
_MT_TENS = _small(",,għoxrin,tletin,erbgħin,ħamsin,sittin,sebgħin,tmenin,disgħin")
_MT_BEFORE = _small(",,,tliet,erba',ħames,sitt,seba',tmien,disa',għaxar")
"""The forms before mija (hundred) and elef (thousand)."""


def _maltese(value: int) -> str:
    words: list[str] = []
    count, value = divmod(value, 10**6)
    if count:
        words.append("miljun" if count == 1 else f"{_maltese(count)} miljun")
    count, value = divmod(value, 1000)
    if count:
        words.append({1: "elf", 2: "elfejn"}.get(count) or (
            f"{_MT_BEFORE[count]} elef" if count <= 10 else f"{_maltese(count)} elf"
        ))  # fmt: skip
    count, value = divmod(value, 100)
    if count:
        words.append({1: "mija", 2: "mitejn"}.get(count) or f"{_MT_BEFORE[count]} mija")
    if value >= 20:
        ten, one = divmod(value, 10)
        words.append(f"{_MT[one]} u {_MT_TENS[ten]}" if one else _MT_TENS[ten])
    elif value or not words:
        words.append(_MT[value])
    return " u ".join(words) if len(words) > 1 else words[0]


_OWN: dict[str, Callable[[int], str]] = {
    "hr": _croatian,
    "bg": _bulgarian,
    "et": _estonian,
    "el": _greek,
    "mt": _maltese,
}
