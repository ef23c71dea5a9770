"""cm-ethernetip's tag client. Arguments: host port, a route (1,0 or -), connected or not."""

import asyncio
import sys

from answering import answer
from ethernetip.logix.tag_client import TagClient

loop = asyncio.new_event_loop()
host, port, route, kind = sys.argv[1:]
client = TagClient(
    host, int(port), path=None if route == "-" else route, use_connected=kind == "connected"
)


def run(coroutine):
    return loop.run_until_complete(asyncio.wait_for(coroutine, 20.0))


def read(tag, kind):
    return run(getattr(client, f"read_{kind.lower()}")(tag))


def write(tag, kind, value):
    run(getattr(client, f"write_{kind.lower()}")(tag, value))


def structure(tag):
    found = next(each for each in run(client.browse_tags()).tags if each.name == tag)
    return run(client.read_struct(tag, found.template)).to_dict()


run(client.connect())
answer(
    {
        "tags": lambda: sorted(tag.name for tag in run(client.browse_tags()).tags),
        "read": read,
        "write": write,
        "reads": lambda tags: [b.hex() for b in run(client.read_multiple(tags)).values()],
        "raw": lambda tag, count: run(client.read_tag_raw(tag, count)).hex(),
        "structure": structure,
    }
)
run(client.close())
