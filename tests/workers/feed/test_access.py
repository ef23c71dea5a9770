"""Who may come in from TCP, and how much they may ask for."""

import pathlib

import pytest

from cpppod.protocols.bus.topics import MAX_SUBSCRIPTIONS
from cpppod.workers.bus.zeromq import curve_public_key, new_curve_keys
from cpppod.workers.feed.access import (
    BURST,
    MAX_KNOWN,
    MAX_PEERS,
    REQUESTS_A_S,
    FeedAccess,
    KeyFileError,
    RequestRate,
    read_client_keys,
    read_secret_key,
)
from cpppod.workers.feed.public import read_settings


def secret_file(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "feed.key"
    path.write_bytes(new_curve_keys()[1] + b"\n")
    path.chmod(0o600)
    return path


def test_feed_without_addresses_is_not_on_tcp() -> None:
    assert read_settings({}) is None


def test_loopback_needs_no_keys() -> None:
    settings = read_settings({"publish": "127.0.0.1:1", "request": "127.0.0.1:2"})
    assert settings is not None
    assert settings.secret_key == b""


@pytest.mark.parametrize("lacking", ["secret_key_file", "client_keys_file"])
def test_beyond_loopback_nothing_starts_without_both_key_files(
    tmp_path: pathlib.Path, lacking: str
) -> None:
    clients = tmp_path / "clients"
    clients.write_text("")
    options = {
        "publish": "0.0.0.0:1",
        "request": "127.0.0.1:2",
        "secret_key_file": str(secret_file(tmp_path)),
        "client_keys_file": str(clients),
    }
    assert read_settings(options) is not None
    with pytest.raises(KeyFileError, match="client_keys_file"):
        read_settings({**options, lacking: ""})


def test_secret_key_that_others_may_read_is_refused(tmp_path: pathlib.Path) -> None:
    path = secret_file(tmp_path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_secret_key(path)


@pytest.mark.parametrize("text", [b"", b"short", b"x" * 41, b"\xff" * 40])
def test_what_is_no_secret_key_is_refused(tmp_path: pathlib.Path, text: bytes) -> None:
    path = tmp_path / "feed.key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        read_secret_key(path)


def test_missing_files_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(KeyFileError, match="nothing-here"):
        read_secret_key(tmp_path / "nothing-here")
    with pytest.raises(KeyFileError, match="nothing-here"):
        read_client_keys(tmp_path / "nothing-here")


def test_client_keys_have_names_and_comments(tmp_path: pathlib.Path) -> None:
    first, second = (new_curve_keys()[0].decode() for _ in range(2))
    path = tmp_path / "clients"
    path.write_text(f"# dashboards\n{first} grafana host\n\n{second}\n")
    assert read_client_keys(path) == {first: "grafana host", second: "line 4"}
    path.write_text("not a key\n")
    with pytest.raises(KeyFileError, match="clients:1"):
        read_client_keys(path)


def test_listed_key_has_a_name_and_another_has_none() -> None:
    public, secret = new_curve_keys()
    access = FeedAccess(secret, {public.decode(): "grafana"})
    assert curve_public_key(secret) == public
    assert access.user(public) == "grafana"
    assert access.user(new_curve_keys()[0]) == ""


def test_connections_up_to_the_limit_are_welcome_and_one_more_is_not() -> None:
    access = FeedAccess()
    assert all(access.opened(peer) for peer in range(MAX_PEERS))
    assert not access.opened(MAX_PEERS)
    access.closed(0)
    assert access.opened(MAX_PEERS)
    assert access.turned_away == {"too many connections": 1}


def test_subscriptions_up_to_the_limit_are_taken_and_one_more_is_not() -> None:
    access = FeedAccess()
    access.opened(1)
    assert all(access.may_subscribe(1, b"boiler/") for _ in range(MAX_SUBSCRIPTIONS))
    assert not access.may_subscribe(1, b"boiler/")
    access.unsubscribed(1, b"boiler/")
    assert access.may_subscribe(1, b"boiler/")
    access.opened(2)
    assert access.may_subscribe(2, b"boiler/")


def test_prefix_that_no_topic_has_is_refused() -> None:
    access = FeedAccess()
    access.opened(1)
    assert not access.may_subscribe(1, b"\xff")
    assert not access.may_subscribe(1, b"x" * 97)
    assert access.turned_away == {"prefix that no topic has": 2}


def test_requests_beyond_a_burst_wait_for_their_turn() -> None:
    rate = RequestRate()
    assert all(rate.allows(b"a", 0.0) for _ in range(int(BURST)))
    assert not rate.allows(b"a", 0.0)
    assert rate.allows(b"b", 0.0)
    assert sum(rate.allows(b"a", 1.0) for _ in range(100)) == int(REQUESTS_A_S)


def test_rates_are_remembered_of_so_many_peers_only() -> None:
    rate = RequestRate()
    for number in range(MAX_KNOWN + 10):
        rate.allows(number.to_bytes(4, "big"), 0.0)
    assert len(rate._known) == MAX_KNOWN
