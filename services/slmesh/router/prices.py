"""What the tokens of each reasoner cost: one YAML file, or two settings for all.

    usd_per: {EUR: 1.08}
    engines:
      openai: {input_per_mtok: 0.15, output_per_mtok: 0.60}
      onnx: {input_per_mtok: 0.02, output_per_mtok: 0.02, currency: EUR}
    services:
      second-reasoner: {input_per_mtok: 2.50, output_per_mtok: 10.00}

A price is that of a million tokens, in units of its currency. A service's own price stands above that
of its engine. Everything is counted in US dollars, at the rate the file declares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slmesh.mesh.declaration import Declaration, read_declaration
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings
from slmesh.router.cost import Price, Prices
from slmesh.weights.engines import ENGINES, engine_of

__all__ = ["prices_of"]

_REASON = "INVALID_PRICES"
_HOME = "USD"
_CURRENCY = re.compile(r"[A-Z]{3}")
_HIGHEST = 1_000_000.0


@dataclass(frozen=True, kw_only=True)
class _Price:
    """A price as it is declared.

    Attributes:
        input_per_mtok: Of a million prompt tokens, >= 0.
        output_per_mtok: Of a million generated tokens, >= 0.
        currency: ISO 4217.
    """

    input_per_mtok: float
    output_per_mtok: float
    currency: str = _HOME


@dataclass(frozen=True, kw_only=True)
class _File:
    """The file.

    Attributes:
        usd_per: US dollars for a unit of another currency, by ISO 4217 code.
        engines: The price of each engine.
        services: The price of single services.
    """

    usd_per: Mapping[str, float] = field(default_factory=dict)
    engines: Mapping[str, _Price] = field(default_factory=dict)
    services: Mapping[str, _Price] = field(default_factory=dict)


def prices_of(settings: Settings, services: Mapping[str, Manifest]) -> Prices:
    """Return the price of every reasoner.

    Args:
        settings: The file of prices, or the two prices that stand for all.
        services: The services of the mesh.

    Raises:
        FailedPrecondition: A price is wrong, or the file has none for a reasoner of the mesh.
    """
    reasoners = {
        name: manifest for name, manifest in services.items() if manifest.contract == "reason"
    }
    if settings.prices is not None:
        return Prices(_read(settings.prices, reasoners))
    price = Price(
        settings.price_prompt_usd_micros_per_mtok, settings.price_output_usd_micros_per_mtok
    )
    if min(price.prompt_usd_micros_per_mtok, price.output_usd_micros_per_mtok) < 0:
        raise FailedPrecondition(
            "the settings SLMESH_PRICE_PROMPT_USD_MICROS_PER_MTOK and"
            " SLMESH_PRICE_OUTPUT_USD_MICROS_PER_MTOK must be 0 or more",
            reason="INVALID_SETTING",
        )
    return Prices(dict.fromkeys(reasoners, price))


def _read(file: Path, reasoners: Mapping[str, Manifest]) -> Mapping[str, Price]:
    declared = read_declaration(file, _File, reason=_REASON)
    for place, problem in _problems(declared.value, reasoners):
        raise declared.error(place, problem)
    return {name: _price(name, manifest, declared) for name, manifest in reasoners.items()}


def _price(name: str, manifest: Manifest, declared: Declaration[_File]) -> Price:
    content, engine = declared.value, engine_of(manifest.options)
    price = content.services.get(name) or content.engines.get(engine)
    if price is None:
        raise declared.error(
            "engines",
            f"no price for service '{name}' and none for its engine '{engine}'; prices of 0 say that"
            " it is free",
        )
    rate = 1e6 * (1.0 if price.currency == _HOME else content.usd_per[price.currency])
    return Price(round(price.input_per_mtok * rate), round(price.output_per_mtok * rate))


def _problems(content: _File, reasoners: Mapping[str, Manifest]) -> Iterator[tuple[str, str]]:
    for code, rate in content.usd_per.items():
        if not _CURRENCY.fullmatch(code) or code == _HOME:
            yield f"usd_per.{code}", f"'{code}' must be another currency's ISO 4217 code, as EUR"
        if not 0 < rate <= _HIGHEST:
            yield f"usd_per.{code}", f"must be above 0 US dollars for one {code}, is {rate:g}"
    valid = {"engines": ENGINES, "services": tuple(reasoners)}
    for kind, names in valid.items():
        for name, price in getattr(content, kind).items():
            place = f"{kind}.{name}"
            if name not in names:
                word = kind.removesuffix("s")
                yield place, f"no {word} '{name}' of a reasoner{suggestion(name, names)}"
            for key in ("input_per_mtok", "output_per_mtok"):
                value = getattr(price, key)
                if not 0 <= value <= _HIGHEST:
                    yield f"{place}.{key}", f"{key} must be in [0, {_HIGHEST:,.0f}], is {value:g}"
            if price.currency not in (_HOME, *content.usd_per):
                yield (
                    f"{place}.currency",
                    f"'usd_per' has no rate for {price.currency}: what one is in US dollars"
                    f"{suggestion(price.currency, content.usd_per)}",
                )
