"""A mesh for scripts and notebooks: the same methods, blocking.

One generic proxy over an event loop in a background thread; it knows no method by name.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, Self

from slmesh.mesh.client import Mesh

__all__ = ["Blocking"]


class Blocking:
    """Wraps a mesh so that its methods block and its streams are plain iterators.

    Use it in a ``with`` statement, or call :meth:`close`. Safe to use from several threads.

    Args:
        mesh: The mesh to wrap; it must not have been used yet, because its connections belong to
            the loop they are first used on.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="slmesh-blocking", daemon=True
        )
        self._thread.start()

    def __getattr__(self, name: str) -> Any:
        """Return the mesh's method of that name, made blocking."""
        method = getattr(self._mesh, name)
        if not callable(method):
            return method

        def blocking(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if inspect.iscoroutine(result):
                return self._wait(result)
            return self._iterate(result) if hasattr(result, "__anext__") else result

        return blocking

    def __enter__(self) -> Self:
        """Return the proxy itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the mesh and stop the loop."""
        self.close()

    def close(self) -> None:
        """Close the mesh and stop the loop."""
        if self._loop.is_closed():
            return
        self._wait(self._mesh.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def _iterate(self, events: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(events, None)

        async def closed() -> None:
            await events.aclose()  # type: ignore[attr-defined]

        try:
            while (event := self._wait(following())) is not None:
                yield event
        finally:
            self._wait(closed())
