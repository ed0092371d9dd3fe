"""What was spent on the reasoner, and what is reserved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "budget_window",
        sa.Column("scope", sa.String(300), primary_key=True),
        sa.Column("start_s", sa.BigInteger, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in (
                "demand",
                "answers",
                "requests",
                "tokens",
                "usd_micros",
                "reserved_tokens",
                "reserved_usd_micros",
            )
        ),
    )
    op.create_table(
        "budget_reservation",
        sa.Column("id", sa.String(600), primary_key=True),
        sa.Column("scope", sa.String(300), primary_key=True),
        sa.Column("start_s", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("usd_micros", sa.BigInteger, nullable=False),
        sa.Column("expires_s", sa.Float, nullable=False),
    )
    op.create_index(
        "budget_reservation_active", "budget_reservation", ["scope", "state", "expires_s"]
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("budget_reservation")
    op.drop_table("budget_window")
