"""Recognises personal data that has no format of its own: names, addresses, dates of birth.

Such data is found by what announces it ("my name is", "Mr.", "I live at", "born on") and by how it
is written (a street's name with a number). It finds no name that stands in running text without a
cue. It knows nothing of segments, requests or models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from slmesh.recognise import Match

__all__ = ["addresses", "dates_of_birth", "driving_licences", "persons"]

_TITLE = re.compile(
    r"(?<![\w.])(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Sir|Madam|Herr|Frau|Monsieur|Madame|Sr|Sra)\b\.?[ ]",
    re.IGNORECASE,
)
_NAME_CUE = re.compile(
    r"\b(?:my (?:full |first |last |maiden )?name is|my name's|i am called|(?:people|everyone|they) "
    r"calls? me|(?:maiden|first|last|full|middle) name(?: is|:)?|"
    r"(?:partner|wife|husband|son|daughter|mother|father|brother|sister|friend|kid|child)(?:'s name"
    r"(?: is)?|,)?|account holder(?: is|:)?|beneficiary(?: is|:)|name on the (?:card|account) is|"
    r"name of|named (?:him|her)|it's under|in the name of|statement could you please correct it to|"
    r"(?:change|correct) (?:it|my name) to|name:|on behalf of|dear|yours sincerely,?|"
    r"(?:kind |best |warm )?regards,?|sincerely,?|signed:?|this is|i'm|i am|hi|hello|"
    r"(?:contact|call|e-?mail|ask for|speak to|speak with|talk to|meet|met|spoke to) )[ \n]{0,3}",
    re.IGNORECASE,
)
_ASKED_FOR_NAME = re.compile(
    r"\b(?:your|the) (?:(?:full|first|last|maiden) )?name(?: on the account)?\?[ \n]{0,2}"
    r"(?:user:[ ]?)?",
    re.IGNORECASE,
)
# After these a capital letter says little, so two name-like words must follow.
_WEAK_CUES = frozenset(
    {
        "this is",
        "i'm",
        "i am",
        "hi",
        "hello",
        "dear",
        "name of",
        "contact",
        "call",
        "email",
        "e-mail",
    }
    | {"ask for", "speak to", "speak with", "talk to", "meet", "met", "spoke to"}
)
_RELATIVES = re.compile(
    r"(?:partner|wife|husband|son|daughter|mother|father|brother|sister|friend|kid|child),?",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*\.?")
_JOINING_WORDS = "van von der den de del della da dos di la le bin ibn al el ter ten zu"
_PARTICLES = frozenset(_JOINING_WORDS.split())
_COMMON_WORDS = (
    "i my the a an and but or if when what who how why where is are am was do does can could "
    "would please thanks thank yes no not just so it this that there here your you we they he "
    "she hi hello sir madam team all everyone support customer bank card account monday "
    "tuesday wednesday thursday friday saturday sunday january february march april may june "
    "july august september october november december in on at from to of for with about by"
)
_NOT_NAMES = frozenset(_COMMON_WORDS.split())
_TITLES = frozenset({"mr", "mrs", "ms", "miss", "mx", "dr", "prof"})
_MOST_NAME_WORDS = 5
_LIVES = re.compile(r"(?<= )(?:lives|lived|works|moved|was born)(?= (?:at|in|on|to) )")

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DATE = re.compile(
    r"(?<![\w/.-])(?:[0-9]{1,2}[/.-][0-9]{1,2}[/.-][0-9]{2,4}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}|"
    rf"[0-9]{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH},? [0-9]{{4}}|"
    rf"{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{4}})(?![\w/-])",
    re.IGNORECASE,
)
_BIRTH = re.compile(
    r"\bborn\b|\bdate of birth\b|\bd\.?o\.?b\b|\bbirth ?(?:day|date)\b", re.IGNORECASE
)
_BIRTH_WINDOW = 40
"""How many code points before a date are read for a word such as "born"."""

_LICENCE = re.compile(
    r"\b(?:driv(?:er'?s?|ing) licen[cs]e)\b[^\n0-9]{0,25}?"
    r"\b((?=[A-Z0-9 -]{0,8}[0-9])[A-Z0-9](?:[A-Z0-9 -]{3,18})[A-Z0-9])\b",
    re.IGNORECASE,
)

_STREET_TYPE = (
    r"(?:street|str|st|road|rd|avenue|ave|lane|ln|drive|boulevard|blvd|square|court|terrace|"
    r"crescent|close|place|highway|parkway|parade|mews|grove)"
)
_STREETS = (
    # 12B Baker Street
    re.compile(
        r"(?<![\w.,])[0-9]{1,6}[A-Za-z]?(?:[ ,]+(?!and\b|to\b|in\b)[^\W\d_][\w.'-]{0,30}){1,4}?[ ]"
        rf"{_STREET_TYPE}\b\.?",
        re.IGNORECASE,
    ),
    # Hauptstrasse 5, Storgatan 12
    re.compile(
        r"(?<!\w)[^\W\d_][\w-]{1,30}(?:stra(?:ss|\u00df)e|gasse|platz|weg|allee|gatan|v\u00e4gen|"
        r"gade|vej|veien|katu|tie|straat|laan|kade)[ ][0-9]{1,5}[a-z]?\b",
        re.IGNORECASE,
    ),
    # Rue de la Paix 4, Via Roma 12
    re.compile(
        r"\b(?:rue|via|calle|rua|avenida|plaza|piazza|ul\.)[ ][^\W\d_][\w.' -]{1,40}?,?[ ]"
        r"[0-9]{1,5}\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:PSC|Unit) [0-9]{1,5},? Box [0-9]{1,5}\n?[ ]?(?:[AFD]PO )?(?:A[AEP]) [0-9]{5}\b"
    ),
    re.compile(r"\b(?:USS|USNS|USNV|USCGC) [A-Z][\w'-]{1,30}\n?[ ]?[AFD]PO A[AEP] [0-9]{5}\b"),
    re.compile(r"\bP\.? ?O\.? Box [0-9]{1,6}\b", re.IGNORECASE),
)
_REST_OF_ADDRESS = re.compile(
    r"(?:[,\n ]{1,4}(?:(?:apt|apartment|suite|flat|unit|floor)\b\.? ?[0-9A-Za-z]{1,5}|"
    r"[A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2}\b|[0-9]{4,6}(?:-[0-9]{4})?\b))*",
    re.IGNORECASE,
)
_ADDRESS_CUE = re.compile(
    r"\b(?:(?:address(?:es)?|house)(?: (?:is|to|at|of [\w ]{1,30} is))?:?|lives? (?:at|in|on)|"
    r"(?:sent|send (?:it|one|a new one|them)|post it|deliver(?:ed)?|moved|taxi|mailed|return) to|"
    r"located (?:at|in)|"
    r"(?:meet|stop|office is|arrived|based) (?:me )?at)[ \n]+",
    re.IGNORECASE,
)
_ADDRESS_END = re.compile(
    r"[?!;]|\.(?=\s+[A-Z]|\s*$)|\n\s*\n|\s(?:because|for|after|in case|and I|last night|please|"
    r"tomorrow|today|by|until)\b",
    re.IGNORECASE,
)
_LONGEST_ADDRESS = 120
_POSTCODE = re.compile(
    r"\b(?:zip ?code|postcode|postal code)(?: is)?:? ([A-Z0-9][A-Z0-9 -]{2,8}[A-Z0-9])\b",
    re.IGNORECASE,
)
_HOUSE_NUMBER = re.compile(r"(?<![\w/:])[0-9]{1,6}[A-Za-z]?(?![\w/:%])")


def persons(text: str) -> Iterator[Match]:
    """Find names after a title or after words that announce a name."""
    for found in _TITLE.finditer(text):
        yield from _name_at(text, found.end(), fewest_words=1, capitals=True)
    for found in _ASKED_FOR_NAME.finditer(text):
        yield from _name_at(text, found.end(), fewest_words=1, capitals=True)
    for found in _NAME_CUE.finditer(text):
        cue = found.group().strip().lower()
        weak = cue in _WEAK_CUES or _RELATIVES.fullmatch(cue) is not None
        yield from _name_at(text, found.end(), fewest_words=2 if weak else 1, capitals=True)
    for found in _LIVES.finditer(text):
        yield from _name_before(text, found.start() - 1)


def _name_before(text: str, end: int) -> Iterator[Match]:
    """Yield the two to five name-like words that end exactly at `end`."""
    words = re.split(r"[\n.,;:!?\"]", text[max(0, end - 80) : end])[-1].split(" ")
    kept: list[str] = []
    while words and len(kept) < _MOST_NAME_WORDS:
        word = words.pop()
        if not word[:1].isupper() or word.lower() in _NOT_NAMES | _TITLES:
            break
        kept.insert(0, word)
    name = " ".join(kept)
    if len(kept) >= 2 and text[end - len(name) : end] == name:
        yield Match("person", end - len(name), end, name, None)


def _name_at(text: str, start: int, *, fewest_words: int, capitals: bool) -> Iterator[Match]:
    """Yield the run of name-like words that begins exactly at `start`, if it is long enough."""
    end, words, position = start, 0, start
    while words < _MOST_NAME_WORDS:
        word = _WORD.match(text, position)
        if word is None:
            break
        bare = word.group().rstrip(".")
        if bare.lower() in _PARTICLES and words:
            position = _after_space(text, word.end())
            continue
        if bare.lower() in _NOT_NAMES | _TITLES or (capitals and not bare[0].isupper()):
            break
        initial = len(bare) == 1 and word.group().endswith(".")
        words, end = words + 1, word.end() if initial else word.start() + len(bare)
        if word.group().endswith(".") and not initial:
            break
        position = _after_space(text, word.end())
        if position == word.end():
            break
    if words >= fewest_words and end - start > 1:
        name = text[start:end]
        yield Match("person", start, end, name, None)


def _after_space(text: str, position: int) -> int:
    return position + 1 if text[position : position + 1] == " " else position


def dates_of_birth(text: str) -> Iterator[Match]:
    """Find dates that stand shortly after "born", "date of birth" and the like."""
    for found in _DATE.finditer(text):
        before = text[max(0, found.start() - _BIRTH_WINDOW) : found.start()]
        if _BIRTH.search(before):
            yield Match("date_of_birth", *found.span(), found.group(), None)


def driving_licences(text: str) -> Iterator[Match]:
    """Find the number that follows "driving licence" or "driver's license"."""
    for found in _LICENCE.finditer(text):
        yield Match("driving_licence", *found.span(1), found.group(1), None)


def addresses(text: str) -> Iterator[Match]:
    """Find postal addresses: streets with a number, boxes, and what follows "I live at"."""
    for pattern in _STREETS:
        for found in pattern.finditer(text):
            end = found.end()
            rest = _REST_OF_ADDRESS.match(text, end)
            if rest is not None:
                end = rest.end()
            yield Match("address", found.start(), end, text[found.start() : end], None)
    for code in _POSTCODE.finditer(text):
        if any(character.isdigit() for character in code.group(1)):
            yield Match("address", *code.span(1), code.group(1), None)
    for cue in _ADDRESS_CUE.finditer(text):
        yield from _announced_address(text, cue.end())


def _announced_address(text: str, start: int) -> Iterator[Match]:
    window = text[start : start + _LONGEST_ADDRESS]
    stop = _ADDRESS_END.search(window)
    body = window[: stop.start()] if stop else window
    if stop is None and start + _LONGEST_ADDRESS < len(text):
        body = body[: body.rfind(" ") + 1]
    body = body.rstrip(" ,\n")
    number = _HOUSE_NUMBER.search(body)
    # "I live in 3 rooms" has a number too: an address also has a capital or spans two lines.
    if number is None or "@" in body or "://" in body:
        return
    if not any(word[:1].isupper() for word in re.split(r"[\s,]+", body)):
        return
    yield Match("address", start, start + len(body), body, None)
