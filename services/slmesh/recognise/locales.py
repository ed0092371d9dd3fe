"""What a locale says about writing: region, decimal mark, order of day and month, week names.

Everything comes from the Unicode CLDR data in babel; each locale is read once and kept. Knows
nothing of recognisers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.core import get_global


@dataclass(frozen=True, slots=True)
class Writing:
    """How numbers and dates are written in one locale.

    `region` is the ISO 3166 code of the country ("GB"); `decimal_mark` is "." or ",";
    `date_order` holds the letters d, m and y in the order of a short date ("dmy");
    `months` maps lower-case month names and abbreviations to 1..12; `weekdays` to 0 (Monday)..6.
    """

    language: str
    region: str
    decimal_mark: str
    date_order: str
    months: dict[str, int]
    weekdays: dict[str, int]


def writing(locale: str) -> Writing:
    """Return how the locale writes numbers and dates.

    Raises:
        ValueError: the tag is not a BCP 47 tag of a locale that CLDR knows.
    """
    return _writing(locale)


@lru_cache(maxsize=64)
def _writing(tag: str) -> Writing:
    try:
        locale = Locale.parse(tag.replace("_", "-"), sep="-")
    except (ValueError, UnknownLocaleError, TypeError) as error:
        raise ValueError(f"locale {tag!r} is not a known BCP 47 language tag") from error
    pattern = locale.date_formats["short"].pattern.lower()
    order = sorted((pattern.find(letter), letter) for letter in "dmy")
    decimal = str(locale.number_symbols["latn"].get("decimal", "."))
    return Writing(
        language=locale.language,
        region=locale.territory or _likely_region(locale.language),
        decimal_mark="," if decimal == "," else ".",
        date_order="".join(letter for _, letter in order),
        months=_names(locale.months),
        weekdays=_names(locale.days),
    )


def _likely_region(language: str) -> str:
    likely = str(get_global("likely_subtags").get(language, "")).split("_")
    return likely[-1] if len(likely) > 1 else "GB"


def _names(tables: object) -> dict[str, int]:
    """Return the wide and abbreviated names of a CLDR table, in lower case, with their index."""
    names: dict[str, int] = {}
    for style in ("format", "stand-alone"):
        for width in ("wide", "abbreviated"):
            for index, name in tables[style][width].items():  # type: ignore[index]
                cleaned = str(name).lower().rstrip(".")
                if len(cleaned) >= 3 and not cleaned.isdigit():
                    names[cleaned] = int(index)
    return names
