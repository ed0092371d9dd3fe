"""Answers the extract contract from a bundle that was trained on marked texts.

A bundle of one tier has a linear tagger; one of two tiers has a fine-tuned encoder besides, which
answers wherever it is compiled, and the linear tagger elsewhere. It knows no label by name: those
that have a value say in the bundle which kind of ``slmesh.recognise`` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slmesh.api.extract.v1.extract_pb2 import (
    FIELD_SOURCE_MODEL,
    ExtractRequest,
    ExtractResponse,
    Field,
    Value,
)
from slmesh.api.types.v1.span_pb2 import Span
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.naming import suggestion
from slmesh.mesh.service import Resources
from slmesh.recognise import KINDS, Context, recognise
from slmesh.slm.entities.encoder_tagger import HEAD_PREFIX, EncoderTagger, PieceReader
from slmesh.slm.entities.fields import value_of
from slmesh.slm.entities.tagger import LinearTagger, TaggedSpan
from slmesh.slm.entities.writer import context_of
from slmesh.tiers.encoder import FP32_FILE, INT8_FILE, encoder_digest
from slmesh.tiers.token_encoder import MOST_PIECES, TokenEncoder

__all__ = [
    "ENCODER",
    "LINEAR",
    "LINEAR_PREFIX",
    "PRECISIONS",
    "WRITTEN_KINDS",
    "Extracting",
    "encoder_tagger",
    "linear_tagger",
]

LINEAR, ENCODER = "linear", "encoder"
LINEAR_PREFIX = "linear."
"""What the names of the linear tagger's arrays begin with in a bundle."""

PRECISIONS = {"int8": INT8_FILE, "fp32": FP32_FILE}
"""The compiled file of each precision that a bundle may ask for."""

WRITTEN_KINDS = frozenset({"person", "place", "organisation", "keyword"})
"""Values that are the words as they are written."""


def linear_tagger(bundle: Bundle) -> LinearTagger | None:
    """Return the linear tagger of a bundle; None when it has none."""
    if LINEAR not in bundle.tiers:
        return None
    tensors, tags = bundle.tensors(), bundle.parameters["tags"]
    prefixed = _with_prefix(tensors, LINEAR_PREFIX)
    if not prefixed:  # a bundle of the first release, which could have one tier only
        return LinearTagger(tags, tensors, bundle.calibration)
    return LinearTagger(tags, prefixed, bundle.calibration[LINEAR])


def encoder_tagger(bundle: Bundle, encoder: PieceReader) -> EncoderTagger:
    """Return the encoder tagger of a bundle over its compiled encoder."""
    parameters = bundle.parameters
    return EncoderTagger(
        parameters["tags"],
        _with_prefix(bundle.tensors(), HEAD_PREFIX),
        bundle.calibration[ENCODER],
        encoder,
        parameters["rules"],
        parameters["asked"],
        MOST_PIECES,
    )


def _with_prefix(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }


class Extracting:
    """A bundle's taggers behind the extract contract.

    Args:
        name: The service's name.
        bundle: The bundle.
        linear: Its linear tagger, or None.
        encoder: Its encoder tagger, or None where it has none or is not compiled.
    """

    def __init__(
        self,
        name: str,
        bundle: Bundle,
        linear: LinearTagger | None,
        encoder: EncoderTagger | None,
    ) -> None:
        self._labels = bundle.labels
        self._linear, self._encoder = linear, encoder
        self._values = _checked_values(bundle)
        tier = LINEAR if encoder is None else ENCODER
        self._provenance = bundle.provenance(name, tier)

    @classmethod
    def load(cls, resources: Resources) -> Extracting:
        """Load a service's bundle, and its encoder where it is compiled.

        The manifest's option ``tier`` holds the service to one tier.

        Raises:
            FailedPrecondition: The bundle is no extractor's, the tier is unknown, or the only tier
                that may answer is not there.
        """
        bundle, manifest = resources.required_bundle(), resources.manifest
        choice = str(manifest.options.get("tier", ENCODER))
        if choice not in (LINEAR, ENCODER):
            raise FailedPrecondition(
                f"service '{manifest.name}': no tier '{choice}'"
                f"{suggestion(choice, (LINEAR, ENCODER))}",
                reason="INVALID_MANIFEST",
            )
        try:
            linear = linear_tagger(bundle)
            encoder = _encoder(resources, bundle) if choice == ENCODER else None
        except (KeyError, ValueError) as error:
            raise FailedPrecondition(
                f"bundle {bundle.name} {bundle.version} is no extractor's: {error}",
                reason="INVALID_BUNDLE",
            ) from error
        if linear is None and encoder is None:
            raise FailedPrecondition(
                f"bundle {bundle.name} {bundle.version} has no linear tier, and its encoder is not"
                f" compiled: run `slmesh models compile {bundle.name}`",
                reason="ENCODER_NOT_COMPILED",
            )
        return cls(manifest.name, bundle, linear, encoder)

    def check(self, request: ExtractRequest) -> None:
        """Refuse fields the model does not know, and a writer that cannot be read.

        Raises:
            InvalidArgument: One of them is wrong; the field is named.
        """
        for index, name in enumerate(request.fields):
            if name not in self._labels:
                hint = suggestion(name, self._labels)
                raise InvalidArgument(f"no field '{name}'{hint}", field=f"fields[{index}]")
        if self._values:
            context_of(request)

    def answer(self, requests: Sequence[ExtractRequest]) -> list[ExtractResponse]:
        """Return one response for each request, in order."""
        texts = [request.text for request in requests]
        if self._encoder is not None:
            found = self._encoder.tag(texts, [list(request.fields) for request in requests])
        else:
            assert self._linear is not None
            found = self._linear.tag(texts)
        return [self._response(*pair) for pair in zip(requests, found, strict=True)]

    def _response(self, request: ExtractRequest, spans: list[TaggedSpan]) -> ExtractResponse:
        wanted = set(request.fields) or set(self._labels)
        context = context_of(request) if self._values else None
        fields = []
        for span in spans:
            if span.label not in wanted:
                continue
            field = Field(
                name=span.label,
                span=Span(start=span.start, end=span.end),
                text=request.text[span.start : span.end],
                probability=span.probability,
                source=FIELD_SOURCE_MODEL,
            )
            if context is not None:
                value = _value(request.text, span, self._values.get(span.label, ()), context)
                if value is not None:
                    field.value.CopyFrom(value)
            fields.append(field)
        return ExtractResponse(fields=fields, provenance=self._provenance)


def _encoder(resources: Resources, bundle: Bundle) -> EncoderTagger | None:
    if ENCODER not in bundle.tiers or bundle.backbone is None:
        return None
    digest = encoder_digest(bundle.backbone)
    model_file = PRECISIONS[bundle.parameters["precision"]]
    encoder = TokenEncoder.if_compiled(resources.cache_dir, digest, resources.threads, model_file)
    return None if encoder is None else encoder_tagger(bundle, encoder)


def _checked_values(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    values: dict[str, tuple[str, ...]] = {}
    for label, kinds in (bundle.parameters.get("values") or {}).items():
        unknown = sorted(set(kinds) - KINDS - WRITTEN_KINDS)
        if unknown:
            raise FailedPrecondition(
                f"bundle {bundle.name} {bundle.version}: the values of '{label}' are of the unknown"
                f" kind '{unknown[0]}'{suggestion(unknown[0], KINDS | WRITTEN_KINDS)}",
                reason="INVALID_BUNDLE",
            )
        values[label] = tuple(kinds)
    return values


def _value(text: str, span: TaggedSpan, kinds: Sequence[str], context: Context) -> Value | None:
    """Return what stands in a span, by the first kind that reads something over it."""
    for kind in kinds:
        if kind in WRITTEN_KINDS:
            value = Value()
            setattr(value, kind, text[span.start : span.end])
            return value
        over = [
            match
            for match in recognise(text, {kind}, context)
            if match.start < span.end and span.start < match.end and match.value is not None
        ]
        if over:
            return value_of(
                max(over, key=lambda m: min(m.end, span.end) - max(m.start, span.start))
            )
    return None
