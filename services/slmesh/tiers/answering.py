"""Turns predictions into the messages of the classify and score contracts, and requests into texts.

A service of these contracts is a thin class over one of these. They load a bundle and, where it is
compiled, its encoder; without it the linear tier answers alone, and says so in the provenance.
"""

from __future__ import annotations

from collections.abc import Sequence

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest, ClassifyResponse
from slmesh.api.score.v1.score_pb2 import Level, ScaleScore, ScoreRequest, ScoreResponse
from slmesh.api.types.v1 import abstention_pb2
from slmesh.api.types.v1.abstention_pb2 import Abstention
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.naming import suggestion
from slmesh.mesh.service import Resources
from slmesh.tiers.classifier import ENCODER, LINEAR, TIER_CHOICES, Prediction, TwoTierClassifier
from slmesh.tiers.encoder import SentenceEncoder, encoder_digest, load_encoder
from slmesh.tiers.scales import ScaleScorer, expected_place

__all__ = ["Classifying", "Scoring", "check_top_k"]

_DEFAULT_TOP_K = 3
_MAX_TOP_K = 100


def check_top_k(request: ClassifyRequest) -> None:
    """Refuse a number of labels outside [1, 100].

    Raises:
        InvalidArgument: It is outside.
    """
    if request.HasField("top_k") and not 1 <= request.top_k <= _MAX_TOP_K:
        raise InvalidArgument(
            f"top_k must be in [1, {_MAX_TOP_K}], is {request.top_k}", field="top_k"
        )


class Classifying:
    """Answers the classify contract from a bundle.

    Args:
        bundle: The bundle.
        encoder: Its encoder, or None when it is not compiled here.
        service: The service's name, for the provenance.
        choice: Which tiers may answer, see ``tiers.classifier.TIER_CHOICES``.
    """

    def __init__(
        self, bundle: Bundle, encoder: SentenceEncoder | None, service: str, choice: str = "cascade"
    ) -> None:
        """Load the model."""
        self._labels = bundle.labels
        self._classifier = TwoTierClassifier.from_bundle(bundle, encoder)
        self._provenance = {t: bundle.provenance(service, t) for t in (LINEAR, ENCODER)}
        self._choice = choice

    @classmethod
    def load(cls, resources: Resources) -> Classifying:
        """Return what answers for a service.

        Raises:
            FailedPrecondition: The bundle is of another contract, damaged, or an option is unknown.
        """
        bundle = _bundle(resources, "classify/v1")
        encoder = _encoder(resources, bundle)
        return cls(bundle, encoder, resources.manifest.name, _choice(resources))

    def answer(self, requests: Sequence[ClassifyRequest]) -> list[ClassifyResponse]:
        """Return one response for each request, in order."""
        predictions = self._classifier.predict([r.text for r in requests], self._choice)
        return [
            self._response(request.top_k or _DEFAULT_TOP_K, prediction)
            for request, prediction in zip(requests, predictions, strict=True)
        ]

    def _response(self, top_k: int, prediction: Prediction) -> ClassifyResponse:
        response = ClassifyResponse(provenance=self._provenance[prediction.tier])
        if prediction.truncated_at is not None:
            response.truncated_at = prediction.truncated_at
        if prediction.has_content:
            named = response.nearest if prediction.abstains else response.labels.labels
            for column in prediction.top(top_k):
                named.add(name=self._labels[column], probability=prediction.probabilities[column])
        if not prediction.abstains:
            return response
        reason = abstention_pb2.ABSTENTION_REASON_OUT_OF_SCOPE
        if not prediction.has_content:
            reason = abstention_pb2.ABSTENTION_REASON_NO_CONTENT
        response.abstention.CopyFrom(Abstention(reason=reason, confidence=prediction.confidence))
        return response


class Scoring:
    """Answers the score contract from a bundle.

    Args:
        bundle: The bundle.
        encoder: Its encoder, or None when it is not compiled here.
        service: The service's name, for the provenance.
        choice: Which tiers may answer, see ``tiers.classifier.TIER_CHOICES``.
    """

    def __init__(
        self, bundle: Bundle, encoder: SentenceEncoder | None, service: str, choice: str = "cascade"
    ) -> None:
        """Load the model."""
        self._scorer = ScaleScorer(bundle, encoder)
        self._provenance = {t: bundle.provenance(service, t) for t in (LINEAR, ENCODER)}
        self._choice = choice

    @classmethod
    def load(cls, resources: Resources) -> Scoring:
        """Return what answers for a service.

        Raises:
            FailedPrecondition: The bundle is of another contract, damaged, or an option is unknown.
        """
        bundle = _bundle(resources, "score/v1")
        encoder = _encoder(resources, bundle)
        return cls(bundle, encoder, resources.manifest.name, _choice(resources))

    def check(self, request: ScoreRequest) -> None:
        """Refuse scales the service does not have.

        Raises:
            InvalidArgument: A scale is unknown, or named twice.
        """
        for index, scale in enumerate(request.scales):
            field = f"scales[{index}]"
            if scale not in self._scorer.levels:
                hint = suggestion(scale, self._scorer.levels)
                raise InvalidArgument(f"no scale '{scale}'{hint}", field=field)
            if scale in request.scales[:index]:
                raise InvalidArgument(f"the scale '{scale}' is named twice", field=field)

    def answer(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Return one response for each request, in order."""
        wanted = [tuple(request.scales) or tuple(self._scorer.levels) for request in requests]
        responses = [ScoreResponse() for _ in requests]
        # Requests for the same scales are computed together; most ask for all.
        groups: dict[tuple[str, ...], list[int]] = {}
        for place, scales in enumerate(wanted):
            groups.setdefault(scales, []).append(place)
        for scales, places in groups.items():
            texts = [requests[place].text for place in places]
            predictions = self._scorer.predict(texts, scales, self._choice)
            for i, place in enumerate(places):
                self._fill(responses[place], {scale: predictions[scale][i] for scale in scales})
        return responses

    def _fill(self, response: ScoreResponse, predictions: dict[str, Prediction]) -> None:
        tiers = {prediction.tier for prediction in predictions.values()}
        response.provenance.CopyFrom(self._provenance[ENCODER if ENCODER in tiers else LINEAR])
        cuts = [p.truncated_at for p in predictions.values() if p.truncated_at is not None]
        if cuts:
            response.truncated_at = min(cuts)
        if not all(prediction.has_content for prediction in predictions.values()):
            response.abstention.reason = abstention_pb2.ABSTENTION_REASON_NO_CONTENT
            return
        for scale, prediction in predictions.items():
            levels = zip(self._scorer.levels[scale], prediction.probabilities, strict=True)
            response.scores.scores.append(
                ScaleScore(
                    scale=scale,
                    value=expected_place(prediction.probabilities),
                    levels=[Level(name=name, probability=p) for name, p in levels],
                )
            )


def _bundle(resources: Resources, contract: str) -> Bundle:
    bundle = resources.required_bundle()
    if bundle.contract != contract:
        raise FailedPrecondition(
            f"service '{resources.manifest.name}' needs a bundle of {contract}, and"
            f" '{bundle.name}' is of {bundle.contract}",
            reason="INVALID_BUNDLE",
        )
    return bundle


def _encoder(resources: Resources, bundle: Bundle) -> SentenceEncoder | None:
    if bundle.backbone is None:
        return None
    digest = encoder_digest(bundle.backbone)
    return load_encoder(resources.cache_dir, digest, resources.threads)


def _choice(resources: Resources) -> str:
    choice = str(resources.manifest.options.get("tier", "cascade"))
    if choice not in TIER_CHOICES:
        raise FailedPrecondition(
            f"service '{resources.manifest.name}': no tier '{choice}'"
            f"{suggestion(choice, TIER_CHOICES)}",
            reason="INVALID_MANIFEST",
        )
    return choice
