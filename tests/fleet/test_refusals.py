"""What a real NATS server refuses is said in words; its limits cut blocks; users see their own."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import Error

from tests.certificates import Authority
from tests.fleet.test_fleet import in_stream, is_whole
from tests.gateway.running import RunningGateway, counting_gateway, counting_plant, eventually
from tests.nats_server import NatsServer

PLANT = counting_plant(
    "gw1",
    "gw-1",
    'name = "words", address = "40001", type = "UINT", length = 20, word_order = "little"',
)
SITE = "north"
USERS = """\
authorization {
  users = [
    { user: gw1, password: one, permissions: {
        publish: [
          "cpppod.v1.h.north.gw1.>", "cpppod.v1.live.north.gw1.>",
          "$JS.API.STREAM.INFO.H_north",
          "$JS.API.CONSUMER.CREATE.H_north.gw1.cpppod.v1.h.north.gw1.>",
          "$JS.API.CONSUMER.MSG.NEXT.H_north.gw1", "$JS.API.CONSUMER.DELETE.H_north.gw1",
          "$KV.cpppod_lease.north.gw1", "$KV.cpppod_told.north.gw1",
          "$JS.API.STREAM.INFO.KV_cpppod_lease", "$JS.API.STREAM.INFO.KV_cpppod_told",
          "$JS.API.CONSUMER.CREATE.KV_cpppod_lease.gw1.$KV.cpppod_lease.north.gw1",
          "$JS.API.CONSUMER.MSG.NEXT.KV_cpppod_lease.gw1",
          "$JS.API.CONSUMER.DELETE.KV_cpppod_lease.gw1" ]
        subscribe: ["_INBOX_gw1.>", "cpppod.v1.ask.north.gw1.>"]
        allow_responses: true } }
    { user: owner, password: all }
  ]
}
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cpppod-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def plant() -> Iterator[RunningGateway]:
    with counting_gateway(PLANT) as gateway:
        yield gateway


def server(folder: Path, name: str, more: str = "") -> NatsServer:
    own = folder / name
    own.mkdir()
    return NatsServer(own, more).start()


def set_section(plant: RunningGateway, hub: NatsServer, more: str = "") -> None:
    """`[fleet]` for this server, put in force."""
    text = plant.configuration.read_text().partition("\n[fleet]")[0]
    section = f'\n[fleet]\nsite = "{SITE}"\nservers = ["{hub.url}"]\n{more}'
    plant.configuration.write_text(text + section)
    plant.ask("reload")


def row(plant: RunningGateway) -> dict[str, Any]:
    rows = plant.ask("outlets")["outlets"]
    return dict(rows[0]) if rows and "error" in rows[0] else {"error": "", "connected_us": 0}


def says(plant: RunningGateway, words: str) -> str:
    return str(
        eventually(
            lambda: words in row(plant)["error"] and row(plant)["error"], say=lambda: row(plant)
        )
    )


def test_blocks_larger_than_the_servers_limit_come_in_parts_and_none_is_missing(
    plant: RunningGateway, folder: Path
) -> None:
    hub = server(folder, "small", "max_payload: 1600\n")
    try:
        set_section(plant, hub)
        eventually(lambda: row(plant).get("sent", 0) > 40)
        assert not row(plant)["error"]

        async def look(client: Client) -> list[int]:
            subscription = await client.subscribe("cpppod.v1.live.>")
            return [len((await subscription.next_msg(timeout=20)).data) for _ in range(5)]

        assert max(hub.with_client(look)) <= 576
        assert is_whole([sequence for _, sequence in in_stream(hub)])
    finally:
        hub.kill()


def test_a_wrong_password_and_then_the_right_one(plant: RunningGateway, folder: Path) -> None:
    hub = server(folder, "users", USERS)
    secret = folder / "secret"
    secret.write_text("wrong\n")
    who = f'user = "gw1"\npassword_file = "{secret}"\ninbox = "_INBOX_gw1"\n'
    who += "make_stream = false\nown_reads = true\n"
    owner = {"user": "owner", "password": "all"}
    try:
        set_section(plant, hub, who)
        says(plant, "refuses this user")
        secret.write_text("one\n")
        set_section(plant, hub, who)
        says(plant, "")

        async def make(client: Client) -> None:
            stream = client.jetstream()
            await stream.add_stream(
                name="H_north", subjects=["cpppod.v1.h.north.>"], allow_atomic=True
            )
            await stream.create_key_value(bucket="cpppod_lease", ttl=5)
            await stream.create_key_value(bucket="cpppod_told", ttl=30)
            await stream.publish("cpppod.v1.h.north.gw2.p.d.g", b"another's")

        hub.with_client(make, **owner)
        set_section(plant, hub, who)
        eventually(lambda: row(plant)["connected_us"] and row(plant)["sent"] > 20)
        hub.kill()
        hub.start()
        before = row(plant)["sent"]
        eventually(lambda: row(plant)["connected_us"] and row(plant)["sent"] > before + 20)
        assert not row(plant)["error"]

        async def trespass(client: Client) -> list[str]:
            done = []
            asked = {
                "$JS.API.STREAM.MSG.GET.H_north": {"last_by_subj": "cpppod.v1.h.north.gw2.>"},
                "$JS.API.CONSUMER.CREATE.H_north.gw1.cpppod.v1.h.north.gw2.>": {
                    "stream_name": "H_north",
                    "config": {"name": "gw1", "filter_subject": "cpppod.v1.h.north.gw2.>"},
                },
                "$JS.API.CONSUMER.CREATE.H_north.gw1.cpppod.v1.h.north.gw1.>": {
                    "stream_name": "H_north",
                    "config": {"name": "gw1", "filter_subject": "cpppod.v1.h.north.gw2.>"},
                },
                "$JS.API.STREAM.DELETE.H_north": {},
                "$JS.API.STREAM.PURGE.H_north": {},
                "$KV.cpppod_lease.north.gw2": {},
                "cpppod.v1.h.north.gw2.p.d.g": {},
            }
            for subject, wanted in asked.items():
                try:
                    answer = await client.request(subject, json.dumps(wanted).encode(), timeout=0.5)
                    if "error" not in json.loads(answer.data):
                        done.append(subject)
                except (Error, TimeoutError):
                    pass
            heard = await client.subscribe("cpppod.v1.live.>")
            try:
                await heard.next_msg(timeout=0.5)
                done.append("listened")
            except (Error, TimeoutError):
                pass
            return done

        as_gateway = {"user": "gw1", "password": "one", "inbox_prefix": "_INBOX_gw1"}
        assert hub.with_client(trespass, error_cb=_nothing, **as_gateway) == []
    finally:
        hub.kill()


async def _nothing(_: Exception) -> None:
    await asyncio.sleep(0)


def test_certificates_are_checked_shown_and_renewed(plant: RunningGateway, folder: Path) -> None:
    authority = Authority(folder)
    expired, key = authority.issue("expired", days=0)
    mine, my_key = authority.issue("gateway")
    trust = f'tls = true\nca_file = "{authority.file}"\n'
    own = f'cert_file = "{mine}"\nkey_file = "{my_key}"\n'
    shown, shown_key = folder / "server.pem", folder / "server.key"
    shown.write_bytes(expired.read_bytes())
    shown_key.write_bytes(key.read_bytes())
    files = f'cert_file: "{shown}", key_file: "{shown_key}", ca_file: "{authority.file}"'
    hub = server(folder, "tls", f"tls {{ {files}, verify: true }}\n")
    plain = server(folder, "plain")
    try:
        set_section(plant, plain, trust)
        says(plant, "does not encrypt")
        set_section(plant, hub, trust + own)
        says(plant, "certificate has expired")
        good, key = authority.issue("hub")
        shown.write_bytes(good.read_bytes())
        shown_key.write_bytes(key.read_bytes())
        hub.kill()
        hub.start()
        set_section(plant, hub, trust)
        says(plant, "certificate required")
        set_section(plant, hub, trust + own)
        eventually(lambda: row(plant)["connected_us"] and row(plant)["sent"] > 20)
    finally:
        hub.kill()
        plain.kill()


def test_a_full_stream_and_a_stream_without_batches_are_told_apart(
    plant: RunningGateway, folder: Path
) -> None:
    hub = server(folder, "full")

    async def make(client: Client) -> None:
        await client.jetstream().add_stream(
            name="H_north", subjects=["cpppod.v1.h.north.>"], max_msgs=1, discard="new"
        )

    async def allow(client: Client) -> None:
        stream = client.jetstream()
        settings = (await stream.stream_info("H_north")).config
        settings.allow_atomic = True
        await stream.update_stream(settings)

    async def make_room(client: Client) -> None:
        stream = client.jetstream()
        settings = (await stream.stream_info("H_north")).config
        settings.max_msgs = 100_000
        await stream.update_stream(settings)

    try:
        hub.with_client(make)
        set_section(plant, hub)
        says(plant, "allow_atomic")
        hub.with_client(allow)
        set_section(plant, hub)
        says(plant, "full by its limits")
        hub.with_client(make_room)
        set_section(plant, hub)
        eventually(lambda: row(plant)["connected_us"] and row(plant)["sent"] > 40)
        assert is_whole([sequence for _, sequence in in_stream(hub)])
    finally:
        hub.kill()
