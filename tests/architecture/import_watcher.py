"""Import modules named on standard input and print, as JSON, what importing them did.

Runs as a program of its own, in a clean process; see test_imports.py. It knows nothing of the mesh
but the folder its sources lie in.
"""

import importlib
import json
import logging
import os
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
STARTS = ("subprocess.Popen", "os.system", "os.fork", "os.posix_spawn")
ENVIRONMENT_MODULES = ("os", "collections.abc", "_collections_abc")
CONNECTS = ("socket.connect", "socket.bind", "socket.getaddrinfo")


class Watch:
    """Notes what happens while a module of the sources is on the stack."""

    def __init__(self, sources: str) -> None:
        """Watch for frames of files below a folder."""
        self.sources = sources
        self.active = False
        self.written: list[str] = []
        self.connected: list[str] = []
        self.started: list[str] = []
        self.environment_reads: list[str] = []

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take one event of the interpreter."""
        if not self.active:
            return
        if event == "open" and self._writes(arguments) and arguments[0] != os.devnull:
            self.written.append(f"{self._culprit()}: {arguments[0]}")
        elif event in (*STARTS, "thread"):
            self.started.append(f"{self._culprit()}: {event}")
        elif event in CONNECTS:
            self.connected.append(f"{self._culprit()}: {event}")

    def environment_read(self, name: str) -> None:
        """Take one read of the environment; only reads by the sources themselves count."""
        frame = sys._getframe(2)
        while frame.f_back and frame.f_globals.get("__name__") in ENVIRONMENT_MODULES:
            frame = frame.f_back
        if self.active and self._is_ours(frame):
            self.environment_reads.append(f"{self._place(frame)}: {name}")

    def _writes(self, arguments: tuple[Any, ...]) -> bool:
        _, mode, flags = arguments
        return bool(set(mode or "") & set("wax+")) or bool((flags or 0) & WRITE_FLAGS)

    def _culprit(self) -> str:
        frame: FrameType | None = sys._getframe(2)
        while frame:
            if self._is_ours(frame):
                return self._place(frame)
            frame = frame.f_back
        return "unknown"

    def _is_ours(self, frame: FrameType) -> bool:
        return frame.f_code.co_filename.startswith(self.sources)

    def _place(self, frame: FrameType) -> str:
        return f"{frame.f_code.co_filename.removeprefix(self.sources)}:{frame.f_lineno}"


def watch_environment(watch: Watch) -> None:
    """Report every read of `os.environ` to the watch."""
    kind = type(os.environ)
    original = kind.__getitem__

    def reported(self: Any, key: Any) -> Any:
        watch.environment_read(str(key))
        return original(self, key)

    kind.__getitem__ = reported  # type: ignore[method-assign]


def watch_threads(watch: Watch) -> None:
    """Report every start of a thread to the watch; Python 3.11 has no audit event for it."""
    original = threading.Thread.start

    def reported(self: threading.Thread) -> None:
        watch.audit("thread", ())
        original(self)

    threading.Thread.start = reported  # type: ignore[method-assign]


def import_foreign(names: Sequence[str]) -> None:
    """Import third-party modules; a name may be that of a class, then its module is enough."""
    for name in names:
        while name:
            try:
                importlib.import_module(name)
                break
            except Exception:  # a missing extra shows when the mesh's own module fails
                name = name.rpartition(".")[0]


def import_watched(names: Sequence[str], watch: Watch) -> dict[str, str]:
    """Import modules of the sources and return the error of each that failed."""
    failed: dict[str, str] = {}
    for name in names:
        watch.active = True
        try:
            importlib.import_module(name)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
        finally:
            watch.active = False
    return failed


def logging_state() -> list[str]:
    """Describe the root logger."""
    root = logging.getLogger()
    return [repr(handler) for handler in root.handlers] + [logging.getLevelName(root.level)]


def main() -> None:
    """Follow the order on standard input."""
    order = json.load(sys.stdin)
    sys.path.insert(0, order["sources"])
    importlib.import_module("importlib.metadata")
    watch = Watch(order["sources"])
    import_watched(order["light"], watch)
    heavy = [name for name in order["heavy"] if name in sys.modules]
    import_foreign(order["foreign"])
    watch = Watch(order["sources"])
    for name in [n for n in sys.modules if n.split(".")[0] == "slmesh"]:
        # Generated code registers its descriptors once for a process, so it stays.
        if not name.startswith("slmesh.api"):
            del sys.modules[name]
    sys.addaudithook(watch.audit)
    watch_environment(watch)
    watch_threads(watch)
    logging_before, environment = logging_state(), dict(os.environ)
    failed = import_watched(order["all"], watch)
    changes = sorted(set(environment.items()) ^ set(os.environ.items()))
    report = {
        "failed": failed,
        "heavy_for_light": heavy,
        "written": watch.written,
        "connected": watch.connected,
        "started": watch.started,
        "environment_reads": watch.environment_reads,
        "environment_changes": sorted({name for name, _ in changes}),
        "logging_before": logging_before,
        "logging_after": logging_state(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
