"""A real PostgreSQL server from Debian's package, on a free port, for the tests that need one.

PostgreSQL refuses to run as root, so it runs as another user there, in a folder of its own.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from tests.ports import free_ports

_USERS = ("postgres", "nobody")
_START_S = 60


class PostgresMissingError(Exception):
    """There is no PostgreSQL on this machine, and the message says how to get it."""


def find_postgres() -> Path:
    """Return the folder of PostgreSQL's programs, the newest version's."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3])
    )
    if found:
        return found[-1].parent
    program = shutil.which("postgres")
    if program is None:
        raise PostgresMissingError(
            "no PostgreSQL server on this machine: apt-get install --no-install-recommends"
            " postgresql"
        )
    return Path(program).resolve().parent


class PostgresServer:
    """One server; stop it and start it again as a test wants."""

    def __init__(self, programs: Path, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self._programs = programs
        self._data = folder / "data"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _other_user() if os.getuid() == 0 else None
        if self._user is not None:
            shutil.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self._run(
            str(programs / "initdb"), "-D", str(self._data), "-U", "slmesh",
            "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C",
        )  # fmt: skip

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://slmesh@127.0.0.1:{self.port}/{database}"

    def new_database(self, name: str) -> str:
        """Make a database and return its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def start(self) -> None:
        """Start, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port),
                    "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                    "-c", "shared_buffers=16MB", "-c", "max_connections=50",
                ],
                stdout=log,
                stderr=log,
                **self._as_user(),
            )  # fmt: skip
        end_s = time.monotonic() + _START_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end_s or self._process.poll() is not None:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        """Stop at once: connections are cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=120, **self._as_user())

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {}
        return {
            "user": self._user.pw_uid,
            "group": self._user.pw_gid,
            "extra_groups": [],
            "cwd": self._data.parent,
        }


@contextmanager
def run_postgres() -> Iterator[PostgresServer]:
    """Run a server in a folder of its own, which is deleted afterwards."""
    programs = find_postgres()
    # not below pytest's folder: only the user who runs the tests may enter that
    with tempfile.TemporaryDirectory(prefix="slmesh-postgres-") as folder:
        server = PostgresServer(programs, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _other_user() -> pwd.struct_passwd:
    for name in _USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresMissingError(f"PostgreSQL does not run as root, and there is no user {_USERS}")
