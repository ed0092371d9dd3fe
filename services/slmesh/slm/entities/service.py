"""The entities service: finds typed fields in texts and normalises their values.

Rules find what has a form (money, dates, account numbers), a tagger finds names. It knows nothing of
flows: which fields matter is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from slmesh.api.extract.v1.extract_pb2 import ExtractRequest, ExtractResponse
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument, MeshError
from slmesh.mesh.service import Resources
from slmesh.recognise import Context, Match, is_currency, recognise, writing
from slmesh.slm.entities.bare import bare_answer
from slmesh.slm.entities.fields import FieldSets, Wanted, fields_of, settled
from slmesh.slm.entities.tagger import LinearTagger, TaggedSpan, Tagger

__all__ = ["Entities"]

_DEFAULT_LOCALE = "en-GB"
_DEFAULT_TIME_ZONE = "UTC"
_YEARS = range(1900, 2200)
"""Years that a reference time may lie in: dates are counted from it in both directions."""


class Entities:
    """Answers the extract contract."""

    _bundle: Bundle
    _name: str
    _sets: FieldSets
    _tagger: Tagger

    def load(self, resources: Resources) -> None:
        """Load the tagger and read the declared field sets.

        Raises:
            FailedPrecondition: the options or the bundle's weights are wrong.
        """
        self._name = resources.manifest.name
        self._bundle = resources.required_bundle()
        self._sets = FieldSets(resources.manifest.options)
        try:
            self._tagger = LinearTagger(
                self._bundle.parameters["tags"], self._bundle.tensors(), self._bundle.calibration
            )
        except (KeyError, ValueError) as error:
            raise FailedPrecondition(
                f"bundle {self._bundle.name} {self._bundle.version} is no entities model: {error}",
                reason="INVALID_BUNDLE",
            ) from error
        # Name tables, telephone metadata and patterns are read at the first use: do it here.
        warm = ExtractRequest(text="Pay Ann £5 on 3 May at 5pm, phone 020 7183 8750")
        self.answer([warm])

    def check(self, request: ExtractRequest) -> None:
        """Refuse what cannot be answered.

        Raises:
            InvalidArgument: an unknown field set, field, locale, time zone or currency, or a
                reference time that no date can be counted from.
        """
        self._sets.wanted(request)
        _context(request)

    def answer(self, requests: Sequence[ExtractRequest]) -> Sequence[ExtractResponse | MeshError]:
        """Return the fields of each text; a wrong request is answered with its error."""
        read: list[tuple[Wanted, Context] | MeshError] = []
        for request in requests:
            try:
                read.append((self._sets.wanted(request), _context(request)))
            except MeshError as error:
                read.append(error)
        needed = [
            index
            for index, item in enumerate(read)
            if not isinstance(item, MeshError) and item[0].names
        ]
        tagged = self._tagger.tag([requests[index].text for index in needed])
        names = dict(zip(needed, tagged, strict=True))
        return [
            item
            if isinstance(item, MeshError)
            else self._response(request.text, *item, names.get(index))
            for index, (request, item) in enumerate(zip(requests, read, strict=True))
        ]

    def _response(
        self,
        text: str,
        wanted: Wanted,
        context: Context,
        names: list[TaggedSpan] | None,
    ) -> ExtractResponse:
        bare = bare_answer(text, wanted.fields)
        matches: list[Match] = [bare] if bare else recognise(text, wanted.rules, context)
        matches, spans = settled(matches, names or [])
        return ExtractResponse(
            fields=fields_of(text, wanted, matches, spans),
            provenance=self._bundle.provenance(self._name, "rules" if names is None else "linear"),
        )


def _context(request: ExtractRequest) -> Context:
    """Return what the request says about its writer, defaults filled in.

    Raises:
        InvalidArgument: a value is not one; the field is named.
    """
    locale = request.locale or _DEFAULT_LOCALE
    try:
        writing(locale)
    except ValueError as error:
        raise InvalidArgument(str(error), reason="UNKNOWN_LOCALE", field="locale") from error
    zone = request.time_zone or _DEFAULT_TIME_ZONE
    if not _is_time_zone(zone):
        raise InvalidArgument(
            f"time zone '{zone[:60]}' is not an IANA name such as 'Europe/London'",
            reason="UNKNOWN_TIME_ZONE",
            field="time_zone",
        )
    currency = request.default_currency
    if currency and not is_currency(currency):
        raise InvalidArgument(
            f"currency '{currency[:60]}' is not an ISO 4217 code such as 'GBP'",
            reason="UNKNOWN_CURRENCY",
            field="default_currency",
        )
    return Context(locale, zone, currency, _reference(request))


def _reference(request: ExtractRequest) -> datetime:
    if not request.HasField("reference_time"):
        return datetime.now(UTC)
    try:
        reference = request.reference_time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        reference = None
    if reference is None or reference.year not in _YEARS:
        raise InvalidArgument(
            f"reference_time must lie in the years {_YEARS.start} to {_YEARS.stop - 1}",
            reason="REFERENCE_TIME_OUT_OF_RANGE",
            field="reference_time",
        )
    return reference


@lru_cache(maxsize=256)
def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True
