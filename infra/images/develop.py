"""Run a program so that it can be started again, and start it again; for development only.

`develop.py run -- PROGRAM` runs a program and starts it again on SIGHUP. `develop.py reload` sends
that signal, and ends the replicas of Ray Serve, which Serve replaces; both then run the sources
that have just been copied into the container. It knows nothing of what it runs.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

REPLICA = "ray::ServeReplica"


class Supervisor:
    """Keeps one program running.

    Args:
        command: The program and its arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._child: subprocess.Popen[bytes] | None = None
        self._again = True

    def run(self) -> int:
        """Run the program until it ends by itself or this process is told to stop.

        Returns:
            The program's exit status.
        """
        signal.signal(signal.SIGHUP, self._restart)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        status = 0
        while self._again:
            self._again = False
            self._child = subprocess.Popen(self._command)
            status = self._child.wait()
        return status

    def _restart(self, *_: object) -> None:
        self._again = True
        self._end_child()

    def _stop(self, *_: object) -> None:
        self._again = False
        self._end_child()

    def _end_child(self) -> None:
        if self._child and self._child.poll() is None:
            self._child.terminate()


def processes(folder: Path = Path("/proc")) -> Iterator[tuple[int, list[str]]]:
    """Yield the id and the command line of every process of this container."""
    for entry in folder.iterdir():
        if entry.name.isdigit():
            try:
                content = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
            yield int(entry.name), content.decode(errors="replace").split("\0")


def reload(
    running: Iterator[tuple[int, list[str]]], send: Callable[[int, int], None] = os.kill
) -> int:
    """Make supervised programs and replicas start again.

    Args:
        running: The processes to look at.
        send: How to send a signal to a process.

    Returns:
        The number of processes that were told.
    """
    told = 0
    for process_id, command in running:
        if is_supervisor(command):
            send(process_id, signal.SIGHUP)
        elif command[0].startswith(REPLICA):
            send(process_id, signal.SIGKILL)
        else:
            continue
        told += 1
    return told


def is_supervisor(command: Sequence[str]) -> bool:
    """Return whether a command line is that of `develop.py run`."""
    return len(command) > 2 and Path(command[1]).name == "develop.py" and command[2] == "run"


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says."""
    match arguments:
        case ["run", "--", *command] if command:
            return Supervisor(command).run()
        case ["reload"]:
            sys.stderr.write(f"{reload(processes())} processes start again\n")
            return 0
    sys.stderr.write("usage: develop.py run -- PROGRAM [ARGUMENT...] | develop.py reload\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
