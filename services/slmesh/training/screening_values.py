"""Draws names, addresses and everything else that fills the slots of the tagger's sentences.

Values come from lists of names in many languages and from the training rows of presidio_pii. It knows
no sentence and no model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

__all__ = ["Values", "address_form"]

_TITLES = ("Mr.", "Mrs.", "Ms.", "Miss", "Dr.", "Prof.", "Mr", "Mrs", "Ms", "Dr", "Sir", "Madam")
_SUFFIXES = ("PhD", "Jr.", "MD", "III")
_PARTICLES = ("van", "de", "von", "di", "van den", "de la", "bin", "O'", "Mc", "El", "al-")
_ENGLISH_STREETS = (
    *("Street", "St", "St.", "Road", "Rd", "Avenue", "Ave", "Lane", "Drive", "Dr", "Court", "Way"),
    *("Close", "Boulevard", "Blvd", "Place", "Terrace", "Square", "Crescent", "Hill", "Grove"),
    *("Highway", "Parkway", "Parade", "Mews", "Gardens", "Row", "Walk", "Circle", "Path", "Loop"),
)
_BEFORE_STREETS = (
    *("Rue", "rue", "Rue de", "Rue de la", "rue du", "Avenue", "avenue de", "Boulevard", "Place"),
    *(
        "Via",
        "Viale",
        "Piazza",
        "Corso",
        "Calle",
        "Avenida",
        "Plaza",
        "Paseo",
        "C/",
        "Rua",
        "Rua do",
    ),
    *("Travessa", "ul.", "Ulica", "al.", "Strada", "Jalan", "Chaussée de", "Quai", "Carrer de"),
)
_STREET_ENDS = (
    *("straße", "strasse", "str.", "weg", "platz", "gasse", "allee", "ring", "straat", "laan"),
    *("gade", "vej", "gatan", "vägen", "gata", "veien", "katu", "tie", "kuja", "utca", "steenweg"),
)
_AFTER_STREETS = ("utca", "út", "u.", "tér", "cesta", "ulica", "náměstí", "gate", "vei", "terrasse")
_UNITS = ("Apt.", "Suite", "Flat", "Unit", "Apt", "Floor", "#", "Room", "Apartment", "Ste.", "Door")
_COMPANY_ENDS = (
    *("Inc", "Inc.", "Ltd", "Ltd.", "LLC", "GmbH", "AG", "Group", "& Sons", "PLC", "Corp", "Bank"),
    *("Partners", "Holdings", "Systems", "Labs", "Technologies", "Media", "Foods", "Energy"),
)
_COMPANY_WORDS = (
    *("North", "Blue", "Green", "Data", "Cloud", "Solar", "Prime", "First", "Open", "Bright"),
    *("Urban", "Global", "Smart", "Silver", "Vital", "Quick", "Metro", "Alpha", "Nova", "Terra"),
)
_COMPANY_TAILS = (
    *("bridge", "point", "works", "ware", "stack", "line", "field", "path", "mark", "gate", "wave"),
    *("ly", "ify", "metrics", "logic", "forge", "nest", "pay", "care", "link", "hub", "soft"),
)
_TITLE_WORDS = (
    *("River", "Night", "Summer", "Dancer", "Hunters", "Mountain", "Shadow", "Garden", "Machine"),
    *("Lovers", "Highway", "Winter", "Kingdom", "Island", "Runner", "Storm", "Mirror", "Planet"),
    *("Echo", "Harvest", "Velvet", "Thunder", "Carousel", "Odyssey", "Matrix", "Avatar", "Gravity"),
)
_NATIONS = (
    *(
        "American",
        "British",
        "French",
        "German",
        "Italian",
        "Spanish",
        "Dutch",
        "Danish",
        "Swedish",
    ),
    *(
        "Norwegian",
        "Finnish",
        "Polish",
        "Czech",
        "Hungarian",
        "Russian",
        "Greek",
        "Turkish",
        "Thai",
    ),
    *("Indian", "Chinese", "Japanese", "Korean", "Mexican", "Brazilian", "Nigerian", "Irish"),
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
_SITES = ("shop", "mybank", "green-energy", "photos", "dailynews", "travelnow", "files")
_ENDINGS = ("com", "org", "net", "co.uk", "de", "fr", "io", "se")


def address_form(text: str) -> str:
    """Return which part of an address a text is: number, unit, street, or the whole."""
    if text.isdigit():
        return "number"
    if len(text) > 28 or "\n" in text or re.search(r"[AFD]PO\b", text):
        return "address"
    if re.match(rf"(?:{'|'.join(map(re.escape, _UNITS))})\s*[\w-]{{1,5}}$", text):
        return "unit"
    return "street" if any(character.isdigit() for character in text) else "other"


class Values:
    """Draws values.

    Args:
        lists: ``first``, ``last``, ``city``, ``street``, ``country``, ``job``: names by what they name.
        seen: Values of training rows by form: ``full``, ``address``, ``street``, ``place``,
            ``organisation``, ``first``, ``last``.
        draw: Where chance comes from.
    """

    def __init__(
        self,
        lists: Mapping[str, Sequence[str]],
        seen: Mapping[str, Sequence[str]],
        draw: random.Random,
    ) -> None:
        self._lists, self._seen, self._draw = lists, seen, draw
        self._makers: dict[str, Callable[[], str]] = {
            "person": self._person,
            "first": lambda: self._either("first"),
            "last": lambda: self._either("last"),
            "full": self._full,
            "title": lambda: draw.choice(_TITLES),
            "address": self._address,
            "street": self._street,
            "unit": lambda: (
                f"{draw.choice(_UNITS)} {draw.choice([self.digits(3), self.digits(1), '4B'])}"
            ),
            "postcode": self._postcode,
            "number_part": lambda: self.digits(draw.randint(2, 5)),
            "city": self._city,
            "country": lambda: draw.choice(lists["country"]),
            "place": self._place,
            "org": self._organisation,
            "work": self._work,
            "date": self._date,
            "time": lambda: f"{draw.randint(1, 12)}{draw.choice([':30', 'pm', ' am', ':05'])}",
            "phone": self._phone,
            "email": self._email,
            "url": lambda: f"https://www.{draw.choice(_SITES)}.{draw.choice(_ENDINGS)}/",
            "card": lambda: draw.choice(["4", "5", "37"]) + self.digits(14),
            "iban": lambda: f"GB{self.digits(2)}BARC{self.digits(14)}",
            "number": lambda: self.digits(draw.randint(2, 8)),
            "amount": lambda: (
                f"{draw.choice('£$€')}{draw.randint(5, 9000)}{draw.choice(['', '.50'])}"
            ),
            "age": lambda: str(draw.randint(1, 95)),
            "job": lambda: draw.choice(lists["job"]),
            "nation": lambda: draw.choice(_NATIONS),
            "day": lambda: draw.choice(_DAYS),
            "month": lambda: draw.choice(_MONTHS),
            "year": lambda: str(draw.randint(1890, 2026)),
        }

    def value(self, slot: str) -> str:
        """Return a value for a slot.

        Raises:
            KeyError: There is no such slot.
        """
        return self._makers[slot]()

    def digits(self, count: int) -> str:
        """Return so many digits."""
        return "".join(self._draw.choice("0123456789") for _ in range(count))

    def _either(self, kind: str, share: float = 0.5) -> str:
        seen = self._seen.get(kind, ())
        return self._draw.choice(
            seen if seen and self._draw.random() < share else self._lists[kind]
        )

    def _person(self) -> str:
        kind = self._draw.choices(["first", "last", "full"], [4, 2, 5])[0]
        return self.value(kind)

    def _full(self) -> str:
        draw = self._draw
        seen = self._seen.get("full", ())
        if seen and draw.random() < 0.3:
            return draw.choice(seen)
        first, last = self._either("first"), self._either("last")
        form = draw.random()
        if form < 0.62:
            return f"{first} {last}"
        if form < 0.74:
            return f"{first} {draw.choice('ABCDEFGHIJKLMNOPRSTW')}{draw.choice(['', '.'])} {last}"
        if form < 0.80:
            return f"{first} {self._either('first')} {last}"
        if form < 0.86:
            particle = draw.choice(_PARTICLES)
            return f"{first} {particle}{'' if particle[-1] in chr(39) + 'c-' else ' '}{last}"
        if form < 0.92:
            return f"{first} {last}-{self._either('last')}"
        if form < 0.95:
            return f"{first[0]}. {last}"
        return f"{first} {last} {draw.choice(_SUFFIXES)}"

    def _street(self) -> str:
        draw = self._draw
        seen = self._seen.get("street", ())
        if seen and draw.random() < 0.35:
            return draw.choice(seen)
        number = f"{draw.randint(1, 280)}{draw.choice(['', '', '', 'a', 'B'])}"
        form, stem = draw.random(), self._either("last")
        if form < 0.4:
            stem = draw.choice([stem, self._city(), draw.choice(_COMPANY_WORDS)])
            return f"{number} {stem} {draw.choice(_ENGLISH_STREETS)}"
        if form < 0.6:
            name = f"{draw.choice(_BEFORE_STREETS)} {stem}"
            return draw.choice([f"{number} {name}", f"{name} {number}", f"{number}, {name}"])
        if form < 0.8:
            return f"{stem}{draw.choice(_STREET_ENDS)} {number}"
        if form < 0.88:
            return f"{stem} {draw.choice(_AFTER_STREETS)} {number}{draw.choice(['', '.'])}"
        name = draw.choice(self._lists["street"])
        return draw.choice([f"{name} {number}", f"{number} {name}"])

    def _postcode(self) -> str:
        draw = self._draw
        letters = "ABCDEFGHJKLMNPRSTUWY"
        british = (
            f"{draw.choice(letters)}{draw.choice(letters)}{draw.randint(1, 20)}"
            f" {draw.randint(1, 9)}{draw.choice(letters)}{draw.choice(letters)}"
        )
        dutch = f"{draw.randint(1000, 9999)} {draw.choice(letters)}{draw.choice(letters)}"
        return draw.choice([self.digits(5), self.digits(5), self.digits(4), british, dutch])

    def _city(self) -> str:
        city = self._either("city")
        return city.upper() if self._draw.random() < 0.12 else city

    def _place(self) -> str:
        return self.value(self._draw.choice(["city", "country"]))

    def _address(self) -> str:
        draw = self._draw
        seen = self._seen.get("address", ())
        form = draw.random()
        if seen and form < 0.3:
            return draw.choice(seen)
        if form < 0.36:
            return draw.choice(
                [
                    f"PSC {self.digits(4)}, Box {self.digits(4)}\nAPO AE {self.digits(5)}",
                    f"Unit {self.digits(4)} Box {self.digits(4)}\nDPO AP {self.digits(5)}",
                    f"USS {self._either('last')}\nFPO AA {self.digits(5)}",
                    f"P.O. Box {self.digits(3)}, {self._city()}",
                ]
            )
        if form < 0.42:
            return draw.choice(
                [
                    f"the corner of {self._street()} and {self._either('last')} Street",
                    f"{self._either('first')} and {self._street()}",
                ]
            )
        if form < 0.68:
            return self._long()
        rest = [self._street()] + ([self.value("unit")] if draw.random() < 0.45 else [])
        rest += self._town()
        if form < 0.75:
            return " ".join(rest)
        if form < 0.9:
            return ", ".join(rest)
        return draw.choice(["\n", ",\n", "\n "]).join(rest)

    def _long(self) -> str:
        """Return an address as presidio_pii writes them: a number before the street and its own."""
        draw = self._draw
        street = f"{self.digits(draw.randint(2, 5))} {self._street()}"
        unit, city, code = self.value("unit"), self._city(), self.digits(5)
        country, state = self.value("country"), draw.choice(["CA", "TX", "ZH", "nan", "NO", "QLD"])
        return draw.choice(
            [
                f"{street}\n {unit}\n {city}\n {country}{draw.choice(['', f' {code}'])}",
                f"{street} {unit} {city} {draw.choice([state, country])}",
                f"{street}\n{city}, {state} {code}",
                f"{street}\n{city}\n, {state}\n {draw.choice(['', f'{country} '])}{code}",
                f"{street} {unit}, {city}, {country} {code}",
            ]
        )

    def _town(self) -> list[str]:
        """Return how an address goes on after the street."""
        draw = self._draw
        city, code = self._city(), self._postcode()
        country, state = self.value("country"), draw.choice(["CA", "TX", "NY", "IL", "ZH", "nan"])
        return draw.choice(
            [
                [],
                [city],
                [f"{city} {code}"],
                [f"{code} {city}"],
                [city, code],
                [city, country],
                [f"{code} {city}", country],
                [city, f"{state} {code}"],
                [f"{city}, {state}", code],
                [city, f"{country} {code}"],
            ]
        )

    def _organisation(self) -> str:
        draw = self._draw
        seen = self._seen.get("organisation", ())
        form = draw.random()
        if seen and form < 0.45:
            return draw.choice(seen)
        if form < 0.6:
            return draw.choice(_COMPANY_WORDS) + draw.choice(_COMPANY_TAILS)
        last = self._either("last")
        if form < 0.7:
            return f"{last}-{self._either('last')}"
        if form < 0.8:
            return f"{last}, {self._either('last')} and {self._either('last')}"
        stem = draw.choice([last, self._city(), f"{draw.choice(_COMPANY_WORDS)} {last}"])
        return f"{stem} {draw.choice(_COMPANY_ENDS)}"

    def _work(self) -> str:
        """Return what looks like the title of a film, a song or a product, and names nobody."""
        draw = self._draw
        made_up = draw.choice(_COMPANY_WORDS) + draw.choice(_COMPANY_TAILS)
        words = f"{draw.choice(_COMPANY_WORDS)} {draw.choice(_TITLE_WORDS)}"
        return draw.choice([made_up, words, f"The {words}", draw.choice(_TITLE_WORDS)])

    def _date(self) -> str:
        draw = self._draw
        day, month, year = draw.randint(1, 28), draw.randint(1, 12), draw.randint(1930, 2026)
        name = draw.choice(_MONTHS)
        return draw.choice(
            [
                f"{month}/{day}/{year}",
                f"{day} {name} {year}",
                f"{year}-{month:02}-{day:02}",
                f"{name} {day}",
            ]
        )

    def _phone(self) -> str:
        draw = self._draw
        return draw.choice(
            [
                f"({self.digits(3)}) {self.digits(3)}-{self.digits(4)}",
                f"+{draw.randint(1, 99)} {self.digits(3)} {self.digits(3)} {self.digits(3)}",
                f"0{self.digits(4)} {self.digits(6)}",
                f"{self.digits(3)}-{self.digits(3)}-{self.digits(4)}",
            ]
        )

    def _email(self) -> str:
        name = f"{self._either('first')}.{self._either('last')}".lower().replace(" ", "")
        return f"{name}@{self._draw.choice(_SITES)}.{self._draw.choice(_ENDINGS)}"
