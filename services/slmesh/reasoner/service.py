"""The reasoner: answers an instruction over a text and typed signals with a language model.

It admits, limits and frames; the engine it was given generates. It knows nothing of flows, budgets
or prices.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path

from slmesh.api.reason.v1.reason_pb2 import (
    Completion,
    FinishReason,
    ReasonRequest,
    ReasonResponse,
    Started,
)
from slmesh.api.types.v1.provenance_pb2 import Provenance
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.service import Resources
from slmesh.reasoner.admission import Admission
from slmesh.reasoner.engines.engine import Ending, Engine, Generation, LoadedModel
from slmesh.reasoner.options import ReasonerOptions
from slmesh.reasoner.prompt import build_prompt, largest_part
from slmesh.reasoner.structured import check_answer, parse_schema

__all__ = ["ReasonerService"]

_MAX_TEMPERATURE = 2.0


class ReasonerService:
    """The service of the ``reason`` contract."""

    _engine: Engine
    _options: ReasonerOptions
    _model: LoadedModel
    _admission: Admission
    _provenance: Provenance

    def load(self, resources: Resources) -> None:
        """Load the engine that the options choose.

        Raises:
            MeshError: An option is wrong, or the model cannot be had.
        """
        manifest = resources.manifest
        options = ReasonerOptions.from_mapping(manifest.options)
        engine = _open_engine(options, resources.cache_dir, resources.threads)
        model = engine.load()
        largest = options.max_prompt_tokens + options.max_output_tokens
        if model.context_tokens is not None and largest > model.context_tokens:
            engine.close()
            raise FailedPrecondition(
                f"max_prompt_tokens + max_output_tokens is {largest}, and {model.name} reads"
                f" {model.context_tokens} tokens; lower one of them in the options of service"
                f" '{manifest.name}'",
                reason="INVALID_OPTIONS",
            )
        self._engine, self._options, self._model = engine, options, model
        self._admission = Admission(options.max_concurrent, manifest.max_queue_items)
        self._provenance = Provenance(
            service=manifest.name,
            model=model.name,
            version=model.version,
            digest=model.digest,
            tier="llm",
        )

    def check(self, request: ReasonRequest) -> None:
        """Refuse a request that cannot be answered, before it takes a place in the queue.

        Raises:
            InvalidArgument: A limit is broken; the field, its size and the limit are named.
        """
        most = self._options.max_output_tokens
        if request.HasField("max_output_tokens") and not 1 <= request.max_output_tokens <= most:
            raise InvalidArgument(
                f"max_output_tokens is {request.max_output_tokens} and must be in [1, {most}];"
                " the option max_output_tokens of the reasoner raises it",
                reason="VALUE_OUT_OF_RANGE",
                field="max_output_tokens",
            )
        if not 0 <= request.temperature <= _MAX_TEMPERATURE:  # refuses NaN as well
            raise InvalidArgument(
                f"temperature is {request.temperature} and must be in [0, 2]",
                reason="VALUE_OUT_OF_RANGE",
                field="temperature",
            )
        parse_schema(request.output_schema)
        size = self._engine.count_tokens(build_prompt(request))
        limit = self._options.max_prompt_tokens
        if size > limit:
            part = largest_part(request)
            about = "" if self._model.counts_exactly else "about "
            raise InvalidArgument(
                f"the prompt has {about}{size} tokens, most of them in {part}, and the limit is"
                f" {limit}; shorten {part}, or raise max_prompt_tokens of the reasoner",
                reason="PROMPT_TOO_LONG",
                metadata={"size": str(size), "limit": str(limit)},
                field=part,
            )

    async def stream(self, request: ReasonRequest) -> AsyncGenerator[ReasonResponse]:
        """Answer one checked request; closing the stream stops the model before its next token.

        Raises:
            ResourceExhausted: Too many requests wait.
            MeshError: The engine could not answer, or the answer does not match its schema.
        """
        generation = Generation(
            messages=build_prompt(request),
            max_output_tokens=request.max_output_tokens or self._options.max_output_tokens,
            temperature=request.temperature,
            output_schema=parse_schema(request.output_schema),
            whole=request.whole_answer,
        )
        async with (
            self._admission.place(),
            contextlib.aclosing(self._engine.generate(generation)) as events,
        ):
            started = False
            answer: list[str] = []
            async for event in events:
                if not started:
                    started = True
                    yield ReasonResponse(started=Started(provenance=self._provenance))
                if isinstance(event, Ending):
                    if generation.output_schema is not None:
                        _check_ending(generation, event, "".join(answer))
                    if generation.whole and answer:
                        yield ReasonResponse(text_delta="".join(answer))
                    yield ReasonResponse(completion=self._completion(event))
                else:
                    answer.append(event.text)
                    if not generation.whole:
                        yield ReasonResponse(text_delta=event.text)

    def close(self) -> None:
        """Let the engine go."""
        self._engine.close()

    def _completion(self, ending: Ending) -> Completion:
        return Completion(
            finish_reason=ending.finish_reason, usage=ending.usage, provenance=self._provenance
        )


def _check_ending(generation: Generation, ending: Ending, answer: str) -> None:
    """Check a finished answer; one that was cut off or refused says so by its finish reason."""
    if ending.finish_reason == FinishReason.FINISH_REASON_STOP and generation.output_schema:
        check_answer(generation.output_schema, answer, ending.usage)


def _open_engine(options: ReasonerOptions, cache_dir: Path, threads: int) -> Engine:
    """Return the engine of the options; only its own libraries are imported."""
    if options.engine == "openai":
        from slmesh.reasoner.engines.openai import OpenAIEngine

        return OpenAIEngine(options.base_url, options.model, options.api_key)
    from slmesh.reasoner.engines.local import LocalEngine, LocalModel

    load: Callable[[str, Path, int], LocalModel]
    if options.engine == "transformers":
        from slmesh.reasoner.engines.transformers import load_transformers_model

        load = load_transformers_model
    else:
        from slmesh.reasoner.engines.onnx import load_onnx_model

        load = load_onnx_model
    return LocalEngine(partial(load, options.model, cache_dir, threads), options.max_concurrent)
