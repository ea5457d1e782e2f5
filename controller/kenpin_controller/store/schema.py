"""The store's tables, in portable SQLAlchemy Core.

Times are UNIX seconds, UTC. A device is known by its name alone, which is its identity on the broker too
(design.md, section 3); where it stands may change. The same tables are made by `migrations/`, and a test
holds the two together.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData()

devices = Table(
    "devices",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("site", String(32), nullable=False),
    Column("line", String(32), nullable=False),
    Column("first_seen_s", Float, nullable=False),
    Column("last_seen_s", Float, nullable=False),
    Column("release", String(96), nullable=False),  # what it runs now, as `name-version`; empty if unknown
    Column("config_rev", BigInteger, nullable=False),  # the newest revisions it has reported
    Column("release_rev", BigInteger, nullable=False),
)

score_seconds = Table(
    "score_seconds",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("second_s", BigInteger, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("mean", Float, nullable=False),
    Column("p95", Float, nullable=False),
    Column("max", Float, nullable=False),
    Column("anomalies", Integer, nullable=False),
    Column("threshold", Float),
    Column("release", String(96), nullable=False),
    Column("scores", LargeBinary, nullable=False),  # little-endian float32, as on the wire
    Index("ix_score_seconds_second", "second_s"),
    sqlite_with_rowid=False,  # stored in the key's order: a device's hour lies together
)

events = Table(
    "events",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("time_s", Float, nullable=False),
    Column("received_s", Float, nullable=False),
    Column("site", String(32), nullable=False),
    Column("line", String(32), nullable=False),
    Column("device", String(32), nullable=False),
    Column("score", Float, nullable=False),
    Column("threshold", Float),
    Column("release", String(96), nullable=False),
    Column("part", String(256)),
    Column("frame", BigInteger, nullable=False),
    Column("picture_sha256", String(64)),
    Column("heatmap_sha256", String(64)),
    Index("ix_events_time", "time_s", "id"),
    Index("ix_events_device", "device", "time_s"),
    Index("ix_events_line", "line", "time_s"),
    Index("ix_events_picture", "picture_sha256"),
    Index("ix_events_heatmap", "heatmap_sha256"),
)

pictures = Table(
    "pictures",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("device", String(32), nullable=False),
    Column("kind", String(16), nullable=False),  # the channel it came on
    Column("time_s", Float, nullable=False),
    Column("size", Integer, nullable=False),
    Column("claimed", Boolean, nullable=False),  # whether a stored event names it
    Column("jpeg", LargeBinary, nullable=False),
    Index("ix_pictures_time", "claimed", "time_s", "size"),
    Index("ix_pictures_device", "device", "claimed", "time_s"),
)

releases = Table(
    "releases",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("name", String(48), nullable=False),
    Column("version", String(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("uploaded_s", Float, nullable=False),
    Column("who", String(64), nullable=False),
    Column("summary", JSON, nullable=False),
    Column("recalled", String(1024), nullable=False, server_default=""),  # who and why; empty if nobody did
    UniqueConstraint("name", "version", name="uq_releases_name_version"),
)

desired = Table(
    "desired",
    metadata,
    Column("site", String(32), primary_key=True),
    Column("line", String(32), primary_key=True),
    Column("device", String(32), primary_key=True),  # or `_all`, for the line
    Column("channel", String(32), primary_key=True),  # `set/config` or `set/release`
    Column("rev", BigInteger, nullable=False),
    Column("body", JSON, nullable=False),  # the message as it was published
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("release", String(96), nullable=False),  # as `name-version`
    Column("started_s", Float, nullable=False),
    Column("over", Boolean, nullable=False),  # nothing of it is to come; else it must be watched
    Column("body", JSON, nullable=False),  # `rollouts.state.RolloutState` without its devices
    Index("ix_rollouts_started", "started_s"),
    Index("ix_rollouts_over", "over"),
)

rollout_devices = Table(
    "rollout_devices",
    metadata,
    Column("rollout", String(32), primary_key=True),
    Column("device", String(32), primary_key=True),
    Column("position", Integer, nullable=False),  # in the order of the waves
    Column("body", JSON, nullable=False),  # `rollouts.state.DeviceState`
)

rollout_timeline = Table(
    "rollout_timeline",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("rollout", String(32), nullable=False),
    Column("time_s", Float, nullable=False),
    Column("who", String(64), nullable=False),  # empty where nobody asked for it
    Column("device", String(32), nullable=False),  # empty where it is about the whole
    Column("text", String(1024), nullable=False),
    Index("ix_rollout_timeline_rollout", "rollout", "id"),
)

shadow_reports = Table(
    "shadow_reports",
    metadata,
    Column("rollout", String(32), primary_key=True),
    Column("device", String(32), primary_key=True),
    Column("time_s", Float, nullable=False),
    Column("body", JSON, nullable=False),  # the last `kenpin_wire.shadow.ShadowReport`
)

disagreements = Table(
    "disagreements",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("time_s", Float, nullable=False),
    Column("rollout", String(32), nullable=False),
    Column("line", String(32), nullable=False),
    Column("device", String(32), nullable=False),
    Column("frame", BigInteger, nullable=False),
    Column("part", String(256)),
    Column("incumbent", String(96), nullable=False),
    Column("incumbent_score", Float, nullable=False),
    Column("incumbent_threshold", Float),
    Column("candidate", String(96), nullable=False),
    Column("candidate_score", Float, nullable=False),
    Column("candidate_threshold", Float),
    Column("picture_sha256", String(64)),
    Column("incumbent_heatmap_sha256", String(64)),
    Column("candidate_heatmap_sha256", String(64)),
    Column("right", String(8)),  # `new` or `old`, by a person
    Column("judged_by", String(64), nullable=False),
    Column("judged_s", Float),
    Index("ix_disagreements_rollout", "rollout", "device", "time_s"),
    Index("ix_disagreements_time", "time_s"),
)

pins = Table(
    "pins",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("release", String(96), nullable=False),
    Column("who", String(64), nullable=False),
    Column("why", String(512), nullable=False),
    Column("time_s", Float, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("tag", String(32), primary_key=True),
    Index("ix_tags_tag", "tag"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time_s", Float, nullable=False),
    Column("who", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("detail", JSON, nullable=False),
    Index("ix_audit_time", "time_s"),
)
