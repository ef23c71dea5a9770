"""The tables of the PostgreSQL store, and how those of an earlier schema become them."""

import logging
from typing import Any

import psycopg

from cpppod.workers.historian.stores.store import SchemaError

logger = logging.getLogger(__name__)

SCHEMA = 2
MIGRATION_LOCK = 4481844880  # one historian at a time makes or changes the tables

_TABLES = """
CREATE SCHEMA IF NOT EXISTS history;
CREATE TABLE history.meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE history.gateway (id text PRIMARY KEY, since timestamptz NOT NULL DEFAULT now());
CREATE TABLE history.adoption (
    gateway text NOT NULL, adopted text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE history.publisher (
    id serial PRIMARY KEY, name text NOT NULL, gateway text NOT NULL DEFAULT '',
    UNIQUE (gateway, name));
CREATE TABLE history.tag (
    id serial PRIMARY KEY, device text NOT NULL, group_name text NOT NULL, name text NOT NULL,
    gateway text NOT NULL DEFAULT '', UNIQUE (gateway, device, group_name, name));
CREATE TABLE history.sample (
    tag integer NOT NULL, time timestamptz NOT NULL, number double precision, other jsonb,
    form smallint NOT NULL, quality integer NOT NULL, publisher integer NOT NULL, epoch bigint NOT
    NULL, sequence bigint NOT NULL, gateway_time timestamptz NOT NULL, members integer NOT NULL,
    PRIMARY KEY (tag, time, publisher, epoch, sequence));
CREATE TABLE history.cursor (
    publisher text NOT NULL, segment bigint NOT NULL, "offset" bigint NOT NULL,
    epoch bigint NOT NULL, sequence bigint NOT NULL, gateway_us bigint NOT NULL,
    segment_epoch bigint NOT NULL DEFAULT 0, created_us bigint NOT NULL DEFAULT 0,
    gateway text NOT NULL DEFAULT '', PRIMARY KEY (gateway, publisher));
CREATE TABLE history.gap (
    publisher text NOT NULL, epoch bigint NOT NULL, device text NOT NULL, group_name text NOT NULL,
    first bigint NOT NULL, last bigint NOT NULL, blocks bigint NOT NULL, samples bigint NOT NULL,
    reason text NOT NULL, from_us bigint NOT NULL, to_us bigint NOT NULL,
    gateway text NOT NULL DEFAULT '',
    PRIMARY KEY (gateway, publisher, epoch, device, group_name, first, last, reason));
CREATE TABLE history.quarantine (
    publisher text NOT NULL, epoch bigint NOT NULL, sequence bigint NOT NULL, reason text NOT NULL,
    topic bytea NOT NULL, body bytea NOT NULL, gateway text NOT NULL DEFAULT '',
    PRIMARY KEY (gateway, publisher, epoch, sequence));
CREATE VIEW history.samples AS
    SELECT s.time, t.device, t.name AS tag, s.number AS value, s.other, s.quality, t.group_name,
           p.name AS publisher, s.epoch, s.sequence, s.gateway_time
    FROM history.sample s JOIN history.tag t ON t.id = s.tag
    JOIN history.publisher p ON p.id = s.publisher;
"""
_GATEWAY_VIEW = """
CREATE VIEW history.gateway_samples AS
    SELECT t.gateway, s.time, t.device, t.name AS tag, s.number AS value, s.other, s.quality,
           t.group_name, p.name AS publisher, s.epoch, s.sequence, s.gateway_time
    FROM history.sample s JOIN history.tag t ON t.id = s.tag
    JOIN history.publisher p ON p.id = s.publisher;
"""
_FROM_1 = """
CREATE TABLE history.gateway (id text PRIMARY KEY, since timestamptz NOT NULL DEFAULT now());
CREATE TABLE history.adoption (
    gateway text NOT NULL, adopted text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
ALTER TABLE history.publisher ADD COLUMN gateway text NOT NULL DEFAULT '',
    DROP CONSTRAINT publisher_name_key, ADD UNIQUE (gateway, name);
ALTER TABLE history.tag ADD COLUMN gateway text NOT NULL DEFAULT '',
    DROP CONSTRAINT tag_device_group_name_name_key, ADD UNIQUE (gateway, device, group_name, name);
ALTER TABLE history.cursor ADD COLUMN segment_epoch bigint NOT NULL DEFAULT 0,
    ADD COLUMN created_us bigint NOT NULL DEFAULT 0, ADD COLUMN gateway text NOT NULL DEFAULT '',
    DROP CONSTRAINT cursor_pkey, ADD PRIMARY KEY (gateway, publisher);
ALTER TABLE history.gap ADD COLUMN gateway text NOT NULL DEFAULT '', DROP CONSTRAINT gap_pkey,
    ADD PRIMARY KEY (gateway, publisher, epoch, device, group_name, first, last, reason);
ALTER TABLE history.quarantine ADD COLUMN gateway text NOT NULL DEFAULT '',
    DROP CONSTRAINT quarantine_pkey, ADD PRIMARY KEY (gateway, publisher, epoch, sequence);
"""


def migrate(connection: psycopg.Connection[Any]) -> bool:
    """Make the tables, unless they are there; whether samples are TimescaleDB's hypertable.

    Raises:
        SchemaError: they are a newer version's; nothing is changed.
        psycopg.Error: as it says.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
    found = connection.execute("SELECT to_regclass('history.meta')").fetchone()
    if found is None or found[0] is None:
        connection.execute(_TABLES + _GATEWAY_VIEW)
        connection.execute("INSERT INTO history.meta VALUES ('schema', %s)", (str(SCHEMA),))
    row = connection.execute("SELECT value FROM history.meta WHERE name = 'schema'").fetchone()
    if row is None or int(row[0]) > SCHEMA:
        raise SchemaError(
            f"postgresql: history schema {row and row[0]} is newer than this version's {SCHEMA}"
        )
    if int(row[0]) < SCHEMA:
        connection.execute(_FROM_1 + _GATEWAY_VIEW)
        connection.execute(
            "UPDATE history.meta SET value = %s WHERE name = 'schema'", (str(SCHEMA),)
        )
    connection.commit()
    return make_hypertable(connection)


def make_hypertable(connection: psycopg.Connection[Any]) -> bool:
    """Whether `sample` is a hypertable: made one where the extension can be had."""
    row = connection.execute(
        "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"
    ).fetchone()
    if row is None:
        connection.commit()
        return False
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        connection.execute(
            "SELECT create_hypertable('history.sample', 'time', if_not_exists => true,"
            " migrate_data => true, chunk_time_interval => interval '1 day')"
        )
        connection.commit()
    except psycopg.Error as error:
        connection.rollback()
        logger.warning("no hypertable, a plain table serves error=%s", error)
        return False
    return True
