"""Reading a PostgreSQL store beside the historian that fills it."""

from collections.abc import Iterator
from typing import Any

import psycopg

from cpppod.workers.historian.stores.postgresql.store import CONNECT_S, value_of
from cpppod.workers.historian.stores.store import (
    NO_GATEWAY,
    Gap,
    Minute,
    Reading,
    Sample,
    StoreError,
    family,
    heirs,
    shared_tags,
)

STATEMENT_S = 60  # a question over years may take this long
ROWS = 5_000  # fetched at a time

_US = "(extract(epoch FROM s.time) * 1000000)::bigint"
_SAMPLES = f"""
SELECT {_US}, number, other, form, quality FROM history.sample s
WHERE tag = ANY(%s)
AND time BETWEEN timestamptz 'epoch' + %s * interval '1 microsecond'
             AND timestamptz 'epoch' + %s * interval '1 microsecond'
"""
_READINGS = f"""
SELECT p.name, s.epoch, s.sequence, t.device, t.group_name, {_US},
       (extract(epoch FROM s.gateway_time) * 1000000)::bigint, 0, s.members,
       t.name, number, other, form, quality, {{gateway}}
FROM history.sample s JOIN history.tag t ON t.id = s.tag
JOIN history.publisher p ON p.id = s.publisher
WHERE {{known}} AND time BETWEEN timestamptz 'epoch' + %s * interval '1 microsecond'
              AND timestamptz 'epoch' + %s * interval '1 microsecond'
ORDER BY s.time, {{gateway}}, p.name, s.epoch, s.sequence, t.id
"""


class PostgresqlReader:
    """The store behind a URL, for questions.

    Args:
        gateway: who asks; None: nobody in particular.
    """

    def __init__(self, url: str, gateway: str | None = None) -> None:
        try:
            self._connection = psycopg.connect(
                url,
                connect_timeout=CONNECT_S,
                options=f"-c statement_timeout={STATEMENT_S * 1000} -c timezone=UTC"
                " -c default_transaction_read_only=on",
            )
            found = self._connection.execute(
                "SELECT to_regclass('history.sample'), to_regclass('history.gateway')"
            ).fetchone()
        except psycopg.Error as error:
            raise _store_error(error) from error
        if found is None or found[0] is None:
            self.close()
            raise StoreError("postgresql: no store of history there")
        self._owned = found[1] is not None  # schema 1 knows no gateways
        self._family: list[str] | None = None
        if gateway is not None and self._owned:
            self._family = sorted(family(gateway, self._links()))

    def _links(self) -> list[tuple[str, str]]:
        return list(self._rows("SELECT gateway, adopted FROM history.adoption", ()))

    def gateways(self) -> list[str]:
        if not self._owned:
            return []
        rows = self._rows("SELECT id FROM history.gateway ORDER BY since", ())
        return heirs([gateway for (gateway,) in rows], self._links())

    def times(self, device: str, tag: str) -> dict[str, tuple[int, int]]:
        gateways = self.gateways()
        if len(gateways) < 2:
            return {}
        found: dict[str, tuple[int, int]] = {}
        us = _US.replace("s.time", "{}(s.time)")
        query = (
            f"SELECT {us.format('min')}, {us.format('max')} FROM history.sample s"
            " WHERE s.tag = ANY(SELECT id FROM history.tag WHERE gateway = ANY(%s)"
            " AND lower(device) = %s AND lower(name) = %s)"
        )
        for gateway in gateways:
            own = sorted(family(gateway, self._links()) - {NO_GATEWAY})
            for first, last in self._rows(query, (own, device.lower(), tag.lower())):
                if first is not None:
                    found[gateway] = (first, last)
        return found

    def shared(self) -> dict[str, list[str]]:
        if len(self.gateways()) < 2:
            return {}
        found: dict[str, set[str]] = {}
        known, values = self._known()
        query = (
            f"SELECT DISTINCT lower(device || '.' || name), gateway FROM history.tag WHERE {known}"
        )
        for tag, gateway in self._rows(query, values):
            found.setdefault(tag, set()).add(gateway)
        return shared_tags(found, self._links())

    def _of(self, table: str = "") -> str:
        """What the gateway of a row is called in a query."""
        return f"{table}gateway" if self._owned else "''"

    def _known(self, table: str = "") -> tuple[str, tuple[Any, ...]]:
        """The condition that a row is of one of the gateways asked for, and its values."""
        if self._family is None:
            return "true", ()
        return f"{self._of(table)} = ANY(%s)", (self._family,)

    def close(self) -> None:
        self._connection.close()

    def _rows(self, query: str, values: tuple[Any, ...]) -> Iterator[Any]:
        try:
            with self._connection.cursor(name="history") as cursor:
                cursor.itersize = ROWS
                cursor.execute(query, values)
                yield from cursor
        except psycopg.Error as error:
            raise _store_error(error) from error
        finally:
            if not self._connection.closed:
                self._connection.rollback()

    def tags(self) -> list[str]:
        known, values = self._known()
        query = f"SELECT DISTINCT device || '.' || name FROM history.tag WHERE {known}"
        return sorted(row[0] for row in self._rows(query, values))

    def _numbers(self, device: str, tag: str) -> list[int]:
        known, values = self._known()
        query = (
            f"SELECT id FROM history.tag WHERE {known} AND lower(device) = %s AND lower(name) = %s"
        )
        return [row[0] for row in self._rows(query, (*values, device.lower(), tag.lower()))]

    def samples(self, device: str, tag: str, since_us: int, until_us: int) -> Iterator[Sample]:
        numbers = self._numbers(device, tag)
        query = f"{_SAMPLES} ORDER BY time, epoch, sequence"
        for row in self._rows(query, (numbers, since_us, _clip(until_us))):
            yield Sample(row[0], value_of(row[1], row[2], row[3]), row[4])

    def last(self, device: str, tag: str, until_us: int) -> Sample | None:
        numbers = self._numbers(device, tag)
        query = f"{_SAMPLES} ORDER BY time DESC, epoch DESC, sequence DESC LIMIT 1"
        for row in self._rows(query, (numbers, 0, _clip(until_us))):
            return Sample(row[0], value_of(row[1], row[2], row[3]), row[4])
        return None

    def gaps(self, device: str, since_us: int, until_us: int) -> list[Gap]:
        known, values = self._known()
        query = (
            f"SELECT * FROM history.gap WHERE {known} AND from_us <= %s AND to_us >= %s"
            " AND (device = %s OR device = '' OR %s = '') ORDER BY from_us"
        )
        values = (*values, until_us, since_us, device, device)
        return [Gap(*row) for row in self._rows(query, values)]

    def minutes(self, device: str, tag: str, since_us: int, until_us: int) -> Iterator[Minute]:
        yield from ()

    def rolled_up(self, since_us: int, until_us: int, *, gone_only: bool) -> list[tuple[int, int]]:
        return []

    def readings(self, since_us: int, until_us: int) -> Iterator[Reading]:
        known, chosen = self._known("t.")
        gateway = self._of("t.")
        query = _READINGS.format(gateway=gateway, known=known)
        key: Any = None
        head: tuple[Any, ...] = ()
        tags: list[str] = []
        values: list[Any] = []
        qualities: list[int] = []
        for row in self._rows(query, (*chosen, since_us, _clip(until_us))):
            if (row[14], *row[:3]) != key:
                if key is not None:
                    yield Reading._make((*head, tags, values, qualities, key[0]))
                key, head, tags, values, qualities = (row[14], *row[:3]), row[:9], [], [], []
            tags.append(row[9])
            values.append(value_of(row[10], row[11], row[12]))
            qualities.append(row[13])
        if key is not None:
            yield Reading._make((*head, tags, values, qualities, key[0]))


def _clip(time_us: int) -> int:
    return min(time_us, 2**53)


def _store_error(error: psycopg.Error) -> StoreError:
    return StoreError(f"postgresql: {str(error).strip().partition(chr(10))[0]}")
