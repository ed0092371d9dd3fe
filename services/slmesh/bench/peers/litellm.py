"""Starts LiteLLM's proxy in front of one OpenAI-compatible server, as its documentation has it.

Source: LiteLLM's "Production Best Practices" (docs.litellm.ai/docs/proxy/prod): a master key, no debug
logs, production mode, a worker for each core.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from slmesh.bench.chains import end_child
from slmesh.bench.peers.environments import peer_python
from slmesh.mesh.errors import Unavailable
from slmesh.mesh.settings import Settings
from slmesh.platform.ports import free_ports

__all__ = ["KEY", "litellm_proxy", "workers"]

KEY = "sk-of-the-benchmark"
"""The proxy's master key."""

_START_S = 300.0


def workers() -> int:
    """Return how many worker processes the proxy has."""
    return os.cpu_count() or 1


@contextlib.contextmanager
def litellm_proxy(
    settings: Settings,
    model: str,
    base_url: str,
    on_progress: Callable[[str], None] = lambda step: None,
) -> Iterator[str]:
    """Run the proxy; yields its base URL once it answers.

    Args:
        settings: Where environments are.
        model: The model's name, there and here.
        base_url: Of the server behind it.
        on_progress: Is told every step.

    Raises:
        Unavailable: It cannot be installed or started here.
    """
    python = peer_python("litellm", settings, on_progress)
    (port,) = free_ports(1)
    with TemporaryDirectory(prefix="slmesh-peer-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        config = json.dumps(_config(model, base_url))  # JSON is YAML
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        command = [str(python.parent / "litellm"), "--config", "config.yaml"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", str(workers())]
        with (folder / "log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                # nothing of ours: what others have written gets no environment of this machine
                env={
                    "PATH": f"{python.parent}:/usr/bin:/bin",
                    "HOME": name,
                    "LITELLM_MODE": "PRODUCTION",
                    "LITELLM_LOG": "ERROR",
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # does not ask the internet for prices
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                on_progress(f"waiting for LiteLLM with {workers()} workers")
                _await(process, port, folder / "log")
                yield f"http://127.0.0.1:{port}/v1"
            finally:
                end_child(process)


def _config(model: str, base_url: str) -> dict[str, Any]:
    return {
        "model_list": [
            {
                "model_name": model,
                "litellm_params": {
                    "model": f"openai/{model}",
                    "api_base": base_url,
                    "api_key": "none",
                },
            }
        ],
        "litellm_settings": {"set_verbose": False, "json_logs": True, "request_timeout": 600},
        "general_settings": {"master_key": KEY},
    }


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError):
            url = f"http://127.0.0.1:{port}/health/liveliness"
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status == 200:
                    return
        time.sleep(0.5)
    words = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise Unavailable(f"LiteLLM does not answer: {words}")
