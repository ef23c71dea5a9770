"""The client runs without what only the gateway on Linux has."""

import subprocess
import sys

BLOCKED = ("uvloop", "zmq", "pydantic", "starlette", "supervisor", "fcntl", "resource", "termios")
PROGRAM = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None
import cpppod.client, cpppod.proxy, cpppod.poll
import cpppod.commands.enip_client, cpppod.commands.enip_get_attribute
import cpppod.commands.enip_list_services, cpppod.commands.enip_poll, cpppod.commands.enip_thruput
assert "rich" not in sys.modules
"""


def test_client_proxies_polling_and_commands_import_anywhere() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
