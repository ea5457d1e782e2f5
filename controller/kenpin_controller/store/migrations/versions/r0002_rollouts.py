"""Rollouts in waves: their states whole, timelines, shadow reports, disagreements, pins, tags, recalls.

What the first schema kept of rollouts said too little to go on from; their devices are where they are, and a
rollout that was under way is to be started again.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.drop_table("rollout_devices")
    op.drop_table("rollouts")
    op.add_column(
        "releases", sa.Column("recalled", sa.String(length=1024), nullable=False, server_default="")
    )
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("release", sa.String(length=96), nullable=False),
        sa.Column("started_s", sa.Float(), nullable=False),
        sa.Column("over", sa.Boolean(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_rollouts_started", "rollouts", ["started_s"], unique=False)
    op.create_index("ix_rollouts_over", "rollouts", ["over"], unique=False)
    op.create_table(
        "rollout_devices",
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("rollout", "device"),
    )
    op.create_table(
        "rollout_timeline",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("time_s", sa.Float(), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("text", sa.String(length=1024), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_rollout_timeline_rollout", "rollout_timeline", ["rollout", "id"], unique=False)
    op.create_table(
        "shadow_reports",
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("time_s", sa.Float(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("rollout", "device"),
    )
    op.create_table(
        "disagreements",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("time_s", sa.Float(), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("line", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("frame", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.String(length=256), nullable=True),
        sa.Column("incumbent", sa.String(length=96), nullable=False),
        sa.Column("incumbent_score", sa.Float(), nullable=False),
        sa.Column("incumbent_threshold", sa.Float(), nullable=True),
        sa.Column("candidate", sa.String(length=96), nullable=False),
        sa.Column("candidate_score", sa.Float(), nullable=False),
        sa.Column("candidate_threshold", sa.Float(), nullable=True),
        sa.Column("picture_sha256", sa.String(length=64), nullable=True),
        sa.Column("incumbent_heatmap_sha256", sa.String(length=64), nullable=True),
        sa.Column("candidate_heatmap_sha256", sa.String(length=64), nullable=True),
        sa.Column("right", sa.String(length=8), nullable=True),
        sa.Column("judged_by", sa.String(length=64), nullable=False),
        sa.Column("judged_s", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_disagreements_rollout", "disagreements", ["rollout", "device", "time_s"], unique=False
    )
    op.create_index("ix_disagreements_time", "disagreements", ["time_s"], unique=False)
    op.create_table(
        "pins",
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("release", sa.String(length=96), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("why", sa.String(length=512), nullable=False),
        sa.Column("time_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("device"),
    )
    op.create_table(
        "tags",
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("tag", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("device", "tag"),
    )
    op.create_index("ix_tags_tag", "tags", ["tag"], unique=False)


def downgrade() -> None:
    for table in ("tags", "pins", "disagreements", "shadow_reports", "rollout_timeline"):
        op.drop_table(table)
    op.drop_table("rollout_devices")
    op.drop_table("rollouts")
    op.drop_column("releases", "recalled")
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("started_s", sa.Float(), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_rollouts_started", "rollouts", ["started_s"], unique=False)
    op.create_table(
        "rollout_devices",
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=512), nullable=False),
        sa.Column("percent", sa.Float(), nullable=False),
        sa.Column("updated_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("rollout", "device"),
    )
