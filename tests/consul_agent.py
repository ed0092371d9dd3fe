"""A real Consul agent for tests: finds the program or fetches it, starts agents, kills them.

The program is the one on the PATH, or else Debian's package, fetched by apt into a folder of its
own and unpacked there: nothing on the system changes. It knows nothing of slmesh.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.ports import free_ports

__all__ = ["ConsulAgentProcess", "ConsulMissingError", "eventually", "find_consul"]

_SUITE = "bullseye"
"""The last Debian suite that has Consul, version 1.8.7."""

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_FETCH_TIMEOUT_S = 90.0
_START_TIMEOUT_S = 60.0


class ConsulMissingError(Exception):
    """There is no Consul here, and the reason why."""


def find_consul(cache_dir: Path) -> Path:
    """Return the path of a Consul program.

    Args:
        cache_dir: Where a fetched program is kept for the next time.

    Raises:
        ConsulMissingError: There is none on the PATH and it cannot be fetched.
    """
    on_path = shutil.which("consul")
    if on_path:
        return Path(on_path)
    cached = cache_dir / "consul"
    if not cached.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir) as folder:
            # The rename is atomic, so that two test runs at once do no harm.
            _fetch(Path(folder)).rename(cached)
    return cached


def _fetch(folder: Path) -> Path:
    """Fetch and unpack Debian's package with apt, whose signatures apt verifies."""
    if not all(shutil.which(program) for program in ("apt-get", "dpkg")):
        raise ConsulMissingError("no consul on the PATH, and no apt-get and dpkg to fetch it with")
    source = ["Types: deb", f"URIs: {_debian_mirror()}", f"Suites: {_SUITE}", "Components: main"]
    if _KEYRING.exists():
        source.append(f"Signed-By: {_KEYRING}")
    (folder / "suite.sources").write_text("\n".join(source) + "\n")
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    apt = [
        "apt-get",
        "-o", f"Dir::Etc::SourceList={folder / 'suite.sources'}",
        "-o", "Dir::Etc::SourceParts=/dev/null",
        "-o", f"Dir::State::Lists={folder / 'lists'}",
        "-o", f"Dir::Cache={folder / 'cache'}",
        "-o", "Acquire::Languages=none",
        "-o", "Acquire::Retries=1",
        "-o", "APT::Sandbox::User=",
        "-o", "APT::Update::Error-Mode=any",
    ]  # fmt: skip
    _run([*apt, "update"], folder)
    _run([*apt, "download", "consul"], folder)
    packages = sorted(folder.glob("consul_*.deb"))
    if not packages:
        raise ConsulMissingError("no consul on the PATH, and apt fetched no package of it")
    _run(["dpkg", "-x", str(packages[0]), str(folder / "unpacked")], folder)
    return folder / "unpacked" / "usr" / "bin" / "consul"


def _debian_mirror() -> str:
    """Return the mirror this machine fetches Debian's packages from already."""
    found = _run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"],
        Path("/"),
    )
    for line in found.splitlines():
        origin, _, uri = line.partition(" ")
        if origin == "Debian" and uri.rstrip("/").endswith("/debian"):
            return uri
    # Before the first "apt-get update" apt knows no origins: read the sources themselves.
    for source in sorted(Path("/etc/apt").glob("**/*.sources")) + sorted(
        Path("/etc/apt").glob("**/*.list")
    ):
        for word in source.read_text(errors="replace").split():
            if "://" in word and word.rstrip("/").endswith("/debian"):
                return word
    raise ConsulMissingError(
        "no consul on the PATH, and apt here has no Debian mirror to fetch it from"
    )


def _run(command: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_FETCH_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConsulMissingError(
            f"no consul on the PATH, and fetching it failed: {error}"
        ) from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise ConsulMissingError(
            f"no consul on the PATH, and '{command[0]}' could not fetch it: {' '.join(last)}"
        )
    return done.stdout


def eventually(condition: Callable[[], Any], *, timeout_s: float = 60.0) -> Any:
    """Poll until the condition is truthy, and return it; fail after the timeout."""
    give_up_at = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < give_up_at, f"not within {timeout_s} s"
        time.sleep(0.05)
    return value


class ConsulAgentProcess:
    """One agent, server and client in one, on ports of its own.

    Args:
        program: The Consul program.
        folder: An empty folder for configuration, log and state.
        durable: Whether state outlives the process; in memory only otherwise, and faster up.
        settings: More of Consul's own settings.
    """

    def __init__(
        self,
        program: Path,
        folder: Path,
        *,
        durable: bool = False,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self._program = program
        self._folder = folder
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self.http_port, lan, rpc = free_ports(3)
        self.address = f"127.0.0.1:{self.http_port}"
        self.state_dir = folder / "data"
        self.token = ""
        ports = {"http": self.http_port, "dns": -1, "grpc": -1, "server": rpc}
        ports |= {"serf_lan": lan, "serf_wan": -1}
        if self._version() >= (1, 14):
            ports["grpc_tls"] = -1
        config: dict[str, Any] = {"ports": ports, "disable_update_check": True}
        if durable:
            config |= {"server": True, "bootstrap_expect": 1, "data_dir": str(self.state_dir)}
            # The fastest elections there are, instead of those for slow networks.
            config |= {"performance": {"raft_multiplier": 1}}
        (folder / "agent.json").write_text(json.dumps(config | (settings or {})))

    def start(self) -> None:
        """Start the agent and wait until it has a leader."""
        command = [str(self._program), "agent", "-node", "test-node", "-bind", "127.0.0.1"]
        command += ["-config-file", str(self._folder / "agent.json")]
        command += [] if self._durable else ["-dev"]
        with (self._folder / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self._folder
            )
        eventually(self._has_leader, timeout_s=_START_TIMEOUT_S)

    def kill(self) -> None:
        """End the agent at once, with no chance to say goodbye."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(timeout=10)
            self._process = None

    def freeze(self) -> None:
        """Stop the agent from answering while its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen agent go on."""
        self._signal(signal.SIGCONT)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the agent's HTTP interface and return its JSON answer, None when there is none."""
        request = urllib.request.Request(
            f"http://{self.address}/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Consul-Token": self.token} if self.token else {},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def log(self) -> str:
        """Return all the agent has logged."""
        return (self._folder / "agent.log").read_text(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _has_leader(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"the Consul agent ended at once:\n{self.log()[-2000:]}")
        try:
            return bool(self.call("GET", "/status/leader"))
        except (urllib.error.URLError, OSError):
            return False

    def _version(self) -> tuple[int, int]:
        shown = subprocess.run(
            [self._program, "version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        major, minor = shown.split()[1].lstrip("v").split(".")[:2]
        return int(major), int(minor)
