"""The entities service: finds typed fields in texts and normalises their values.

Rules find what has a form (money, dates, account numbers), a tagger finds names. It knows nothing of
flows: which fields matter is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from slmesh.api.extract.v1.extract_pb2 import ExtractRequest, ExtractResponse
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition, MeshError
from slmesh.mesh.service import Resources
from slmesh.recognise import Context, Match, recognise
from slmesh.slm.entities.bare import bare_answer
from slmesh.slm.entities.extracting import Extracting
from slmesh.slm.entities.fields import FieldSets, Wanted, fields_of, settled
from slmesh.slm.entities.tagger import LinearTagger, TaggedSpan, Tagger
from slmesh.slm.entities.writer import context_of

__all__ = ["Entities", "Extractor"]


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
        context_of(request)

    def answer(self, requests: Sequence[ExtractRequest]) -> Sequence[ExtractResponse | MeshError]:
        """Return the fields of each text; a wrong request is answered with its error."""
        read: list[tuple[Wanted, Context] | MeshError] = []
        for request in requests:
            try:
                read.append((self._sets.wanted(request), context_of(request)))
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


class Extractor:
    """Answers the extract contract by any extractor's bundle, which decides everything."""

    def load(self, resources: Resources) -> None:
        """Load the bundle, and its encoder where it is compiled."""
        self._extracting = Extracting.load(resources)

    def check(self, request: ExtractRequest) -> None:
        """Refuse fields the model does not know."""
        self._extracting.check(request)

    def answer(self, requests: Sequence[ExtractRequest]) -> list[ExtractResponse]:
        """Return one response for each request, in order."""
        return self._extracting.answer(requests)
