"""The commands of `cpppoctl` that only read: status, devices, device, tags, read, watch, routes."""

import argparse
import itertools
from collections.abc import Callable
from typing import Any

from cpppod.commands.arguments import whole
from cpppod.commands.cpppoctl.output import print_json, print_pairs, print_table, time_of, value
from cpppod.control_client import ControlClient
from cpppod.workers.control.verdict import duration, rate

Add = Callable[..., argparse.ArgumentParser]
SHOWN_DIGITS = 64  # hexadecimal, of a message on the wire; `--json` has up to 600 bytes

DEVICE_TITLES = (
    "device",
    "state",
    ">rate",
    ">age",
    ">tags",
    ">bad",
    "driver",
    "address",
    "last error",
)


def add_commands(add: Add) -> None:
    """Add these commands' parsers."""
    add("status", status, "show what runs and what does not")
    add("devices", devices, "list the devices with state, rate, age and last error")
    command = add(
        "device",
        device,
        "explain one device: why is this bad?",
        example="cpppoctl device boiler",
    )
    command.add_argument("name", metavar="NAME")
    command.add_argument(
        "--wire", action="store_true", help="also what went over its wire of late, byte for byte"
    )
    command = add(
        "tags", tags, "list tags with value, quality and age", example="cpppoctl tags 'boiler.*'"
    )
    command.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="tags or devices; * ? [...]"
    )
    command = add(
        "read",
        read,
        "read tags; exit status 1 unless all are good",
        example="cpppoctl read boiler.pressure 'pump*.speed' recipe[2]",
    )
    command.add_argument("tags", nargs="+", metavar="TAG", help="tag, TAG[ELEMENT] or pattern")
    command = add(
        "watch", watch, "show tags now and whenever they change", example="cpppoctl watch boiler"
    )
    command.add_argument("patterns", nargs="+", metavar="PATTERN")
    command.add_argument(
        "--count", type=whole(1), metavar="N", help="end after N updates (else with Ctrl-C)"
    )
    add("routes", routes, "list the routes and the state of what they lead to")
    add("outlets", outlets, "list where values go: connected, behind, sent, refused, lost")


def status(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl status`; 0 where the gateway is ready, else 1."""
    answer = gateway.ask("status")
    exit_status = 0 if answer["ready"] else 1
    if given.json:
        print_json(answer)
        return exit_status
    counts = answer["summary"]
    states = ", ".join(f"{count} {state}" for state, count in counts["device_states"].items())
    print_pairs(
        [
            ("gateway", f"{answer['name']}  cpppod {answer['version']}"),
            ("id", answer["gateway"]),
            ("state", _state(answer)),
            ("up", duration(answer["up_s"])),
            ("configuration", f"generation {answer['generation']}"),
            ("serves", ", ".join(each["address"] for each in answer["listeners"])),
            ("devices", f"{counts['devices_up']} of {counts['devices']} up ({states or 'none'})"),
            ("workers", f"{counts['workers_running']} of {counts['workers']} running"),
            ("backing off", ", ".join(counts["backing_off"])),
            *(("damaged", f"{path}  (put aside; to be deleted)") for path in answer["damaged"]),
        ]
    )
    print()
    print_table(
        ("worker", "state", ">pid", ">up", ">beat", ">restarts", "waits for"),
        [
            (
                worker["name"],
                worker["state"],
                worker["pid"] or "-",
                duration(worker["up_s"]),
                duration(worker["beat_age_s"]),
                worker["restarts"],
                _waits_for(worker),
            )
            for worker in answer["workers"]
        ],
    )
    return exit_status


def _state(answer: dict[str, Any]) -> str:
    """`ready`, or which workers are not."""
    if answer["ready"]:
        return "ready"
    waiting = "; ".join(f"{name} {why}" for name, why in answer["not_ready"].items())
    return f"not ready: {waiting or 'no worker is known yet'}"


def _waits_for(worker: dict[str, Any]) -> str:
    waits = list(worker["overdue"])
    if worker["blocking_s"] >= 1:
        waits.append(f"disk or resolver for {duration(worker['blocking_s'])}")
    if worker["restart_storm"]:
        waits.append("restarts again and again")
    return "; ".join(waits)


def devices(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl devices`."""
    answer = gateway.ask("devices")
    if given.json:
        print_json(answer)
        return 0
    print_table(DEVICE_TITLES, [_device_row(each) for each in answer["devices"]])
    return 0


def _device_row(row: dict[str, Any]) -> tuple[Any, ...]:
    error = row["last_error"]
    if error and row["last_error_age_s"] is not None:
        error = f"{error} ({duration(row['last_error_age_s'])} ago)"
    return (
        row["name"],
        row["state"],
        rate(row["rate_hz"]),
        duration(row["age_s"]),
        row["tags"],
        row["tags_bad"],
        row["driver"],
        row["address"],
        error,
    )


def device(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl device NAME`."""
    wire = {"wire": True} if given.wire else {}
    answer = gateway.ask("device", name=given.name, **wire)
    if given.json:
        print_json(answer)
        return 0
    told = answer["told"]
    print(answer["verdict"])
    print()
    print_pairs(
        [
            ("driver", f"{answer['driver']} at {answer['address']}"),
            ("description", answer["description"]),
            ("worker", answer["worker"]),
            ("connection", _connection(told.get("connection", {}))),
            ("tags", f"{answer['tags']}, {answer['tags_bad']} of them bad"),
            ("last success", time_of(told.get("last_success_us"))),
            ("last error", answer["last_error"]),
            ("asked for by", asked_by(told.get("asked", {}))),
            ("counters", _pairs(told.get("counters", {}))),
            ("writes", _pairs(told.get("writes", {}))),
            ("quarantined", "; ".join(map(str, told.get("quarantined", [])))),
            ("details", _pairs(_flat(told.get("details", {})))),
        ]
    )
    _print_groups(told.get("groups", {}))
    _print_transactions(told.get("transactions", []))
    _print_wire(told.get("wire", []))
    return 0


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value(each)}" for name, each in values.items())


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """`values` with the maps in it spread out, and without what is empty."""
    spread: dict[str, Any] = {}
    for name, each in values.items():
        spread |= each if isinstance(each, dict) else {name: each}
    return {name: each for name, each in spread.items() if each not in (None, "", [])}


def _connection(told: dict[str, Any]) -> str:
    """`open since 14:03:20`, or why not, and when it is tried again."""
    if not told:
        return ""
    words = f"{told.get('state', '?')} since {time_of(told.get('since_us'))}"
    if told.get("attempts_failed"):
        words += f", {told['attempts_failed']} attempts failed"
    if told.get("next_attempt_s") is not None:
        words += f", next in {duration(told['next_attempt_s'])}"
    return words


def _print_groups(groups: dict[str, Any]) -> None:
    if not groups:
        return
    print()
    rows = [
        (
            name,
            duration(group["period_s"]),
            duration(group["age_s"]),
            duration(group["cycle"]["last_s"]),
            duration(group["cycle"]["mean_s"]),
            duration(group["cycle"]["longest_s"]),
            f"{group['cycles_good']}/{group['cycles']}",
            group["overruns"],
            group["quality"],
            "; ".join(f"{tag}: {why}" for tag, why in group["bad"][:5]),
        )
        for name, group in groups.items()
    ]
    titles = ("group", ">every", ">age", ">cycle", ">mean", ">longest", ">good", ">missed")
    print_table((*titles, "quality", "bad tags"), rows)


def asked_by(asked: dict[str, list[Any]]) -> str:
    """Who had something done last, beside the polls: `write by 10.0.0.7 at 12:00:01`."""
    return ", ".join(f"{what} by {who} at {time_of(us)}" for what, (who, us) in asked.items())


def _print_wire(wire: list[Any]) -> None:
    if not wire:
        return
    print()
    print_table(
        ("on the wire", "", "says", "bytes"),
        [
            (time_of(when), "→" if way == "sent" else "←", says, data[:SHOWN_DIGITS])
            for when, way, data, _length, says in wire
        ],
    )


def _print_transactions(transactions: list[Any]) -> None:
    if not transactions:
        return
    print()
    print_table(
        ("last transactions", "operation", "request", "result", ">took", "detail"),
        [
            (time_of(when), operation, request, result, duration(took), detail)
            for when, operation, request, result, took, detail in transactions
        ],
    )


def tags(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl tags [PATTERN ...]`."""
    answer = gateway.ask("tags", patterns=given.patterns)
    if given.json:
        print_json(answer)
        return 0
    print_table(
        ("tag", ">value", "unit", "quality", ">age", "type", "access", "description"),
        [
            (
                *_reading(each),
                f"{each['type']}[{each['length']}]" if each["length"] > 1 else each["type"],
                "read, write" if each["writable"] else "read",
                each["description"],
            )
            for each in answer["tags"]
        ],
    )
    return 0


def _reading(each: dict[str, Any]) -> tuple[Any, ...]:
    words = each.get("status_text", "")
    reason = f"{each['reason']}: {words}" if words else each["reason"]
    return each["tag"], value(each["value"]), each["unit"], reason, duration(each["age_s"])


def read(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl read TAG ...`."""
    answer = gateway.ask("read", tags=given.tags)
    if given.json:
        print_json(answer)
    else:
        print_table(
            ("tag", ">value", "unit", "quality", ">age"), [_reading(e) for e in answer["values"]]
        )
    return 0 if all(each["good"] for each in answer["values"]) else 1


def watch(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl watch PATTERN ...`."""
    for update in itertools.islice(gateway.stream("watch", patterns=given.patterns), given.count):
        if given.json:
            print_json(update)
            continue
        width = max(len(each["tag"]) for each in update["values"])
        for each in update["values"]:
            quality = "" if each["good"] else f"  {each['reason']}"
            text = f"{value(each['value'])} {each['unit']}".rstrip()
            print(
                f"{time_of(each['time_us'])}  {each['tag']:<{width}}  {text}{quality}", flush=True
            )
    return 0


def routes(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl routes`."""
    answer = gateway.ask("routes")
    if given.json:
        print_json(answer)
        return 0
    print_table(
        ("route", "device", "address", "state", "worker", "allows"),
        [
            (
                each["path"],
                each["device"],
                each.get("address", ""),
                each["state"],
                each["worker"],
                _allows(each),
            )
            for each in answer["routes"]
        ],
    )
    return 0


def outlets(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl outlets`; 0 where all are connected, else 1."""
    answer = gateway.ask("outlets")["outlets"]
    exit_status = 0 if all(each["connected_us"] for each in answer) else 1
    if given.json:
        print_json({"outlets": answer})
        return exit_status
    print_table(
        ("outlet", "to", "state", "since", ">behind", ">sent", ">refused", ">lost", "trouble"),
        [
            (
                each["name"],
                each["place"],
                each["state"],
                time_of(each["connected_us"]),
                f"{each['behind_bytes'] / 1000:.0f} kB, {duration(each['behind_s'])}",
                each["sent"],
                each["refused"],
                each["lost"],
                each["error"] or _dropped(each.get("dropped_by_broker", -1)),
            )
            for each in answer
        ],
    )
    return exit_status


def _dropped(count: int) -> str:
    return f"the broker dropped {count} messages for its subscribers" if count > 0 else ""


def _allows(route: dict[str, Any]) -> str:
    words = ["reading services" if route.get("read_only") else "all services"]
    if route.get("classes"):
        words.append("on classes " + ", ".join(f"0x{each:02x}" for each in route["classes"]))
    if route.get("sources"):
        words.append("from " + ", ".join(route["sources"]))
    return " ".join(words)
