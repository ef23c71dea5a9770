"""The PostgreSQL store: a row per sample, for other programs that query the database.

    history.samples          view   time, device, tag, value, quality ...: what to query
    history.gateway_samples  view   the same with the gateway, where several write here
    history.sample           table  tag, time, number | other, form, quality and the key of the row;
                                    a hypertable with TimescaleDB
    history.tag, .publisher, .cursor, .gap, .quarantine, .gateway, .adoption   tables

Tags, publishers and what follows from them are a gateway's own. A gateway that writes holds an
advisory lock of its id: the second of two gateways with one id (a copied disk) cannot take it. Its
connection is named after it, so that the second learns from the server who holds the lock. A
connection of ours that the server still holds after we lost it is ended by us.

Rows are copied into a staging table and merged from there without duplicates, in one transaction
with the gaps and the cursors. Numbers are double precision; what those cannot say exactly is JSON
in `other`. `form` tells what a value was: 0 a float, 1 an integer, 2 a boolean, 3 see `other`.

The server ends every statement after `STATEMENT_S`. Where the server itself does not answer,
`give_up` (from another thread) cuts the connection.
"""

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors, sql

from cpppod.workers.historian.stores.postgresql import writer
from cpppod.workers.historian.stores.postgresql.schema import migrate
from cpppod.workers.historian.stores.store import (
    Batch,
    Cursor,
    PoisonError,
    Reading,
    Stored,
    StoreError,
    StoreState,
    check_adoption,
)

logger = logging.getLogger(__name__)

CONNECT_S = 5
STATEMENT_S = 5
EXACT = 2**53  # integers from here on are not exact as double precision
CHUNK_ROWS = 2_000  # rows formatted before they are handed to COPY
UPKEEP_S = 60.0  # between looks for samples that are too old
RETENTION_ROWS = 20_000  # rows deleted in one slice of upkeep
JUMP_S = 3_600.0  # a clock that went this much faster than time is not believed when deleting
OPTIONS = (
    f"-c statement_timeout={STATEMENT_S * 1000} -c lock_timeout={STATEMENT_S * 1000}"
    " -c timezone=UTC -c synchronous_commit=on"
    # a connection that broke without a word must not hold its gateway's lock for hours
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3"
)

_STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS staging (
    tag integer, time_us bigint, number double precision, other jsonb, form smallint,
    quality integer, publisher integer, epoch bigint, sequence bigint, gateway_us bigint, members
    integer)
ON COMMIT DELETE ROWS
"""
_MERGE = """
INSERT INTO history.sample
SELECT tag, timestamptz 'epoch' + time_us * interval '1 microsecond', number, other, form,
       quality, publisher, epoch, sequence,
       timestamptz 'epoch' + gateway_us * interval '1 microsecond', members
FROM staging ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class PostgresqlLimits:
    """What a store keeps: samples for `retention_s`; 0 without end."""

    retention_s: float = 0.0


class PostgresqlStore:
    """The store behind a URL; see the module."""

    def __init__(
        self,
        url: str,
        limits: PostgresqlLimits | None = None,
        *,
        gateway: str = "",
        instance: str = "",
    ) -> None:
        self.url = url
        self.limits = limits or PostgresqlLimits()
        self.gateway = gateway
        self._name = writer.connection_name(gateway, instance or str(os.getpid()))
        self._connection: psycopg.Connection[Any] | None = None
        self._publishers: dict[tuple[str, str], int] = {}  # gateway, name
        self._tags: dict[tuple[str, str, str, str], int] = {}  # gateway, device, group, name
        self._hypertable = False
        self._upkeep: tuple[float, int] | None = None

    def open(self) -> dict[str, Cursor]:
        return self.cursors(self.gateway)

    def cursors(self, gateway: str) -> dict[str, Cursor]:
        rows = self._ask(
            'SELECT publisher, segment, "offset", epoch, sequence, gateway_us, segment_epoch,'
            " created_us FROM history.cursor WHERE gateway = %s",
            gateway,
        )
        return {row[0]: Cursor(*row[1:]) for row in rows}

    def gateways(self) -> list[str]:
        return [row[0] for row in self._ask("SELECT id FROM history.gateway ORDER BY since")]

    def adoptions(self) -> list[tuple[str, str]]:
        return self._ask("SELECT gateway, adopted FROM history.adoption")

    def adopt(self, adopted: str, now_us: int) -> None:
        known = self.gateways()
        try:
            alive = writer.is_alive(self._connect(), adopted)
        except psycopg.Error as error:
            raise self._failed(error) from error
        check_adoption(self.gateway, adopted, known, self.adoptions(), alive)
        self._ask(
            "INSERT INTO history.adoption (gateway, adopted) VALUES (%s, %s)"
            " ON CONFLICT DO NOTHING RETURNING 1",
            self.gateway,
            adopted,
        )

    def _ask(self, query: str, *values: Any) -> list[Any]:
        try:
            connection = self._connect()
            rows = connection.execute(query, values).fetchall()
            connection.commit()
        except psycopg.Error as error:
            raise self._failed(error) from error
        return rows

    def close(self) -> None:
        connection, self._connection = self._connection, None
        self._publishers.clear()
        self._tags.clear()
        if connection is not None:
            try:
                connection.close()
            except psycopg.Error:
                pass

    def give_up(self) -> None:
        """Cut the connection under a call that hangs; from any thread."""
        connection = self._connection
        if connection is None:
            return
        try:
            with socket.socket(fileno=socket.dup(connection.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg.Error) as error:
            logger.debug("connection not cut error=%s", error)

    def state(self) -> StoreState:
        return StoreState()

    def _connect(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = psycopg.connect(
                self.url,
                connect_timeout=CONNECT_S,
                options=OPTIONS,
                application_name=self._name,
                keepalives=1,
                keepalives_idle=5,
                keepalives_interval=1,
                keepalives_count=3,
                tcp_user_timeout=CONNECT_S * 1000,
            )
            self._connection.prepare_threshold = None
            try:
                self._hypertable = migrate(self._connection)
                if self.gateway:
                    writer.lock(self._connection, self.gateway, self._name)
                self._connection.execute(_STAGING)
                self._connection.commit()
            except StoreError:
                self.close()
                raise
        return self._connection

    def commit(self, batch: Batch) -> Stored:
        try:
            connection = self._connect()
            stored = self._store(connection, batch)
            connection.commit()
        except errors.DataError as error:
            raise self._poison(batch, error) from error
        except psycopg.Error as error:
            raise self._failed(error) from error
        return stored

    def _store(self, connection: psycopg.Connection[Any], batch: Batch) -> Stored:
        stored = Stored(0, 0)
        with connection.cursor() as cursor:
            if batch.readings:
                self._learn_names(cursor, batch.readings)
                with cursor.copy("COPY staging FROM STDIN") as copy:
                    for rows in self._rows(batch.readings):
                        copy.write(rows)
                cursor.execute(_MERGE)
                samples = batch.samples()
                share = cursor.rowcount / samples if samples else 1.0
                added = round(len(batch.readings) * share)
                stored = Stored(added, len(batch.readings) - added)
                cursor.execute("TRUNCATE staging")
            if batch.gaps:
                cursor.executemany(
                    f"INSERT INTO history.gap VALUES ({_places(12)}) ON CONFLICT DO NOTHING",
                    batch.gaps,
                )
            if batch.quarantined:
                cursor.executemany(
                    f"INSERT INTO history.quarantine VALUES ({_places(7)}) ON CONFLICT DO NOTHING",
                    batch.quarantined,
                )
            if batch.cursors:
                cursor.executemany(
                    f"INSERT INTO history.cursor VALUES ({_places(9)})"
                    " ON CONFLICT (gateway, publisher) DO UPDATE SET segment = EXCLUDED.segment,"
                    ' "offset" = EXCLUDED."offset", epoch = EXCLUDED.epoch,'
                    " sequence = EXCLUDED.sequence, gateway_us = EXCLUDED.gateway_us,"
                    " segment_epoch = EXCLUDED.segment_epoch, created_us = EXCLUDED.created_us",
                    [(publisher, *at, self.gateway) for publisher, at in batch.cursors.items()],
                )
        return stored

    def _learn_names(self, cursor: psycopg.Cursor[Any], readings: list[Reading]) -> None:
        """Give publishers and tags that are new their numbers."""
        found = {(reading.gateway, reading.publisher) for reading in readings}
        publishers = found - self._publishers.keys()
        for names in sorted(publishers):
            cursor.execute(
                "INSERT INTO history.publisher (gateway, name) VALUES (%s, %s)"
                " ON CONFLICT DO NOTHING",
                names,
            )
        gateways = [gateway for gateway, _ in found]
        if publishers:
            cursor.execute(
                "SELECT gateway, name, id FROM history.publisher WHERE gateway = ANY(%s)",
                (gateways,),
            )
            self._publishers |= {row[:2]: row[2] for row in cursor.fetchall()}
        tags = {
            (reading.gateway, reading.device, reading.group, tag)
            for reading in readings
            for tag in reading.tags
        } - self._tags.keys()
        if tags:
            cursor.executemany(
                "INSERT INTO history.tag (gateway, device, group_name, name)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                sorted(tags),
            )
            cursor.execute(
                "SELECT gateway, device, group_name, name, id FROM history.tag"
                " WHERE gateway = ANY(%s)",
                (gateways,),
            )
            self._tags |= {row[:4]: row[4] for row in cursor.fetchall()}

    def _rows(self, readings: list[Reading]) -> Iterator[bytes]:
        """The samples as COPY's text, some thousand rows at a time."""
        lines: list[str] = []
        for reading in readings:
            gateway, qualities = reading.gateway, reading.qualities
            device, group = reading.device, reading.group
            publisher = self._publishers[gateway, reading.publisher]
            same = f"{publisher}\t{reading.epoch}\t{reading.sequence}"
            tail = f"{same}\t{reading.gateway_us}\t{reading.members}\n"
            for at, tag in enumerate(reading.tags):
                quality = qualities if type(qualities) is int else qualities[at]  # type: ignore[index]
                number = self._tags[gateway, device, group, tag]
                value = _column(reading.values[at])
                lines.append(f"{number}\t{reading.source_us}\t{value}\t{quality}\t{tail}")
            if len(lines) >= CHUNK_ROWS:
                yield "".join(lines).encode()
                lines.clear()
        yield "".join(lines).encode()

    def _poison(self, batch: Batch, error: psycopg.Error) -> StoreError:
        """Which readings the server will never take, found by halves; none: it fails otherwise."""
        connection = self._connect()
        connection.rollback()
        found: list[int] = []

        def sift(indices: list[int]) -> None:
            try:
                self._store(connection, Batch([batch.readings[index] for index in indices]))
            except errors.DataError:
                connection.rollback()
                if len(indices) == 1:
                    found.extend(indices)
                    return
                half = len(indices) // 2
                sift(indices[:half])
                sift(indices[half:])
            else:
                connection.rollback()

        try:
            sift(list(range(len(batch.readings))))
        except psycopg.Error as other:
            return self._failed(other)
        self._publishers.clear()  # what was learnt in transactions that were rolled back
        self._tags.clear()
        if not found:
            return self._failed(error)
        return PoisonError(str(error).partition("\n")[0], found)

    def _failed(self, error: psycopg.Error) -> StoreError:
        """The error for the collector; the connection is not used again."""
        self.close()
        full = isinstance(error, errors.DiskFull)
        return StoreError(f"postgresql: {str(error).strip().partition(chr(10))[0]}", full=full)

    def maintain(self, now_us: int) -> bool:
        if not self.limits.retention_s or not self._believes(now_us):
            return False
        before_us = int(now_us - self.limits.retention_s * 1e6)
        before = sql.SQL("timestamptz 'epoch' + {} * interval '1 microsecond'").format(before_us)
        try:
            connection = self._connect()
            if self._hypertable:
                connection.execute(
                    sql.SQL("SELECT drop_chunks('history.sample', {})").format(before)
                )
                connection.commit()
                return False
            deleted = connection.execute(
                sql.SQL(
                    "DELETE FROM history.sample WHERE ctid = ANY(ARRAY("
                    "SELECT ctid FROM history.sample WHERE time < {} LIMIT {}))"
                ).format(before, RETENTION_ROWS)
            ).rowcount
            connection.commit()
        except psycopg.Error as error:
            raise self._failed(error) from error
        return deleted == RETENTION_ROWS

    def _believes(self, now_us: int) -> bool:
        """Whether it is time for upkeep, by a clock that has not jumped."""
        now = time.monotonic()
        if self._upkeep is None:
            self._upkeep = (now, now_us)
            return False
        elapsed, told = now - self._upkeep[0], (now_us - self._upkeep[1]) / 1e6
        if elapsed < UPKEEP_S:
            return False
        self._upkeep = (now, now_us)
        if abs(told - elapsed) > JUMP_S:
            logger.warning("clock jumped, nothing deleted by_s=%.0f", told - elapsed)
            return False
        return True


def _places(count: int) -> str:
    return ", ".join(["%s"] * count)


def _column(value: Any) -> str:
    """Number, other and form of a value, as COPY's text."""
    kind = type(value)
    if kind is float:
        return f"{value!r}\t\\N\t0"
    if kind is int and -EXACT < value < EXACT:
        return f"{value}\t\\N\t1"
    if value is None:
        return "\\N\t\\N\t0"
    if kind is bool:
        return f"{int(value)}\t\\N\t2"
    if kind is bytes:
        value = {"bytes": value.hex()}
    text = json.dumps(value, allow_nan=True).replace("\\", "\\\\")
    return f"\\N\t{text}\t3"


def value_of(number: float | None, other: Any, form: int) -> Any:
    """The value in a row's columns."""
    if form == 3:
        return bytes.fromhex(other["bytes"]) if type(other) is dict else other
    if number is None or form == 0:
        return number
    return bool(number) if form == 2 else int(number)
