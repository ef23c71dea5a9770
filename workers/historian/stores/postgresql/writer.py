"""Who writes to a PostgreSQL store: an advisory lock for each gateway, held by its connection.

The connection's name says who it is: the server tells it to a second one of that id. One of ours
that was lost without the server's notice has our own name, and is ended.
"""

import hashlib
import logging
import socket
import struct
from typing import Any

import psycopg

from cpppod.workers.historian.stores.store import StoreError, WriterError

logger = logging.getLogger(__name__)

MAX_CONNECTION_NAME = 63  # bytes that the server keeps of it
_HOLDERS = """
    FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
    AND d.datname = current_database() AND l.classid::bigint = %s AND l.objid::bigint = %s
"""
_WHO = """
    SELECT pid, coalesce(a.application_name, '?'), coalesce(host(a.client_addr), 'the server'),
           coalesce(to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS'), '?')
"""


def lock_key(gateway: str) -> tuple[int, int]:
    """The advisory lock of a gateway's id: two signed numbers of 32 bits."""
    high, low = struct.unpack_from(">ii", hashlib.sha256(f"cpppod {gateway}".encode()).digest())
    return high, low


def _unsigned(key: tuple[int, int]) -> tuple[int, int]:
    """The key as the server lists it."""
    return key[0] & 0xFFFF_FFFF, key[1] & 0xFFFF_FFFF


def connection_name(gateway: str, instance: str) -> str:
    """What a writer's connection is called.

    Args:
        instance: the state directory of a machine that runs: another connection that has it is
            one of ours, and lost.
    """
    name = f"cpppod {gateway or 'import'} {instance} {socket.gethostname()}"
    return name.encode("ascii", "replace")[:MAX_CONNECTION_NAME].decode()


def is_alive(connection: psycopg.Connection[Any], gateway: str) -> bool:
    """Whether a gateway writes there now."""
    found = connection.execute(f"SELECT 1 {_HOLDERS}", _unsigned(lock_key(gateway))).fetchone()
    return found is not None


def lock(connection: psycopg.Connection[Any], gateway: str, name: str) -> None:
    """Be the only living gateway of this id.

    Args:
        name: of this connection.

    Raises:
        WriterError: another one of that id is alive; says which.
        StoreError: a lost connection of ours is being ended.
    """
    key = lock_key(gateway)
    query = "SELECT pg_try_advisory_lock(%s, %s)"
    free = connection.execute(query, key).fetchone()
    if not (free and free[0]):
        holders = connection.execute(_WHO + _HOLDERS, _unsigned(key)).fetchall()
        for pid, holder, address, since in holders:
            if holder != name:
                raise WriterError(
                    f"postgresql: another living gateway of the id {gateway} writes"
                    f" there: {holder} at {address} since {since};"
                    " stop it, or give one of them an id of its own ([gateway] id)"
                )
            logger.warning("an old connection of ours is ended pid=%d", pid)
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        raise StoreError("postgresql: an old connection of ours is being ended")
    connection.execute(
        "INSERT INTO history.gateway (id) VALUES (%s) ON CONFLICT DO NOTHING", (gateway,)
    )
    known = connection.execute("SELECT id FROM history.gateway ORDER BY since").fetchall()
    connection.commit()
    logger.info("store opened gateways=%s", ",".join(row[0] for row in known))
