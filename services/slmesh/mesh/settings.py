"""Every setting of the mesh, and the one place that reads the environment.

Precedence, stated once: a value given in code, then the environment variable, then the default. The
variable of a field is ``SLMESH_`` and the field's name in capitals. An unknown ``SLMESH_`` variable
fails at start with the nearest valid name, because a misspelt limit is no limit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.naming import suggestion

__all__ = ["Settings", "child_environment", "load_settings"]

_PREFIX = "SLMESH_"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one process. Lists are separated by ``:`` in the environment.

    Attributes:
        state_dir: Everything slmesh writes: logs, run files, caches. Safe to delete when it is down.
        cache_dir: Fetched weights and compiled models; ``<state_dir>/cache`` when unset.
        service_path: Folders searched for services and bundles, after the package's own.
        trusted_keys: Folder of PEM files with Ed25519 public keys; when set, only bundles that one
            of them signed are loaded.
        host: The address the router and the ingress listen on.
        router_port: The router's gRPC port.
        ingress_port: The gRPC port of Serve's ingress.
        ingress_address: Where the router finds the ingress, ``host:port``; ``host`` and
            ``ingress_port`` when empty.
        router_address: Where clients and the command line find the router; ``host`` and
            ``router_port`` when empty.
        tls_certificate: PEM file with the router's certificate chain; TLS is on when set.
        tls_key: PEM file with the router's private key.
        tls_root: PEM file with the authorities a client trusts; TLS on the client when set.
        flow_path: Folders searched for flows, after the router's own.
        max_text_code_points: The longest text of a request. 100,000 is about 70 pages.
        max_batch_items: The most items of a batch and candidates of a request.
        max_message_bytes: The largest message; must hold a batch of texts.
        max_in_flight: Requests the router works on at once; one more is refused.
        metrics_host: The address the metrics ports listen on.
        metrics_port: The router's metrics port; 0 picks a free one.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.
        trace_exporter: Where spans go: empty (nowhere), ``console``, or an OTLP gRPC endpoint.
        boundary_instruments: Whether calls are counted, logged and traced. Off only to measure
            what that costs.
        discovery: ``static`` or ``consul``.
        consul_address: ``host:port`` of the Consul agent.
        consul_token: ACL token for Consul.
        zone: The zone this process runs in; the nearest instance is preferred.
        region: The region this process runs in.
        reasoner_engine: ``onnx`` (the embedded model), ``transformers`` or ``openai``. When empty,
            a base URL means ``openai``, a model ``transformers``, and neither ``onnx``.
        reasoner_model: Model name or folder; the manifest's when empty.
        reasoner_base_url: Base URL of an OpenAI-compatible server.
        reasoner_api_key: API key of that server.
        reasoner_zone: Where that server is: ``cluster``, ``partner`` or ``external``. When empty, a
            private address or a name of the cluster is ``cluster``, and all else ``external``.
        reasoner_region: The region of that server; ``unknown`` when empty and it is not here.
        policy_path: Folders with policies (``*.cedar``), tenants and data classes, read after the
            policy that is shipped; a file stands above an earlier one of the same name.
        mesh_key: File with the key that seals policy contexts, the same for every process of a
            mesh; one in ``state_dir`` is made and used when unset.
        prices: YAML file with the price of each engine's tokens, in any currency; where it is set, the
            two prices below count for nothing.
        price_prompt_usd_micros_per_mtok: Price of a million prompt tokens, in millionths of a US
            dollar. The default is 0.15 US dollars: what hosted small chat models cost in 2025-26.
        price_output_usd_micros_per_mtok: Price of a million generated tokens; 0.60 US dollars.
        budgets: YAML file with what tenants and flows may spend on the reasoner; a tenant that has no
            budget may spend nothing. When unset, a router lets the tenant ``default`` spend 10 US
            dollars a day and nobody else anything; a mesh in a process of its own has no limit.
        response_cache_entries: The most answers of the router that an exact repeat of a request is
            given again; 0 keeps none.
        response_cache_mib: The most MiB of them; an answer takes 3 to 8 KiB.
        response_cache_age_s: How long each is given, in seconds. So long an answer may outlive what
            changed unseen, such as a model behind a provider's name.
        ledger_url: Where decisions are recorded: ``postgresql://user:password@host/name``, or a
            file as ``sqlite:////folder/file``. When empty the router records in
            ``<state_dir>/ledger/ledger.sqlite3``, and a mesh in a process of its own in memory;
            ``none`` means memory only, everywhere.
        ledger_spool_mib: The most MiB of records that wait for the database; above, decisions are
            refused. 512 MiB are about 130,000 decisions.
        ledger_sync_before_reply: Whether a reply waits until its record is on the disk. Off, a
            power failure may take the records of the last 50 ms.
        ledger_text: What a record holds of the user's text: ``none``, ``redacted`` or ``full``.
        ledger_retention_days: After how many days a record is deleted.
        ledger_tenants: YAML file with ``text`` and ``retention_days`` for single tenants.
    """

    state_dir: Path = Path(".slmesh")
    cache_dir: Path = Path()
    service_path: tuple[Path, ...] = (Path("services/slmesh/slm"), Path("models"))
    trusted_keys: Path | None = None
    host: str = "127.0.0.1"
    router_port: int = 50051
    ingress_port: int = 50052
    ingress_address: str = ""
    router_address: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_root: Path | None = None
    flow_path: tuple[Path, ...] = ()
    max_text_code_points: int = 100_000
    max_batch_items: int = 512
    max_message_bytes: int = 16 * 1024 * 1024
    max_in_flight: int = 256
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    log_level: str = "info"
    trace_exporter: str = ""
    boundary_instruments: bool = True
    discovery: str = "static"
    consul_address: str = "127.0.0.1:8500"
    consul_token: str = field(default="", repr=False)
    zone: str = "local"
    region: str = "local"
    reasoner_engine: str = ""
    reasoner_model: str = ""
    reasoner_base_url: str = ""
    reasoner_api_key: str = field(default="", repr=False)
    reasoner_zone: str = ""
    reasoner_region: str = ""
    policy_path: tuple[Path, ...] = ()
    mesh_key: Path | None = None
    prices: Path | None = None
    price_prompt_usd_micros_per_mtok: int = 150_000
    price_output_usd_micros_per_mtok: int = 600_000
    budgets: Path | None = None
    response_cache_entries: int = 4096
    response_cache_mib: int = 32
    response_cache_age_s: int = 300
    ledger_url: str = field(default="", repr=False)
    ledger_spool_mib: int = 512
    ledger_sync_before_reply: bool = False
    ledger_text: str = "redacted"
    ledger_retention_days: int = 30
    ledger_tenants: Path | None = None

    def __post_init__(self) -> None:
        """Fill the cache folder in, so that there is one place that derives it."""
        if self.cache_dir == Path():
            object.__setattr__(self, "cache_dir", self.state_dir / "cache")

    def with_values(self, **values: Any) -> Settings:
        """Return the settings with some values changed."""
        if "state_dir" in values and "cache_dir" not in values:
            values["cache_dir"] = self.cache_dir
        return replace(self, **values)

    def router_target(self) -> str:
        """Return where clients find the router, ``host:port``."""
        if self.router_address:
            return self.router_address
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"{host}:{self.router_port}"

    def to_environment(self) -> dict[str, str]:
        """Return the environment that makes a child process load these same settings."""
        defaults = Settings()
        environment: dict[str, str] = {}
        for spec in fields(self):
            value = getattr(self, spec.name)
            if value == getattr(defaults, spec.name) and not isinstance(value, (Path, tuple)):
                continue
            if value is None:
                continue
            environment[_PREFIX + spec.name.upper()] = _to_text(value)
        return environment

    def reasoner_options(self) -> dict[str, str]:
        """Return the reasoner's options that the environment sets over its manifest."""
        named = {
            "engine": self.reasoner_engine,
            "model": self.reasoner_model,
            "base_url": self.reasoner_base_url,
            "api_key": self.reasoner_api_key,
        }
        return {name: value for name, value in named.items() if value}


def load_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings of this process.

    Args:
        environment: What to read instead of the process's environment.
        overrides: Values that stand above the environment.

    Raises:
        FailedPrecondition: A variable is unknown or its value cannot be read.
    """
    source = os.environ if environment is None else environment
    specs = {_PREFIX + spec.name.upper(): spec for spec in fields(Settings)}
    values: dict[str, Any] = {}
    for name, text in source.items():
        if not name.startswith(_PREFIX):
            continue
        if name not in specs:
            raise FailedPrecondition(
                f"unknown setting {name}{suggestion(name, specs)}", reason="UNKNOWN_SETTING"
            )
        if text:
            values[specs[name].name] = _from_text(name, text, str(specs[name].type))
    return Settings(**(values | overrides))


def child_environment(settings: Settings, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment for a child that is to load exactly these settings.

    Args:
        settings: What the child's :func:`load_settings` returns.
        extra: Variables that are not settings, such as the flags of a library.
    """
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_PREFIX)}
    return kept | settings.to_environment() | dict(extra or {})


def _to_text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return os.pathsep.join(str(Path(item).resolve()) for item in value)
    if isinstance(value, Path):
        return str(value.resolve())
    return str(value)


def _from_text(name: str, text: str, annotation: str) -> Any:
    try:
        if annotation == "int":
            return int(text)
        if annotation == "bool":
            return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
        if annotation.startswith("tuple"):
            return tuple(Path(part) for part in text.split(os.pathsep) if part)
        return Path(text) if annotation.startswith("Path") else text
    except (ValueError, KeyError):
        raise FailedPrecondition(
            f"setting {name} must be {annotation}, is '{text}'", reason="INVALID_SETTING"
        ) from None
