"""Opening the database: the engine, SQLite's settings, and the schema brought up to date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from kenpin_controller.errors import StoreError
from kenpin_wire.errors import ConfigError

BUSY_TIMEOUT_S = 15


def open_database(url: str) -> Engine:
    """Connect, and bring the schema to this program's revision.

    SQLite runs in WAL with `synchronous=FULL`: an agent forgets an event once it is acknowledged, so a
    commit must outlive a power cut, and batching keeps commits to a few a second.

    Args:
        url: SQLAlchemy's, such as `sqlite:////var/lib/kenpin/kenpin.db`.

    Raises:
        ConfigError: if the URL cannot be understood.
        StoreError: if the database cannot be opened, or was made by a newer program.
    """
    try:
        engine = create_engine(url)
    except (ArgumentError, ImportError, SQLAlchemyError) as error:
        raise ConfigError(
            f"cannot be used as a database URL ({error})",
            where="--url",
            remedy="Use sqlite:////path/to/kenpin.db, or leave it out.",
        ) from None
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine)
    where = engine.url.render_as_string(hide_password=True)
    try:
        _upgrade(engine, where)
    except SQLAlchemyError as error:
        engine.dispose()
        raise StoreError(
            f"the database cannot be opened ({_first_line(error)})",
            where=where,
            remedy="Check that the folder exists, is writable and has space, and that the file is Kenpin's.",
        ) from None
    return engine


def insert_new(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows; those whose key is there already are left as they are."""
    batch = [dict(row) for row in rows]
    if batch:
        connection.execute(insert(connection, table).on_conflict_do_nothing(), batch)


def upsert(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert a row, or put its values in the place of the one with the same key."""
    keys = [column.name for column in table.primary_key]
    values = {name: value for name, value in row.items() if name not in keys}
    statement = insert(connection, table).values(**row)
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))


def insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """The dialect's own INSERT: both know ON CONFLICT in the same words, the common one does not."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def store_error(error: SQLAlchemyError) -> StoreError:
    """The database's refusal as one line, without SQLAlchemy's statement and link."""
    said = _first_line(error)
    if "full" in said:
        return StoreError(
            "the disk is full", where="store", remedy="Free some space; nothing stored is lost."
        )
    return StoreError(
        f"the database does not answer ({said})",
        where="store",
        remedy="Look at the disk, and at who else has the database open.",
    )


def _first_line(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _set_up_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver opens no transaction of its own; `_begin` does
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A reader that turns writer half-way fails at once with SQLITE_BUSY, whatever the timeout; a writer
        # that says so at its start waits its turn.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _upgrade(engine: Engine, where: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    with engine.execution_options(writes=True).begin() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current is not None and current not in known:
            raise StoreError(
                f"the database was made by a newer program (revision {current})",
                where=where,
                remedy="Update Kenpin on this machine, or point --data at another folder.",
            )
        if current != scripts.get_current_head():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
