"""The API's document, OpenAPI 3.1: models of what is asked and answered, and the table of paths.

`python -m cpppod.workers.web.openapi` writes it to `static/openapi.json`, which the worker serves:
so it needs no pydantic. A test holds the file against this table, and the table against the routes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from cpppod.workers.web.finding import ADDRESS, OPTIONS, UNITS, WORD

REFERENCE = "#/components/schemas/{model}"
MICROSECONDS = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}
NAME = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,39}$"}
FILE = {"type": "string", "pattern": r"^[a-z0-9][a-z0-9_-]{0,39}\.toml$"}
WORDS = {"type": "string", "pattern": "^[^,\u0000]+(,[^,\u0000]+)*$", "maxLength": 4000}
FIELD = (
    "tag value good quality reason time_us age_s type unit device group length writable"
    " description minimum maximum history"
).split()


def shaped(pattern: re.Pattern[str]) -> dict[str, Any]:
    """What a schema says of a text of that shape."""
    return {"pattern": f"^({pattern.pattern})$"}


def option(name: str) -> dict[str, Any]:
    """What a schema says of an option of `browse`."""
    return shaped(OPTIONS[name][1])


class Model(BaseModel):
    """An object that may have more keys than are described."""

    model_config = ConfigDict(extra="allow")


class Body(BaseModel):
    """What is asked: these keys and no others."""

    model_config = ConfigDict(extra="forbid")


class Problem(Model):
    """Why a request was not done, and what to try (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    advice: str = Field(alias="try")


class Session(Model):
    """Who asks; `csrf` goes into the header X-CSRF-Token of each change of a session."""

    user: str
    role: Literal["none", "viewer", "operator", "engineer"]
    csrf: str
    users: bool
    name: str
    zone: str


class LogIn(Body):
    """A token, or user and password."""

    token: str | None = None
    user: str | None = None
    password: str | None = None


class Device(Model):
    """A device in a row."""

    name: str
    driver: str
    address: str
    worker: str
    state: str
    rate_hz: float | None
    age_s: float | None
    tags: int
    tags_bad: int
    last_error: str
    last_error_age_s: float | None
    description: str


class DeviceOfLate(Device):
    """A device in a row, with its polls a second of the last minute."""

    rates: list[float | None]


class DeviceDetails(DeviceOfLate):
    """All of a device."""

    verdict: str
    configured: dict[str, Any]
    told: dict[str, Any]


class Devices(Model):
    """Every device."""

    devices: list[DeviceOfLate]


class Status(Model):
    """The gateway."""

    name: str
    gateway: str
    version: str
    generation: int
    ready: bool
    up_s: float
    summary: dict[str, Any]
    listeners: list[dict[str, Any]]
    workers: list[dict[str, Any]]
    devices: list[Device]


class Reading(Model):
    """What a tag is worth."""

    tag: str
    value: Any
    good: bool
    quality: int
    reason: str
    time_us: int
    age_s: float | None
    type: str
    unit: str


class Readings(Model):
    """Values in the order asked for."""

    values: list[Reading]


class Tag(Model):
    """What is known of a tag: those fields that were asked for."""

    tag: str | None = None
    device: str | None = None
    writable: bool | None = None


class Tags(Model):
    """A page of the tags that match, and how many do."""

    total: int
    offset: int
    tags: list[Tag]


class Names(Body):
    """Names of tags."""

    tags: Annotated[list[str], Field(min_length=1, max_length=1000)]


class History(Model):
    """What a tag was worth; `next_us` is where to go on."""

    tag: str
    columns: list[str]
    rows: list[list[Any]]
    next_us: int | None


class Routes(Model):
    """Every route."""

    routes: list[dict[str, Any]]


class Event(Model):
    """Something that happened."""

    number: int
    time_us: int
    kind: str
    name: str
    what: str
    detail: str
    who: str


class Events(Model):
    """The newest first; numbers begin anew in each `life`."""

    life: int
    events: list[Event]


class Writes(Body):
    """Tags and values, written in this order up to the first that fails."""

    writes: Annotated[list[tuple[str, Any]], Field(min_length=1, max_length=1000)]


class Outcome(Model):
    """What came of one write."""

    tag: str
    ok: bool
    outcome: Literal["done", "failed", "unknown"]
    error: str


class Outcomes(Model):
    """What came of the writes that were tried."""

    writes: list[Outcome]
    not_tried: int


class Audit(Model):
    """Attempted writes."""

    records: list[dict[str, Any]]


class Done(Model):
    """A device was paused, or goes on."""

    device: str
    done: str


class ConfigurationFile(Model):
    """One file of the configuration."""

    name: str
    path: str
    text: str
    digest: str


class Configuration(Model):
    """All its files."""

    files: list[ConfigurationFile]


class Change(Body):
    """A file as it could be."""

    name: Annotated[str, Field(pattern=FILE["pattern"])]
    text: str


class Checked(Model):
    """What a change would be."""

    name: str
    problems: list[str]
    summary: list[str]
    diff: str
    digest: str


class Save(Body):
    """A file's new text, and the digest of the one that it replaces."""

    text: str
    digest: str


class Saved(Model):
    """Saved; not in force yet."""

    name: str
    path: str
    digest: str


class Reload(Body):
    """Nothing for the plan; `confirm` is the plan's digest."""

    confirm: str | None = None


class Reloaded(Model):
    """The plan, and whether it is in force."""

    plan: dict[str, Any]
    applied: bool
    digest: str


class Place(Body):
    """Where to look."""

    address: Annotated[str, Field(json_schema_extra=shaped(ADDRESS))]


class Discover(Place):
    """Where to ask for List Identity; with `broadcast` everybody there."""

    broadcast: bool = False


class Scan(Place):
    """Which units to ask, in ranges: `1-32`."""

    units: Annotated[str, Field(json_schema_extra=shaped(UNITS))] = "1-32"


class Found(Model):
    """What answered."""

    devices: list[dict[str, Any]]


class Simulators(Model):
    """The demo's simulated devices."""

    simulators: list[dict[str, Any]]


class Order(Body):
    """What a simulator is to do: `fault silent`, `die 10`, `clear`."""

    order: str


class Obeyed(Model):
    """What came of it."""

    name: str
    result: Any


class Browse(Place):
    """Which device to ask for its tags."""

    driver: Literal["", "modbus-tcp", "modbus-rtu", "enip"] = ""
    where: Annotated[str, Field(json_schema_extra=shaped(WORD))] = ""
    unit: Annotated[int, Field(ge=0, le=999)] = 1
    route_path: Annotated[str, Field(json_schema_extra=option("route_path"))] = ""
    name: Annotated[str, Field(json_schema_extra=option("name"))] = "device"
    period: Annotated[str, Field(json_schema_extra=option("period"))] = "1s"
    timeout: Annotated[str, Field(json_schema_extra=option("timeout"))] = "2"
    baudrate: Annotated[int, Field(ge=100, le=9_999_999)] = 9600
    parity: Literal["E", "N", "O"] = "N"
    toml: bool = False


Parameter = tuple[str, dict[str, Any], str]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        role: that its asker needs.
        refusals: statuses beside those that every path may answer with.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: type[BaseModel] | None = None
    role: str = "viewer"
    body: type[BaseModel] | None = None
    query: tuple[Parameter, ...] = ()
    refusals: tuple[int, ...] = ()
    kind: str = "application/json"


SOME_FIELDS = {"type": "array", "items": {"enum": FIELD}, "minItems": 1, "maxItems": len(FIELD)}
LIMIT: Parameter = ("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "how many")
PAGE: tuple[Parameter, ...] = (
    (
        "filter",
        {"type": "string", "maxLength": 100},
        "words that all occur, or patterns",
    ),
    (
        "fields",
        {"type": "array", "items": {"enum": FIELD}, "minItems": 1, "maxItems": 17},
        "only these",
    ),
    ("offset", MICROSECONDS, "how many to leave out"),
    LIMIT,
)
QUESTION: tuple[Parameter, ...] = (
    ("tag", {"type": "string", "minLength": 1}, "which tag; required"),
    ("since_us", MICROSECONDS, "an hour ago"),
    ("until_us", MICROSECONDS, "now"),
    ("aggregate", {"enum": ["", "last", "step", "buckets"]}, "raw samples where empty"),
    ("step_us", MICROSECONDS, "of steps and buckets"),
    ("limit", MICROSECONDS, "how many rows"),
    ("format", {"enum": ["json", "csv"]}, "csv is text/csv"),
)
SOUGHT: tuple[Parameter, ...] = (
    LIMIT,
    *((name, {"type": "string"}, f"only of this {name}") for name in ("tag", "user", "way")),
    ("outcome", {"type": "string"}, "done, failed, unknown or refused"),
)
NAMED: tuple[Parameter, ...] = (("tags", WORDS, "names by comma; required"),)
LIVE: tuple[Parameter, ...] = (("tags", WORDS, "names and patterns by comma"),)
AFTER: tuple[Parameter, ...] = (("after", MICROSECONDS, "number of the last one known"), LIMIT)

OPERATIONS = (
    Operation("get", "/session", "whoAmI", "Who asks", Session, "none"),
    Operation("post", "/session", "logIn", "Log in", Session, "none", LogIn, refusals=(503,)),
    Operation("delete", "/session", "logOut", "Log out", Session, "none"),
    Operation("get", "/status", "status", "The gateway", Status),
    Operation("get", "/devices", "devices", "Every device", Devices),
    Operation("get", "/devices/{name}", "device", "All of a device", DeviceDetails),
    Operation("post", "/devices/{name}/{action}", "act", "Pause, resume or probe a device", Done,
              "operator"),
    Operation("get", "/tags", "tags", "A page of tags", Tags, query=PAGE),
    Operation("get", "/read", "read", "Values by name", Readings, query=NAMED),
    Operation("post", "/read", "readMany", "Values by name", Readings, body=Names),
    Operation("post", "/write", "write", "Write tags", Outcomes, "operator", Writes),
    Operation("get", "/history", "history", "What a tag was worth", History, query=QUESTION),
    Operation("get", "/routes", "routes", "Every route", Routes),
    Operation("get", "/events", "events", "What happened", Events, query=AFTER),
    Operation("get", "/audit", "audit", "Attempted writes", Audit, "engineer", query=SOUGHT),
    Operation("get", "/live", "live", "Live values, as server-sent events", query=LIVE,
              kind="text/event-stream"),
    Operation("get", "/configuration", "configuration", "The files", Configuration, "engineer"),
    Operation("post", "/configuration/check", "check", "Check a change", Checked, "engineer",
              Change),
    Operation("put", "/configuration/files/{name}", "save", "Save a file", Saved, "engineer",
              Save),
    Operation("post", "/configuration/reload", "reload", "Plan a reload, or do it", Reloaded,
              "engineer", Reload),
    Operation("get", "/simulators", "simulators", "The demo's simulators", Simulators),
    Operation("post", "/simulators/{name}", "order", "Faults of one", Obeyed, "engineer", Order),
    Operation("post", "/discover", "discover", "Who answers List Identity", Found, "engineer",
              Discover, refusals=(504,)),
    Operation("post", "/scan", "scan", "Which Modbus units answer", None, "engineer", Scan,
              refusals=(504,)),
    Operation("post", "/browse", "browse", "What a device has", None, "engineer", Browse,
              refusals=(504,)),
)  # fmt: skip
REFUSALS = {
    400: "The request cannot be read",
    401: "Who asks is not known",
    403: "Who asks may not",
    404: "There is no such thing",
    408: "The body came too slowly",
    409: "It cannot be done now; `try` says what can",
    413: "The body is too long",
    415: "The body is no JSON",
    421: "The Host is not this gateway",
    422: "A parameter is not as described",
    429: "Too many requests",
    431: "The head is too long",
    503: "Control does not answer",
    504: "It took too long",
}
OFTEN = (400, 401, 403, 404, 409, 421, 422, 429, 431, 503)
OF_BODIES = (408, 413, 415)
IN_PATH: dict[str, dict[str, Any]] = {
    "name": NAME,
    "action": {"enum": ["pause", "resume", "probe"]},
}


def document() -> dict[str, Any]:
    """The document."""
    models = [each for row in OPERATIONS for each in (row.answer, row.body) if each is not None]
    unique: list[type[BaseModel]] = [Problem, *dict.fromkeys(models)]
    modes: list[tuple[type[BaseModel], Literal["validation"]]] = [
        (model, "validation") for model in unique
    ]
    _, schemas = models_json_schema(modes, ref_template=REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for row in OPERATIONS:
        paths.setdefault(row.path, {})[row.method] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cpppod",
            "version": "1",
            "summary": "Values, devices and history of a gateway",
            "description": "Described in docs/web.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}, {"session": []}, {}],
        "tags": [{"name": role, "description": f"for the role {role}"} for role in _ROLES],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "responses": {
                str(status): {
                    "description": text,
                    "content": {
                        "application/problem+json": {
                            "schema": {"$ref": REFERENCE.format(model="Problem")}
                        }
                    },
                }
                for status, text in REFUSALS.items()
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "cpppod"},
            },
        },
    }


_ROLES = ("none", "viewer", "operator", "engineer")


def _operation(row: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.summary,
        "tags": [row.role],
        "responses": dict(_responses(row)),
    }
    if row.role in ("operator", "engineer"):
        found["security"] = [{"token": []}, {"session": []}]
    if parameters := list(_parameters(row)):
        found["parameters"] = parameters
    if row.body is not None:
        schema = {"$ref": REFERENCE.format(model=row.body.__name__)}
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return found


def _parameters(row: Operation) -> Iterator[dict[str, Any]]:
    for name, schema in IN_PATH.items():
        if f"{{{name}}}" in row.path:
            wanted = FILE if "/files/" in row.path else schema
            yield {"name": name, "in": "path", "required": True, "schema": wanted}
    for name, schema, text in row.query:
        parameter: dict[str, Any] = {
            "name": name,
            "in": "query",
            "schema": schema,
            "description": text,
        }
        if text.endswith("; required"):
            parameter["required"] = True
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter


def _responses(row: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
    schema: dict[str, Any] = {}
    if row.answer is not None:
        schema = {"$ref": REFERENCE.format(model=row.answer.__name__)}
    content: dict[str, Any] = {row.kind: {"schema": schema}}
    if row.path == "/history":
        content["text/csv"] = {"schema": {"type": "string"}}
    yield "200", {"description": row.summary, "content": content}
    for status in sorted({*OFTEN, *row.refusals, *(OF_BODIES if row.method != "get" else ())}):
        yield str(status), {"$ref": f"#/components/responses/{status}"}
