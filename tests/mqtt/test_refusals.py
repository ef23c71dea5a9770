"""What a real broker refuses is said in words, and nothing is lost meanwhile: mosquitto."""

import json
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Broker, Ear
from tests.certificates import Authority
from tests.gateway.running import RunningGateway, counting_gateway, counting_plant, eventually

PLANT = counting_plant(
    "plant1",
    "gw-1",
    'name = "words", address = "40002", type = "UINT", length = 18',
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cpppod-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def plant() -> Iterator[RunningGateway]:
    with counting_gateway(PLANT) as gateway:
        yield gateway


def set_section(plant: RunningGateway, broker: Broker, more: str = "", name: str = "plant") -> None:
    """One `[[mqtt]]` for this broker, put in force."""
    text = plant.configuration.read_text().partition("\n[[mqtt]]")[0]
    section = f'\n[[mqtt]]\nname = "{name}"\naddress = "{broker.address}"\n{more}'
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


def sequences(ear: Ear) -> list[int]:
    told = [json.loads(payload) for topic, payload, _ in ear.messages if "boiler" in topic]
    return sorted({each["sequence"] for each in told})


@pytest.mark.parametrize("queue", [0, 1_000])  # by 0, mosquitto 2.0.11 closes after a refusal
def test_a_refused_topic_is_said_and_nothing_moves_past_it(
    plant: RunningGateway, folder: Path, queue: int
) -> None:
    rights = folder / "rights"
    rights.write_text("topic read #\ntopic write cpppod/plant1/-/status\n")
    settings = f"allow_anonymous true\nacl_file {rights}\nmax_queued_messages {queue}\n"
    broker = Broker(folder, settings).start()
    try:
        set_section(plant, broker, name=f"plant{queue}")
        error = says(plant, "refuses")
        assert "cpppod/plant1/boiler/fast" in error and "authorized" in error.lower()
        assert row(plant)["sent"] == 0
        ear = Ear(broker.address, "cpppod/#")
        allowed_us = time.time_ns() // 1000
        rights.write_text("topic readwrite #\n")
        broker.tell(signal.SIGHUP)  # it reads its files again
        ear.wait(lambda _: len(sequences(ear)) > 30)
        found = sequences(ear)
        assert found == list(range(found[0], found[0] + len(found)))
        first = next(json.loads(data) for topic, data, _ in ear.messages if "boiler" in topic)
        assert first["gateway_us"] < allowed_us  # the journal kept it
        ear.close()
    finally:
        broker.kill()


@pytest.mark.parametrize("form", ["json", "sparkplug"])
def test_a_broker_of_small_packets_gets_all_in_parts(
    plant: RunningGateway, folder: Path, form: str
) -> None:
    broker = Broker(folder, "allow_anonymous true\nmax_packet_size 400\n").start()
    try:
        ear = Ear(broker.address, "cpppod/#", "spBv1.0/#")
        set_section(plant, broker, f'format = "{form}"\narrays = true\n')
        since = eventually(lambda: row(plant)["connected_us"])
        eventually(lambda: row(plant)["sent"] > 60)
        assert row(plant)["connected_us"] == since and not row(plant)["error"]
        if form == "json":
            ear.wait(lambda _: len(sequences(ear)) > 30)
            found = sequences(ear)
            assert found == list(range(found[0], found[-1] + 1))
        ear.close()
    finally:
        broker.kill()


def test_a_certificate_is_checked_shown_and_renewed(
    plant: RunningGateway, folder: Path, authority: Authority
) -> None:
    expired, key = authority.issue("expired", days=0)
    mine, my_key = authority.issue("gateway")
    own = f'cert_file = "{mine}"\nkey_file = "{my_key}"\n'
    trust = f'timeout = "3s"\ntls = true\nca_file = "{authority.file}"\n'
    server = folder / "server.pem"
    server_key = folder / "server.key"
    server.write_bytes(expired.read_bytes())
    server_key.write_bytes(key.read_bytes())
    settings = (
        f"allow_anonymous true\ncafile {authority.file}\ncertfile {server}\nkeyfile {server_key}\n"
        "require_certificate true\n"
    )
    broker = Broker(folder, settings).start()
    try:
        set_section(plant, broker, trust + own)
        says(plant, "certificate has expired")
        good, key = authority.issue("broker")
        server.write_bytes(good.read_bytes())
        server_key.write_bytes(key.read_bytes())
        broker.kill()
        broker.start()
        set_section(plant, broker, trust)
        says(plant, "certificate?")  # by TLS 1.3 a client hears nothing of it
        set_section(plant, broker, trust + own)
        eventually(lambda: row(plant)["connected_us"] and row(plant)["sent"] > 10)
        set_section(plant, broker)  # without encryption
        eventually(lambda: row(plant)["error"] and not row(plant)["connected_us"])
    finally:
        broker.kill()


def test_a_wrong_password_is_said(plant: RunningGateway, folder: Path) -> None:
    broker = Broker(folder, "allow_anonymous false\n").start()
    secret = folder / "secret"
    secret.write_text("wrong\n")
    try:
        set_section(plant, broker, f'user = "gw"\npassword_file = "{secret}"\n')
        says(plant, "uthoriz")
    finally:
        broker.kill()


def test_what_the_broker_drops_for_an_absent_subscriber_is_said(
    plant: RunningGateway, folder: Path
) -> None:
    broker = Broker(folder, "allow_anonymous true\nmax_queued_messages 10\n").start()
    try:
        Ear(broker.address, "cpppod/#", name="absent").close()  # its session stays
        set_section(plant, broker)
        eventually(lambda: row(plant).get("dropped_by_broker", -1) > 0)
        assert not row(plant)["error"]
    finally:
        broker.kill()
