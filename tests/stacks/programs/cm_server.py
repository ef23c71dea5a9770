"""cm-ethernetip's tag server. Argument: a port of loopback."""

import asyncio
import sys

from ethernetip.cip.identity_info import IdentityInfo
from ethernetip.logix import data_types as dt
from ethernetip.logix.logix_dispatcher import LogixDispatcher
from ethernetip.logix.tag_database import TagDatabase
from ethernetip.protocol.eip_adapter import EipAdapter


async def main():
    tags = TagDatabase()
    for name in ("BOOL", "SINT", "INT", "DINT", "LINT", "REAL", "LREAL"):
        tags.add_tag(f"S_{name}", getattr(dt, name))
    tags.add_tag("A_DINT", dt.DINT, element_count=10)
    tags.add_tag("Big", dt.DINT, element_count=1000)
    tags.find_by_name("S_DINT").write_dint(0, 1500)
    identity = IdentityInfo(product_name="theirs")
    adapter = EipAdapter(LogixDispatcher(tags, identity), identity)
    await adapter.listen("127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await adapter.close()


asyncio.run(main())
