"""The guard service: screens the segments of an input for personal data and injected instructions.

It reports what was found and which checks ran, and redacts on request; it never decides to allow or
to block. A check that cannot run is reported as failed, never as having found nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from slmesh.api.guard.v1 import guard_pb2
from slmesh.api.guard.v1.guard_pb2 import Check, CheckType, Finding, ScreenRequest, ScreenResponse
from slmesh.api.types.v1.span_pb2 import Span
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import InvalidArgument, MeshError
from slmesh.mesh.naming import suggestion
from slmesh.mesh.service import Resources
from slmesh.recognise import Match
from slmesh.slm.guard.injection import DOCUMENT, USER, InjectionModel
from slmesh.slm.guard.personal import KINDS, find_personal_data
from slmesh.slm.guard.redact import redact
from slmesh.slm.guard.tagger import Tagger, load_tagger
from slmesh.tiers.encoder import load_encoder

__all__ = ["Guard"]

_LOG = logging.getLogger(__name__)

_PERSONAL = guard_pb2.CHECK_TYPE_PERSONAL_DATA
_INJECTION = guard_pb2.CHECK_TYPE_INJECTION
_CHECKS = (_PERSONAL, _INJECTION)
_INJECTION_KIND = "injection"
_KIND_NAMES = (*KINDS, _INJECTION_KIND)
_HEADS = {
    guard_pb2.ORIGIN_USER: USER,
    guard_pb2.ORIGIN_DOCUMENT: DOCUMENT,
    guard_pb2.ORIGIN_TOOL: DOCUMENT,
}


class Guard:
    """Answers the guard contract."""

    _bundle: Bundle
    _name: str
    _injection: InjectionModel | None
    _tagger: Tagger | None

    def load(self, resources: Resources) -> None:
        """Load both models; without one of them the service starts, and its check says FAILED."""
        self._bundle = resources.required_bundle()
        self._name = resources.manifest.name
        self._injection = None
        try:
            backbone = self._bundle.backbone
            encoder = (
                load_encoder(resources.cache_dir, backbone["digest"], resources.threads)
                if backbone
                else None
            )
            self._injection = InjectionModel(self._bundle, encoder)
        except Exception:
            _LOG.exception("the injection check cannot be loaded")
        self._tagger = None
        try:
            self._tagger = load_tagger(self._bundle)
        except Exception:
            _LOG.exception("the check for personal data cannot be loaded")

    def check(self, request: ScreenRequest) -> None:
        """Refuse unknown checks, kinds and origins before the request takes a place in the queue.

        Raises:
            InvalidArgument: The first field that is wrong.
        """
        for index, check in enumerate(request.checks):
            if check not in _CHECKS:
                names = ", ".join(CheckType.Name(valid) for valid in _CHECKS)
                raise InvalidArgument(
                    f"unknown check {check}; there are: {names}", field=f"checks[{index}]"
                )
        for index, segment in enumerate(request.segments):
            if segment.origin not in _HEADS:
                raise InvalidArgument(
                    f"unknown origin {segment.origin}; there are: ORIGIN_USER, ORIGIN_DOCUMENT,"
                    " ORIGIN_TOOL",
                    field=f"segments[{index}].origin",
                )
        if request.HasField("redaction"):
            _check_redaction(request)

    def answer(self, requests: Sequence[ScreenRequest]) -> Sequence[ScreenResponse | MeshError]:
        """Answer each request; one bad request does not fail its neighbours."""
        answers: list[ScreenResponse | MeshError] = []
        for request in requests:
            try:
                self.check(request)
                answers.append(self._screen(request))
            except MeshError as error:
                answers.append(error)
        return answers

    def _screen(self, request: ScreenRequest) -> ScreenResponse:
        response = ScreenResponse(provenance=self._bundle.provenance(self._name, self._tier()))
        for check in _wanted(request):
            findings = self._run(check, request)
            failed = findings is None
            response.checks.append(
                Check(
                    type=check,
                    state=guard_pb2.CHECK_STATE_FAILED
                    if failed
                    else guard_pb2.CHECK_STATE_COMPLETED,
                    provenance=self._bundle.provenance(
                        self._name, "linear" if check == _PERSONAL else self._tier()
                    ),
                )
            )
            response.findings.extend(findings or ())
        response.findings.sort(key=lambda found: (found.segment_index, found.span.start))
        ran = {
            check.type for check in response.checks if check.state != guard_pb2.CHECK_STATE_FAILED
        }
        complete = len(ran) == len(response.checks)
        response.coverage = guard_pb2.COVERAGE_COMPLETE if complete else guard_pb2.COVERAGE_PARTIAL
        # Text is never called redacted when a check whose findings it needs has not run.
        if request.HasField("redaction") and _needed(request) <= ran:
            kinds = frozenset(request.redaction.kinds) or frozenset(KINDS)
            covered = [*response.findings, *self._suspected(request, kinds)]
            chosen = [found for found in covered if found.kind in kinds]
            texts = [segment.text for segment in request.segments]
            response.redacted_segments.extend(redact(texts, chosen))
        return response

    def _suspected(self, request: ScreenRequest, kinds: frozenset[str]) -> Iterator[Finding]:
        """Yield what is redacted though it may be no personal data.

        A value that leaks costs more than a word that is covered in vain, so redaction has a lower
        threshold than the findings.
        """
        if self._tagger is not None and not kinds.isdisjoint(KINDS):
            leniency = float(self._bundle.thresholds["personal"]["redaction_leniency"])
            tagger = partial(self._tagger, leniency=leniency)
            yield from _personal_data(request, tagger)

    def _run(self, check: CheckType, request: ScreenRequest) -> list[Finding] | None:
        """Return the findings of one check, or None when it could not run."""
        try:
            if check == _PERSONAL:
                return None if self._tagger is None else list(_personal_data(request, self._tagger))
            if self._injection is None:
                return None
            return list(_injections(request, self._injection))
        except Exception:
            _LOG.exception("a check of the guard failed")
            return None

    def _tier(self) -> str:
        return "rules" if self._injection is None else self._injection.tier


def _personal_data(
    request: ScreenRequest, tagger: Callable[[str], Sequence[Match]]
) -> Iterator[Finding]:
    for index, segment in enumerate(request.segments):
        for match in find_personal_data(segment.text, tagger):
            yield Finding(
                check=_PERSONAL,
                kind=match.kind,
                segment_index=index,
                span=Span(start=match.start, end=match.end),
            )


def _injections(request: ScreenRequest, model: InjectionModel) -> Iterator[Finding]:
    for index, segment in enumerate(request.segments):
        for hit in model.find(segment.text, _HEADS[segment.origin]):
            yield Finding(
                check=_INJECTION,
                kind=_INJECTION_KIND,
                segment_index=index,
                span=Span(start=hit.start, end=hit.end),
                probability=hit.probability,
            )


def _wanted(request: ScreenRequest) -> list[CheckType]:
    return [check for check in _CHECKS if not request.checks or check in request.checks]


def _needed(request: ScreenRequest) -> set[CheckType]:
    """Return the checks whose findings the redaction asked for is made of."""
    kinds = set(request.redaction.kinds) or set(KINDS)
    return {_INJECTION if kind == _INJECTION_KIND else _PERSONAL for kind in kinds}


def _check_redaction(request: ScreenRequest) -> None:
    for index, kind in enumerate(request.redaction.kinds):
        if kind not in _KIND_NAMES:
            raise InvalidArgument(
                f"unknown kind '{kind}'{suggestion(kind, _KIND_NAMES)}",
                field=f"redaction.kinds[{index}]",
            )
    missing = _needed(request) - set(_wanted(request))
    if missing:
        names = ", ".join(CheckType.Name(check) for check in sorted(missing))
        raise InvalidArgument(
            f"the redaction asked for needs the check {names}; add it or leave checks empty",
            field="checks",
        )
