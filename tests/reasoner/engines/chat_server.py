"""A real HTTP server that speaks the chat completions of OpenAI, streamed or whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

__all__ = ["ChatServer", "chunk", "usage_chunk", "whole"]


def chunk(content: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """Return one chunk of a chat completion."""
    if content is not None:
        delta["content"] = content
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def usage_chunk(prompt: int, output: int) -> dict[str, Any]:
    """Return the last chunk, which has the usage and no choice."""
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
    }
    return {**chunk(), "choices": [], "usage": usage}


def whole(chunks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a chat completion that says in one piece what chunks say."""
    choices = [choice for one in chunks for choice in one["choices"]]
    finish = [choice["finish_reason"] for choice in choices if choice["finish_reason"]] or ["stop"]
    message: dict[str, Any] = {"role": "assistant"}
    for name in ("content", "refusal"):
        message[name] = "".join(choice["delta"].get(name) or "" for choice in choices) or None
    usage = [one["usage"] for one in chunks if one.get("usage")] or [None]
    choice = {"index": 0, "message": message, "finish_reason": finish[0]}
    return {**chunk(), "object": "chat.completion", "choices": [choice], "usage": usage[0]}


def _lines(chunks: Sequence[dict[str, Any]]) -> list[str]:
    return [f"data: {json.dumps(item)}" for item in chunks] + ["data: [DONE]"]


class ChatServer:
    """The server. ``lines`` is what it streams; ``status`` other than 200 is answered instead.

    Of several ``turns``, each request is streamed the next, and then ``lines`` again.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.turns: list[list[str]] = []
        self.pause_s = 0.0
        self.status = 200
        self.headers: dict[str, str] = {}
        self.error: dict[str, Any] = {"message": "provider's own words at http://10.0.0.9"}
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.lines_sent = 0
        self.disconnected = asyncio.Event()
        self.break_after: int | None = None
        self.base_url = ""
        self._runner: web.AppRunner | None = None

    def say(self, *chunks: dict[str, Any]) -> None:
        """Stream these chunks, then the end mark."""
        self.lines = _lines(chunks)

    def say_in_turn(self, *answers: Sequence[dict[str, Any]]) -> None:
        """Stream the chunks of one answer to each request."""
        self.turns = [_lines(chunks) for chunks in answers]

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.base_url = f"http://127.0.0.1:{port}/v1"

    async def stop(self) -> None:
        """Close every connection and the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.keys.append(request.headers.get("Authorization", ""))
        if self.status != 200:
            return web.json_response(
                {"error": self.error}, status=self.status, headers=self.headers
            )
        lines = self.turns.pop(0) if self.turns else self.lines
        if not self.requests[-1].get("stream"):
            return await self._whole(request, lines)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for index, line in enumerate(lines):
                if index == self.break_after and request.transport is not None:
                    request.transport.abort()
                    return response
                await response.write(f"{line}\n\n".encode())
                self.lines_sent += 1
                await asyncio.sleep(self.pause_s)
        except (ConnectionError, asyncio.CancelledError):
            self.disconnected.set()
            raise
        return response

    async def _whole(self, request: web.Request, lines: Sequence[str]) -> web.StreamResponse:
        """Answer what would be streamed in one piece; one that does not end is not sent."""
        try:
            await asyncio.sleep(self.pause_s * len(lines))
        except asyncio.CancelledError:
            self.disconnected.set()
            raise
        if self.break_after is not None and request.transport is not None:
            request.transport.abort()
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line[6:7] == "{"]
        self.lines_sent += len(lines)
        return web.json_response(whole(chunks))
