"""Users, tokens, sessions, and how long a guesser waits."""

import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cpppod.workers.rights import Right
from cpppod.workers.state import StateDirectory, put_aside_below
from cpppod.workers.web.access import (
    MAX_TOKENS,
    SESSION_S,
    Access,
    AccessError,
    Failures,
    Users,
)

GOOD = "a good password"
ANNA = '{"users": {"anna": {"role": %s, "salt": %s, "n": %d, "r": 8, "p": 1, "hash": ""}}}'


def at_once(write: Callable[[], object]) -> None:
    write()


@pytest.fixture
def users(tmp_path: Path) -> Users:
    found = Users(tmp_path / "users.json")
    found.set("anna", password=GOOD, role="operator", new=True)
    return found


def access(folder: Path, users: Users | None = None) -> Access:
    found = Access(StateDirectory(folder), users, at_once)
    found.load()
    return found


def test_a_user_has_the_right_of_his_role_with_his_password_alone(users: Users) -> None:
    assert users.check("anna", GOOD) is Right.OPERATOR
    assert users.check("anna", "another") is Right.NONE
    assert users.check("otto", GOOD) is Right.NONE
    assert users.check("anna", "") is Right.NONE
    assert users.check("anna", "\ud800") is users.check("\ud800", GOOD) is Right.NONE


def test_passwords_are_not_in_the_file_which_is_ours_alone(users: Users) -> None:
    assert GOOD not in users.path.read_text()
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600


def test_users_are_added_changed_and_removed(users: Users) -> None:
    users.set("anna", role="engineer")
    assert users.check("anna", GOOD) is Right.ENGINEER
    users.set("anna", password="another one")
    assert users.check("anna", GOOD) is Right.NONE
    assert users.all() == {"anna": "engineer"}
    users.remove("anna")
    assert users.all() == {}


@pytest.mark.parametrize(
    ("name", "password", "role", "new", "why"),
    [
        ("an na", GOOD, "viewer", True, "letters"),
        ("anna", GOOD, "viewer", True, "one already"),
        ("otto", GOOD, "viewer", False, "no such user"),
        ("otto", "short", "viewer", True, "8 to 200"),
        ("otto", "", "viewer", True, "8 to 200"),
        ("otto", GOOD, "king", True, "expected one of viewer"),
    ],
)
def test_what_is_wrong_with_a_user_is_said(
    users: Users, name: str, password: str, role: str, new: bool, why: str
) -> None:
    with pytest.raises(AccessError, match=why):
        users.set(name, password=password, role=role, new=new)


def test_a_file_that_somebody_changed_is_read_again(users: Users) -> None:
    told = json.loads(users.path.read_text())
    told["users"]["anna"]["role"] = "viewer"
    users.path.write_text(json.dumps(told))
    assert users.check("anna", GOOD) is Right.VIEWER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"users": {"anna": {}}}',
        '{"users": 1}',
        '{"users": {"anna": 1}}',
        "[" * 100_000,
        ANNA % ('"king"', '"00"', 16384),
        ANNA % ('"viewer"', "7", 16384),
        ANNA % ('"viewer"', '"xy"', 16384),
        ANNA % ('"viewer"', '"00"', 16383),
        ANNA % ('"viewer"', '"00"', 2**70),
    ],
)
def test_a_damaged_file_is_an_error_and_lets_nobody_in(users: Users, text: str) -> None:
    users.path.write_text(text)
    with pytest.raises(AccessError, match=r"users\.json"):
        users.check("anna", GOOD)


def test_a_session_lasts_a_shift_and_over_a_restart(tmp_path: Path, users: Users) -> None:
    identity, visitor = access(tmp_path, users).begin("anna", Right.OPERATOR, 100.0)
    after = access(tmp_path, users)
    assert after.by_session(identity, 101.0) == visitor
    assert after.by_session(identity, 100.0 + SESSION_S) is None
    assert after.by_session("guessed", 101.0) is None
    kept = (tmp_path / "web" / "access.json").read_text()
    assert identity not in kept


def test_a_session_follows_the_role_of_its_user_and_ends_with_him(
    tmp_path: Path, users: Users
) -> None:
    found = access(tmp_path, users)
    identity, _ = found.begin("anna", Right.OPERATOR, 0.0)
    users.set("anna", role="viewer")
    seen = found.by_session(identity, 1.0)
    assert seen is not None and seen.right is Right.VIEWER
    users.remove("anna")
    assert found.by_session(identity, 1.0) is None


def test_who_logs_out_is_out(tmp_path: Path) -> None:
    found = access(tmp_path)
    identity, visitor = found.begin("token:x", Right.ENGINEER, 0.0)
    found.end(visitor.session)
    assert found.by_session(identity, 1.0) is None


def test_a_token_that_works_once_makes_one_session_and_no_request(tmp_path: Path) -> None:
    found = access(tmp_path)
    token = found.new_token("engineer", "demo", once=True, now=0.0)
    assert found.by_token(token, 1.0) is None
    spent = found.by_token(token, 1.0, spend=True)
    assert spent is not None and spent.right is Right.ENGINEER
    assert found.by_token(token, 1.0, spend=True) is None


def test_a_token_works_until_it_is_over_and_is_kept_as_a_digest(tmp_path: Path) -> None:
    token = access(tmp_path).new_token("operator", "script", now=0.0)
    found = access(tmp_path)
    seen = found.by_token(token, 1.0)
    assert seen is not None and (seen.user, seen.right) == ("token:script", Right.OPERATOR)
    assert found.by_token(token, 1e9) is None
    assert found.by_token(token + "x", 1.0) is None
    assert token not in (tmp_path / "web" / "access.json").read_text()


def test_who_may_make_viewers_tokens_alone_hinders_nobody_else(tmp_path: Path) -> None:
    found = access(tmp_path)
    for number in range(MAX_TOKENS):
        found.new_token("viewer", f"v{number}", now=0.0)
    with pytest.raises(AccessError, match="256 viewer tokens"):
        found.new_token("viewer", "one more", now=0.0)
    assert found.new_token("engineer", "page", now=0.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        '{"tokens": [1], "sessions": {}}',
        '{"tokens": {"%s": {}}, "sessions": {}}',
        '{"tokens": {"%s": 1}, "sessions": {"%s": null}}',
        '{"tokens": {"%s": {"role": "viewer", "name": "x", "once": false, "until": "long"}},'
        ' "sessions": {}}',
        '{"tokens": {}, "sessions": {"%s": {"user": "token:x", "role": "king", "csrf": "",'
        ' "until": 9e9}}}',
    ],
)
def test_a_damaged_state_is_put_aside_and_logs_everybody_out(tmp_path: Path, text: str) -> None:
    key = hashlib.sha256(b"any").hexdigest()
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "access.json").write_text(text.replace("%s", key))
    found = access(tmp_path)
    assert found.by_session("any", 0.0) is found.by_token("any", 0.0) is None
    assert len(put_aside_below(tmp_path)) == 1
    token = found.new_token("viewer", "script", now=0.0)
    assert access(tmp_path).by_token(token, 1.0) is not None
    assert found.by_token("\ud800", 1.0) is found.by_session("\ud800", 1.0) is None


def test_after_five_wrong_passwords_that_user_waits_from_that_address_alone() -> None:
    failures = Failures()
    for _ in range(5):
        assert failures.wait_s("anna", "a", 10.0) == 0
        failures.failed("anna", "a", 10.0)
    assert failures.wait_s("anna", "a", 10.0) == 2
    assert failures.wait_s("anna", "b", 10.0) == 0
    assert failures.wait_s("otto", "a", 10.0) == 0
    assert failures.wait_s("anna", "a", 12.0) == 0
    for _ in range(20):
        failures.failed("anna", "a", 10.0)
    assert failures.wait_s("anna", "a", 10.0) == 60
    failures.succeeded("anna", "a")
    assert failures.wait_s("anna", "a", 10.0) == 0
