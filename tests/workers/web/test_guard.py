"""What may come in: hosts, origins, lengths, rates; and how requests that are none are answered."""

import asyncio
from typing import Any

import pytest

from cpppod.workers.web import guard
from cpppod.workers.web.answers import Problem, parsed
from cpppod.workers.web.guard import MAX_BODY, Guard, Rates

Headers = list[tuple[bytes, bytes]]


def ask(
    headers: Headers,
    *,
    method: str = "GET",
    body: list[bytes] | None = None,
    kind: str = "http",
    loopback: bool = True,
    tls: bool = False,
) -> tuple[int, dict[bytes, bytes], bytes]:
    """(status, headers, body) of a request through the guard to an application that echoes."""
    sent: list[dict[str, Any]] = []
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in body or []] + [
        {"type": "http.request", "body": b"", "more_body": False}
    ]

    async def application(scope: Any, receive: Any, send: Any) -> None:
        taken = b""
        while True:
            message = await receive()
            taken += message["body"]
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(len(taken)).encode()})

    async def receive() -> Any:
        return parts.pop(0) if kind == "http" else {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "method": method, "headers": headers, "client": ("127.0.0.1", 5)}
    front = Guard(application, frozenset(("plant",)), loopback=loopback, tls=tls)
    asyncio.run(front(scope, receive, send))
    if kind == "websocket":
        return sent[0]["code"], {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


LOCAL = (b"host", b"127.0.0.1:8880")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8880", "localhost", "LOCALHOST:1", "[::1]:8880", "plant", "plant.:80"]
)
def test_our_own_names_are_served(host: str) -> None:
    assert ask([(b"host", host.encode())])[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8880", "localhost.evil.example", "", "10.0.0.1", "@plant"],
)
def test_a_host_that_is_not_ours_is_misdirected(host: str) -> None:
    assert ask([(b"host", host.encode())])[0] == 421


def test_beyond_loopback_its_names_are_not_ours() -> None:
    assert ask([(b"host", b"localhost:8880")], loopback=False)[0] == 421
    assert ask([(b"host", b"plant:8880")], loopback=False)[0] == 200


def test_two_hosts_are_none() -> None:
    assert ask([LOCAL, (b"host", b"evil.example")])[0] == 421


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8880", 200),
        ("http://127.0.0.1:9", 403),
        ("https://127.0.0.1:8880", 200),  # a proxy speaks TLS for us
        ("ftp://127.0.0.1:8880", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
def test_only_our_own_page_may_change_something(origin: str, status: int) -> None:
    headers = [LOCAL, (b"origin", origin.encode())]
    assert ask(headers, method="POST")[0] == status
    assert ask(headers, method="DELETE")[0] == status
    assert ask(headers)[0] == status  # nor read it, where the browser asks for it


def test_with_tls_a_page_without_is_another_site() -> None:
    headers = [LOCAL, (b"origin", b"http://127.0.0.1:8880")]
    assert ask(headers, method="POST", tls=True)[0] == 403


def test_a_websocket_of_another_site_is_refused() -> None:
    assert ask([LOCAL, (b"origin", b"http://evil.example")], kind="websocket")[0] == 1008


def test_a_browser_that_says_cross_site_is_believed() -> None:
    assert ask([LOCAL, (b"sec-fetch-site", b"cross-site")], method="POST")[0] == 403


def test_two_lengths_are_refused() -> None:
    length = (b"content-length", b"4")
    assert ask([LOCAL, length, length], method="POST")[0] == 400
    assert ask([LOCAL, length, (b"transfer-encoding", b"chunked")], method="POST")[0] == 400


@pytest.mark.parametrize("length", [MAX_BODY + 1, 10**30])
def test_a_claimed_length_beyond_the_limit_is_refused_on_the_head(length: int) -> None:
    headers = [LOCAL, (b"content-length", str(length).encode())]
    assert ask(headers, method="POST")[0] == 413


def test_a_body_without_end_is_cut_off() -> None:
    assert ask([LOCAL], method="POST", body=[b"x" * MAX_BODY])[2] == str(MAX_BODY).encode()
    assert ask([LOCAL], method="POST", body=[b"x" * MAX_BODY, b"x"])[0] == 413


def test_a_slow_body_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.01)

    async def never() -> Any:
        await asyncio.Event().wait()

    async def give_up() -> None:
        with pytest.raises(Problem) as problem:
            await guard._Body(never)()
        assert problem.value.status == 408

    asyncio.run(give_up())


def test_a_defect_costs_its_client_an_answer_alone(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [LOCAL]}
    front = Guard(broken, frozenset(), loopback=True, tls=False)
    asyncio.run(front({**scope, "client": ("127.0.0.1", 1)}, None, send))
    assert sent[0]["status"] == 500
    assert "ZeroDivisionError" in caplog.text and "/x" in caplog.text


def test_the_page_may_load_nothing_from_elsewhere() -> None:
    policy = ask([LOCAL])[1][b"content-security-policy"]
    assert b"default-src 'none'" in policy
    assert b"unsafe" not in policy and b"frame-ancestors 'none'" in policy
    assert ask([(b"host", b"evil")])[1][b"x-content-type-options"] == b"nosniff"


def test_an_address_that_asks_too_often_waits_and_nobody_else_does() -> None:
    rates = Rates(rate=10, burst=3)
    assert [rates.allows("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert rates.allows("b", 0.0)
    assert not rates.allows("a", 0.05)
    assert rates.allows("a", 0.2)


def test_remembered_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_ADDRESSES", 2)
    rates = Rates(rate=0, burst=1)
    for address in "abc":
        rates.allows(address, 0.0)
    assert len(rates._buckets) == 2


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 1_000_000 + b"}",
        b'"\\ud800"',
        b"\xff",
        b"",
    ],
    ids=["NaN", "twice", "nested", "digits", "surrogate", "no UTF-8", "empty"],
)
def test_what_is_no_plain_json_is_refused(text: bytes) -> None:
    with pytest.raises(Problem) as problem:
        parsed(text)
    assert problem.value.status == 400
