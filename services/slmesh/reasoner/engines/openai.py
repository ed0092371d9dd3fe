"""Answers through any OpenAI-compatible server, with the official client.

The provider's errors are translated, and never passed on: neither its address nor its words nor the
key reach a client of the mesh. Nothing is retried here: a retry takes time and money from a budget
that only the caller knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import openai

from slmesh.api.reason.v1.reason_pb2 import FinishReason, Usage
from slmesh.mesh.errors import (
    FailedPrecondition,
    InvalidArgument,
    MeshError,
    ResourceExhausted,
    Unavailable,
)
from slmesh.reasoner.engines.engine import (
    Ending,
    Generation,
    GenerationEvent,
    LoadedModel,
    Piece,
)
from slmesh.reasoner.prompt import ChatMessage
from slmesh.reasoner.structured import schema_error

__all__ = ["OpenAIEngine"]

_OPENAI_URL = "https://api.openai.com/v1"
_BYTES_PER_TOKEN = 4  # of English text; the provider's own tokenizer is not known
_CONNECT_S = 5.0
_SILENCE_S = 60.0  # the longest wait for the next bytes; the request's deadline is usually shorter
_WHOLE_S = 600.0  # the longest wait for an answer in one piece: the client's own default
_RETRY_S = 1.0  # when the provider does not say
_MAX_RETRY_S = 3600.0

_FINISH_REASONS = {
    "stop": FinishReason.FINISH_REASON_STOP,
    "length": FinishReason.FINISH_REASON_LENGTH,
    "content_filter": FinishReason.FINISH_REASON_REFUSAL,
}


class OpenAIEngine:
    """An engine over a remote server.

    Args:
        base_url: The server's base URL, ending in its version; OpenAI's own when empty.
        model: The model's name there.
        api_key: The key; servers without keys ignore it.
        silence_s: The longest wait for the next bytes of an answer, in seconds, > 0.
    """

    def __init__(
        self, base_url: str, model: str, api_key: str, *, silence_s: float = _SILENCE_S
    ) -> None:
        self._base_url = base_url or _OPENAI_URL
        self._model = model
        self._api_key = api_key
        self._silence_s = silence_s
        self._client: openai.AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def load(self) -> LoadedModel:
        """Make the client; the server is first called by the first request."""
        # at DEBUG the client logs whole requests, and a user's text does not belong in a log
        logging.getLogger("openai").setLevel(logging.INFO)
        self._client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",  # the client refuses an empty one
            max_retries=0,
            timeout=openai.Timeout(self._silence_s, connect=_CONNECT_S),
        )
        return LoadedModel(
            name=self._model, version="", digest="", context_tokens=None, counts_exactly=False
        )

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return an estimate: the UTF-8 length over four."""
        size = sum(len(message.content.encode()) for message in messages)
        return -(-size // _BYTES_PER_TOKEN)

    async def generate(self, generation: Generation) -> AsyncGenerator[GenerationEvent]:
        """Yield one answer; closing this generator closes the connection to the server."""
        if self._client is None:
            raise RuntimeError("the engine is not loaded")
        self._loop = asyncio.get_running_loop()
        with _translated(generation):
            create = self._client.chat.completions.create
            if generation.whole:
                for event in _events_of(await create(**self._arguments(generation))):
                    yield event
                return
            stream = await create(**self._arguments(generation))
            async with stream, contextlib.aclosing(_events(stream)) as events:
                async for event in events:
                    yield event

    def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is None or self._loop is None or self._loop.is_closed():
            return
        closing = asyncio.run_coroutine_threadsafe(client.close(), self._loop)
        with contextlib.suppress(RuntimeError):
            if asyncio.get_running_loop() is self._loop:
                return  # called on the loop itself, where waiting would wait for ever
        closing.result(timeout=_CONNECT_S)

    def _arguments(self, generation: Generation) -> dict[str, Any]:
        # OpenAI's newer models refuse the old name of the limit, older other servers the new one
        limit = "max_completion_tokens" if self._base_url == _OPENAI_URL else "max_tokens"
        arguments: dict[str, Any] = {
            "model": self._model,
            "messages": [
                {"role": message.role, "content": message.content}
                for message in generation.messages
            ],
            "temperature": generation.temperature,
            limit: generation.max_output_tokens,
        }
        if generation.whole:
            arguments["timeout"] = openai.Timeout(_WHOLE_S, connect=_CONNECT_S)
        else:
            arguments |= {"stream": True, "stream_options": {"include_usage": True}}
        if generation.output_schema is not None:
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "answer",
                    "schema": generation.output_schema,
                    "strict": _is_strict(generation.output_schema),
                },
            }
        return arguments


def _events_of(completion: Any) -> Iterator[GenerationEvent]:
    """Yield the piece and the ending of an answer that came whole; not validated, as chunks are."""
    choice = completion.choices[0]
    message, told = choice.message, completion.usage
    refused = bool(getattr(message, "refusal", None))
    if message.content:
        yield Piece(message.content)
    reason = _FINISH_REASONS.get(choice.finish_reason, FinishReason.FINISH_REASON_STOP)
    yield Ending(
        FinishReason.FINISH_REASON_REFUSAL if refused else reason,
        told and Usage(prompt_tokens=told.prompt_tokens, output_tokens=told.completion_tokens),
    )


async def _events(stream: AsyncIterator[Any]) -> AsyncGenerator[GenerationEvent]:
    """Yield the pieces of a stream of chunks, and its ending."""
    reason: FinishReason | None = None
    usage: Usage | None = None
    async for chunk in stream:
        # The client does not validate chunks: what is missing raises AttributeError here, which
        # the caller reports. Only the chunk with the usage may come without choices.
        choices = chunk.choices if "choices" in chunk.model_fields_set else None
        if chunk.usage:
            usage = Usage(
                prompt_tokens=chunk.usage.prompt_tokens, output_tokens=chunk.usage.completion_tokens
            )
        elif choices is None:
            raise ValueError("a chunk has neither choices nor usage")
        for choice in (choices or [])[:1]:
            if getattr(choice.delta, "refusal", None):
                reason = FinishReason.FINISH_REASON_REFUSAL
            if choice.delta.content:
                yield Piece(choice.delta.content)
            if choice.finish_reason and reason is None:
                reason = _FINISH_REASONS.get(choice.finish_reason, FinishReason.FINISH_REASON_STOP)
    if reason is None:
        raise Unavailable(
            "the provider's answer broke off before its end", reason="PROVIDER_BROKE_OFF"
        )
    yield Ending(reason, usage)


@contextlib.contextmanager
def _translated(generation: Generation) -> Iterator[None]:
    """Turn the client's exceptions into errors of the mesh, their text left behind."""
    try:
        yield
    except openai.APIStatusError as error:
        raise _by_status(error, generation) from error
    except openai.APITimeoutError as error:
        raise Unavailable(
            "the provider did not answer in time", reason="PROVIDER_TIMEOUT"
        ) from error
    except openai.APIConnectionError as error:
        # by name: the client's transport is httpx or httpx2
        if type(error.__cause__).__name__ != "ConnectError":
            raise _broken() from error
        raise Unavailable(
            "the provider could not be reached; check SLMESH_REASONER_BASE_URL",
            reason="PROVIDER_UNREACHABLE",
        ) from error
    except (openai.OpenAIError, ValueError, AttributeError, TypeError, LookupError) as error:
        raise Unavailable(
            "the provider sent what is no chat completion",
            reason="PROVIDER_ANSWER_MALFORMED",
        ) from error
    except OSError as error:
        raise _broken() from error
    except Exception as error:
        # the client lets its transport's errors through once the stream has begun
        if type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2"):
            raise _broken() from error
        raise


def _broken() -> Unavailable:
    return Unavailable(
        "the connection to the provider broke during its answer", reason="PROVIDER_BROKE_OFF"
    )


def _by_status(error: openai.APIStatusError, generation: Generation) -> MeshError:
    status = error.status_code
    if status in (401, 403):
        return FailedPrecondition(
            "the provider refused the key; check SLMESH_REASONER_API_KEY",
            reason="PROVIDER_KEY_REFUSED",
        )
    if status == 404:
        return FailedPrecondition(
            "the provider has no such model or path; check SLMESH_REASONER_MODEL and"
            " SLMESH_REASONER_BASE_URL",
            reason="PROVIDER_MODEL_NOT_FOUND",
        )
    if status == 429:
        return ResourceExhausted(
            "the provider's rate limit or quota is spent",
            reason="PROVIDER_RATE_LIMITED",
            retry_delay_s=_retry_delay_s(error.response.headers),
        )
    if status >= 500 or status in (408, 409):
        return Unavailable("the provider failed", reason="PROVIDER_FAILED")
    if status == 413 or error.code == "context_length_exceeded":
        return InvalidArgument(
            "the prompt is longer than the provider's model takes; shorten text or signals",
            reason="PROMPT_TOO_LONG",
            field="text",
        )
    if generation.output_schema is not None and error.param in (None, "response_format"):
        return schema_error("the provider does not accept it")
    return FailedPrecondition(
        "the provider refused the form of the request; check that SLMESH_REASONER_MODEL is a chat"
        " model",
        reason="PROVIDER_REFUSED_REQUEST",
        metadata={"providerStatus": str(status)},
    )


def _retry_delay_s(headers: Mapping[str, str]) -> float:
    """Return the seconds of a Retry-After header, which may be a number or a date."""
    value = headers.get("retry-after", "")
    try:
        delay = float(value)
    except ValueError:
        try:
            delay = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            delay = _RETRY_S
    # not every number is one: "nan" is a float too
    return min(delay, _MAX_RETRY_S) if delay > 0 else _RETRY_S


def _is_strict(schema: Any) -> bool:
    """Return whether every object of a schema is closed and all its properties are required.

    Only such schemas may be sent as strict.
    Source: OpenAI's guide to structured outputs, "Supported schemas".
    """
    if isinstance(schema, list):
        return all(_is_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        required = set(schema.get("required", []))
        closed = schema.get("additionalProperties") is False
        if not closed or required != set(schema.get("properties", {})):
            return False
    return all(_is_strict(value) for value in schema.values())
