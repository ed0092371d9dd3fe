"""What a request tells while it runs: signals as they arrive, then the answer's text.

Text of the reasoner holds the guard's placeholders, and the caller gets the values in their place; so
text that may be the beginning of a placeholder waits for the rest of it.
"""

from __future__ import annotations

from collections.abc import Callable

from slmesh.api.route.v1 import route_pb2
from slmesh.api.signal.v1 import signal_pb2

__all__ = ["Events", "Restorer"]

_LONGEST_TOKEN = 40
"""Code points. The guard's placeholders, such as ``[CREDIT_CARD_12]``, are shorter."""


class Events:
    """Where a request's events go.

    Args:
        send: Is called with each event, in order.
    """

    def __init__(self, send: Callable[[route_pb2.RouteStreamResponse], object]) -> None:
        self._send = send

    def signal(self, signal: signal_pb2.Signal) -> None:
        """Tell what a step has said."""
        self._send(route_pb2.RouteStreamResponse(signal=signal))

    def text(self, delta: str) -> None:
        """Tell a piece of the reasoner's answer."""
        if delta:
            self._send(route_pb2.RouteStreamResponse(text_delta=delta))


class Restorer:
    """Restores values in a text that comes in pieces.

    Args:
        restore: Puts the values in the place of the placeholders of a text.
        tell: Is called with each piece of restored text.
    """

    def __init__(self, restore: Callable[[str], str], tell: Callable[[str], object]) -> None:
        self._restore = restore
        self._tell = tell
        self._waiting = ""

    def push(self, delta: str) -> None:
        """Take the next piece."""
        self._waiting += delta
        opened = self._waiting.rfind("[")
        rest = self._waiting[opened:]
        if opened < 0 or "]" in rest or len(rest) > _LONGEST_TOKEN:
            opened = len(self._waiting)
        self._tell(self._restore(self._waiting[:opened]))
        self._waiting = self._waiting[opened:]

    def end(self) -> None:
        """Tell what still waits: there is no more text."""
        self._tell(self._restore(self._waiting))
        self._waiting = ""
