"""The tables of the ledger as they are today, and the way there from an older database.

Migrations are Alembic's, run from the package without its command line. Two processes that start at
once on one database take turns.
"""

from __future__ import annotations

import threading

import sqlalchemy as sa

from slmesh.mesh.errors import FailedPrecondition

__all__ = ["DECISIONS", "DELETIONS", "migrate"]

_TABLES = sa.MetaData()

DECISIONS = sa.Table(
    "decisions",
    _TABLES,
    sa.Column("decision_id", sa.String(64), primary_key=True),
    sa.Column("tenant", sa.String(256), nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("request_digest", sa.String(64), nullable=False),
    sa.Column("subject_digest", sa.String(64), nullable=False),
    sa.Column("create_time_us", sa.BigInteger, nullable=False),
    sa.Column("record_time_us", sa.BigInteger, nullable=False),
    sa.Column("expire_time_us", sa.BigInteger, nullable=False),
    sa.Column("flow", sa.String(64), nullable=False),
    sa.Column("flow_revision", sa.String(80), nullable=False),
    sa.Column("path", sa.String(32), nullable=False),
    sa.Column("reason", sa.String(128), nullable=False),
    sa.Column("answer_source", sa.String(32), nullable=False),
    sa.Column("degraded", sa.Boolean, nullable=False),
    sa.Column("latency_ms", sa.Double, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("usd_micros", sa.BigInteger, nullable=False),
    sa.Column("all_llm_usd_micros", sa.BigInteger, nullable=False),
    sa.Column("text_kept", sa.String(16), nullable=False),
    sa.Column("record", sa.LargeBinary, nullable=False),
    sa.Index("decisions_request", "tenant", "request_id"),
    sa.Index("decisions_time", "create_time_us"),
    sa.Index("decisions_expiry", "expire_time_us"),
    sa.Index("decisions_subject", "subject_digest"),
)
"""One row for each decision; times are microseconds since the epoch."""

DELETIONS = sa.Table(
    "deletions",
    _TABLES,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("subject_digest", sa.String(64), nullable=False),
    sa.Column("delete_time_us", sa.BigInteger, nullable=False),
    sa.Index("deletions_subject", "subject_digest"),
)
"""Which subjects' records were deleted, and when: what is still in a spool must not come back."""

_VERSION_TABLE = "ledger_schema"
_TURN = 0x736C6D65  # any number, the same for all
_ALEMBIC = threading.Lock()
"""Alembic's operations go to whatever database this process migrates, one at a time."""


def migrate(engine: sa.Engine) -> None:
    """Bring a database to the schema of today.

    Raises:
        FailedPrecondition: A newer version of slmesh has changed the database.
        sqlalchemy.exc.SQLAlchemyError: The database cannot be used.
    """
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "slmesh.ledger:migrations")
    script = ScriptDirectory.from_config(config)
    context = EnvironmentContext(
        config,
        script,
        fn=lambda revision, _: script._upgrade_revs("head", revision),
    )
    with _ALEMBIC, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})
        context.configure(
            connection=connection, target_metadata=_TABLES, version_table=_VERSION_TABLE
        )
        try:
            context.run_migrations()
        except CommandError as error:
            raise FailedPrecondition(
                f"the ledger's database has a schema this version does not know ({error}): a newer"
                " slmesh has changed it",
                reason="LEDGER_SCHEMA_UNKNOWN",
            ) from None
