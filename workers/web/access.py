"""Who is who on the web: users with passwords, tokens, sessions; wrong guesses wait.

    users     [web] users_file         {"users": {name: {"role", "salt", "hash", "n", "r", "p"}}}
    tokens    state/web/access.json    {sha256(token): {"role", "name", "once", "until"}}
    sessions  state/web/access.json    {sha256(id): {"user", "role", "csrf", "until"}}

Passwords are kept as scrypt has them, tokens and sessions by their digests: who reads the files
cannot log in by them. Without a users file everybody on loopback is a viewer.
"""

import contextlib
import hashlib
import hmac
import json
import math
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpppod.workers.rights import RIGHTS, Right
from cpppod.workers.state import UNREADABLE, StateDirectory

SCRYPT = {"n": 1 << 14, "r": 8, "p": 1}  # 16 MB and about 50 ms a guess
USER_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,40}")
PASSWORD_LENGTH = (8, 200)  # characters, least and most
SESSION_S = 12 * 3600.0  # a shift, with its hand-over
TOKEN_S = 90 * 86_400.0
MAX_SESSIONS = 256  # of all; the oldest goes
MAX_TOKENS = 256  # of a role: who may have the least of them hinders nobody else
FREE_FAILURES = 5  # wrong passwords before waiting begins
LONGEST_WAIT_S = 60.0
MAX_WATCHED = 4_096  # (user, address) pairs with failures
NOBODY = "nobody"
NAME = "web/access.json"  # in the state directory
_USER = {"role": str, "salt": str, "hash": str, "n": int, "r": int, "p": int}
_TOKEN = {"role": str, "name": str, "once": bool, "until": float}
_SESSION = {"role": str, "user": str, "csrf": str, "until": float}


class AccessError(ValueError):
    """A user, password, role or file is not as it must be; the text says how."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who makes a request.

    Attributes:
        user: his name, or that of his token.
        csrf: what his page must send with each change; "" where a bearer token does.
        session: digest of his session, "" without one.
    """

    user: str
    right: Right
    csrf: str = ""
    session: str = ""


class Users:
    """The users in a file, read anew when it has changed; every method may block.

    Raises:
        AccessError: from all of them, where the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] = (-1, -1)
        self._users: dict[str, dict[str, Any]] = {}

    def all(self) -> dict[str, str]:
        """Name -> role."""
        self._read()
        return {name: str(user["role"]) for name, user in sorted(self._users.items())}

    def role(self, name: str) -> Right:
        """The right of a user as last read; NONE for one who is gone."""
        user = self._users.get(name)
        return RIGHTS.get(str(user["role"]), Right.NONE) if user else Right.NONE

    def check(self, name: str, password: str) -> Right:
        """The user's right, NONE where name or password is wrong; takes as long for either.

        Raises:
            AccessError: the file cannot be used, or not what it has of that user.
        """
        self._read()
        user = self._users.get(name)
        known = user or {"salt": "00" * 16, "hash": "", **SCRYPT}
        try:
            found = _scrypt(password, bytes.fromhex(known["salt"]), known)
        except (ValueError, TypeError, OverflowError) as error:  # what scrypt does not take
            raise AccessError(f"{self.path}: {name:.40}: {error}") from None
        right = hmac.compare_digest(found.encode(), str(known["hash"]).encode())
        return self.role(name) if user and right else Right.NONE

    def set(self, name: str, *, password: str = "", role: str = "", new: bool = False) -> None:
        """Add a user, or give one another password or role.

        Raises:
            AccessError: it cannot be; the text says why.
        """
        self._read()
        if not USER_NAME.fullmatch(name):
            raise AccessError(f"{name[:40]!r}: expected 1 to 40 letters, digits and _.@-")
        if new == (name in self._users):
            raise AccessError(f"{name}: there is {'one already' if new else 'no such user'}")
        if role and role not in RIGHTS:
            raise AccessError(f"{role[:40]!r}: expected one of {', '.join(RIGHTS)}")
        user = dict(self._users.get(name, {"role": "viewer"}))
        if role:
            user["role"] = role
        if password or new:
            low, high = PASSWORD_LENGTH
            if not low <= len(password) <= high:
                raise AccessError(f"password: expected {low} to {high} characters")
            salt = secrets.token_bytes(16)
            user |= {"salt": salt.hex(), "hash": _scrypt(password, salt, SCRYPT), **SCRYPT}
        self._write({**self._users, name: user})

    def remove(self, name: str) -> None:
        """Take a user out; his sessions end with him.

        Raises:
            AccessError: it cannot be; the text says why.
        """
        self._read()
        if name not in self._users:
            raise AccessError(f"{name[:40]}: there is no such user")
        self._write({each: user for each, user in self._users.items() if each != name})

    def _read(self) -> None:
        try:
            stat = self.path.stat()
            if (stamp := (stat.st_mtime_ns, stat.st_size)) == self._seen:
                return
            told = json.loads(self.path.read_text("utf-8"))
            users = dict(told["users"])
            if wrong := [name for name, user in users.items() if not _is_of(_USER, user)]:
                raise AccessError(f"{self.path}: {wrong[0]:.40}: not what a user has")
        except FileNotFoundError:
            self._users, self._seen = {}, (-1, -1)
            return
        except AccessError:
            raise
        except (OSError, *UNREADABLE) as error:
            raise AccessError(f"{self.path}: {error}") from None
        self._users, self._seen = users, stamp

    def _write(self, users: dict[str, dict[str, Any]]) -> None:
        write_privately(self.path, {"version": 1, "users": users})
        self._read()


class Access:
    """Tokens and sessions of one web worker.

    Args:
        save: has a function that may block done soon, in order.
    """

    def __init__(
        self,
        state: StateDirectory,
        users: Users | None,
        save: Callable[[Callable[[], object]], None],
    ) -> None:
        self.users = users
        self._state = state
        self._save = save
        self._tokens: dict[str, dict[str, Any]] = {}
        self._sessions: dict[str, dict[str, Any]] = {}

    def load(self) -> None:
        """What was there before a restart; a file that cannot be used logs everybody out."""
        self._tokens, self._sessions = self._state.read(NAME, _kept_of) or ({}, {})
        self.read_users()

    def read_users(self) -> None:
        """Take note of users that somebody changed; may block."""
        if self.users is not None:
            with contextlib.suppress(AccessError):  # who logs in will be told
                self.users.all()

    def new_token(self, role: str, name: str, *, once: bool = False, now: float) -> str:
        """A token for `role`; with `once` it makes one session and is gone.

        Raises:
            AccessError: there is no such role, or too many tokens.
        """
        if role not in RIGHTS:
            raise AccessError(f"{role[:40]!r}: expected one of {', '.join(RIGHTS)}")
        self._tokens = {key: each for key, each in self._tokens.items() if each["until"] > now}
        if sum(each["role"] == role for each in self._tokens.values()) >= MAX_TOKENS:
            raise AccessError(
                f"there are {MAX_TOKENS} {role} tokens already; they end after 90 days"
            )
        token = secrets.token_urlsafe(24)
        until = now + TOKEN_S
        self._tokens[_digest(token)] = {"role": role, "name": name, "once": once, "until": until}
        self._keep()
        return token

    def by_token(self, token: str, now: float, *, spend: bool = False) -> Visitor | None:
        """Who has this token; one that works once does so only where it is spent for a session."""
        found = self._tokens.get(_digest(token))
        if found is None or found["until"] <= now or (found["once"] and not spend):
            return None
        if found["once"]:
            del self._tokens[_digest(token)]
        return Visitor(f"token:{found['name']}", RIGHTS[found["role"]])

    def begin(self, user: str, right: Right, now: float) -> tuple[str, Visitor]:
        """A new session: (what its cookie holds, who it is)."""
        identity, csrf = secrets.token_urlsafe(24), secrets.token_urlsafe(18)
        live = {key: each for key, each in self._sessions.items() if each["until"] > now}
        for key in list(live)[: max(0, len(live) - MAX_SESSIONS + 1)]:
            del live[key]
        self._sessions = live
        live[_digest(identity)] = {
            "user": user,
            "role": right.name.lower(),
            "csrf": csrf,
            "until": now + SESSION_S,
        }
        self._keep()
        return identity, Visitor(user, right, csrf, _digest(identity))

    def by_session(self, identity: str, now: float) -> Visitor | None:
        """Whose session this is; that of a user who is gone, or is another now, is over."""
        key = _digest(identity)
        found = self._sessions.get(key)
        if found is None or found["until"] <= now:
            return None
        user, right = str(found["user"]), RIGHTS[found["role"]]
        if not user.startswith("token:"):
            right = self.users.role(user) if self.users else Right.NONE
        return Visitor(user, right, str(found["csrf"]), key) if right else None

    def end(self, session: str) -> None:
        """Log out."""
        if self._sessions.pop(session, None) is not None:
            self._keep()

    def _keep(self) -> None:
        told = json.dumps({"tokens": self._tokens, "sessions": self._sessions}).encode()
        self._save(lambda: self._state.write(NAME, told))


class Failures:
    """Wrong passwords: after `FREE_FAILURES` that user waits, from that address alone."""

    def __init__(self) -> None:
        self._failed: dict[tuple[str, str], tuple[int, float]] = {}

    def wait_s(self, user: str, address: str, now: float) -> int:
        """Seconds until the next try is looked at, 0 for at once."""
        count, at = self._failed.get((user, address), (0, 0.0))
        if count < FREE_FAILURES:
            return 0
        wait = min(2.0 ** (count - FREE_FAILURES + 1), LONGEST_WAIT_S)
        return max(0, math.ceil(at + wait - now))

    def failed(self, user: str, address: str, now: float) -> None:
        """Count a wrong password."""
        count, _ = self._failed.pop((user, address), (0, 0.0))
        if len(self._failed) >= MAX_WATCHED:
            del self._failed[next(iter(self._failed))]
        self._failed[user, address] = (count + 1, now)

    def succeeded(self, user: str, address: str) -> None:
        """Forget them."""
        self._failed.pop((user, address), None)


def write_privately(path: Path, value: Any) -> None:
    """Write JSON for our own user's eyes: whole, or not at all.

    Raises:
        AccessError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        raise AccessError(f"{path}: {error.strerror}") from None


def _is_of(kinds: dict[str, type], entry: Any) -> bool:
    """Whether an entry of a file has these keys, each of its kind; a role one that there is."""
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(key), kind) for key, kind in kinds.items())
        and entry["role"] in RIGHTS
    )


def _kept_of(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tokens and sessions. Raises ValueError or its like where that is not what was kept."""
    told = json.loads(data)
    tokens, sessions = dict(told["tokens"]), dict(told["sessions"])
    for kinds, entries in ((_TOKEN, tokens), (_SESSION, sessions)):
        if not all(_is_of(kinds, entry) for entry in entries.values()):
            raise ValueError("no tokens and sessions")
    return tokens, sessions


def _scrypt(password: str, salt: bytes, cost: dict[str, Any]) -> str:
    n, r, p = int(cost["n"]), int(cost["r"]), int(cost["p"])
    secret = password.encode("utf-8", "surrogatepass")  # JSON can say what is no text
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=1 << 26).hex()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def now_s() -> float:
    """Wall time: tokens and sessions outlive a restart."""
    return time.time()
