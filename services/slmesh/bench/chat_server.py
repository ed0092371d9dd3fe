"""A language model that is none: answers every chat completion with the same words after the same time.

``python -m slmesh.bench.chat_server LATENCY_MS`` speaks the HTTP of OpenAI's chat completions, whole
and streamed (a token in each event), on a free port of the loopback interface. It prints one JSON line
with its address when it serves.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiohttp import web

__all__ = ["MODEL", "main"]

MODEL = "fixed"
_TEXT = "You can change the PIN of your card at any cash machine of ours , any day ."
_WORDS = _TEXT.split(" ")
_USAGE = {"prompt_tokens": 64, "completion_tokens": len(_WORDS), "total_tokens": 64 + len(_WORDS)}


def _answering(latency_s: float) -> Any:
    whole = json.dumps(
        _completion(
            {
                "message": {"role": "assistant", "content": _TEXT},
                "finish_reason": "stop",
            },
            _USAGE,
        )
    ).encode()
    deltas: list[dict[str, Any]] = [
        {"delta": {"content": f"{word} "}, "finish_reason": None} for word in _WORDS
    ]
    deltas.append({"delta": {}, "finish_reason": "stop"})
    events = [_completion(delta) for delta in deltas]
    events.append(_completion(None, _USAGE))
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    lines.append(b"data: [DONE]\n\n")

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        await asyncio.sleep(latency_s)
        if not asked.get("stream"):
            return web.Response(body=whole, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for line in lines:
            await response.write(line)
        return response

    return answer


def _completion(choice: Any, usage: Any = None) -> dict[str, Any]:
    kind = "chat.completion.chunk" if choice is None or "delta" in choice else "chat.completion"
    return {
        "id": "chatcmpl-1",
        "object": kind,
        "created": 1,
        "model": MODEL,
        "choices": [] if choice is None else [{"index": 0, **choice}],
        "usage": usage,
    }


async def main(latency_ms: float) -> None:
    """Serve until the process is ended."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _answering(latency_ms / 1e3))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    sys.stdout.write(json.dumps({"address": f"127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
