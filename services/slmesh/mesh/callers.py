"""Knows the context of every request that a service is answering, for services that call others.

A service gets requests in batches, of several callers at once, so a context goes with a request and
not with a call of ``answer``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from google.protobuf.message import Message

from slmesh.mesh.context import RequestContext

__all__ = ["Callers"]


class Callers:
    """The contexts of requests in work, by the request itself."""

    def __init__(self) -> None:
        # messages cannot be hashed; an entry lives no longer than its request is held by a caller
        self._contexts: dict[int, list[RequestContext]] = {}

    @contextlib.contextmanager
    def known(self, requests: Sequence[Message], context: RequestContext) -> Iterator[None]:
        """Know the context of some requests inside of the block."""
        for request in requests:
            self._contexts.setdefault(id(request), []).append(context)
        try:
            yield
        finally:
            for request in requests:
                contexts = self._contexts[id(request)]
                contexts.remove(context)
                if not contexts:
                    del self._contexts[id(request)]

    def of(self, request: Message) -> RequestContext:
        """Return the context of a request in work.

        One message object may be sent twice at the same time inside of one process. When its callers
        differ it belongs to none of them, and the context is that of a direct call.
        """
        contexts = self._contexts.get(id(request), ())
        if not contexts or any(context != contexts[0] for context in contexts):
            return RequestContext()
        return contexts[0]
