"""Decisions, and the subjects whose records were deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "decisions",
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
    )
    op.create_index("decisions_request", "decisions", ["tenant", "request_id"])
    op.create_index("decisions_time", "decisions", ["create_time_us"])
    op.create_index("decisions_expiry", "decisions", ["expire_time_us"])
    op.create_index("decisions_subject", "decisions", ["subject_digest"])
    op.create_table(
        "deletions",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("subject_digest", sa.String(64), nullable=False),
        sa.Column("delete_time_us", sa.BigInteger, nullable=False),
    )
    op.create_index("deletions_subject", "deletions", ["subject_digest"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("deletions")
    op.drop_table("decisions")
