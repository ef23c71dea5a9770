"""Poll two parameters of a drive in a thread, and print what comes, failures too.

python examples/enip_poll_one.py [HOST[:PORT] [SECONDS]]
try it on: python examples/powerflex.py 127.0.0.1:44818          and stop and start that meanwhile
"""

import sys
import threading
import time

from cpppod import poll
from cpppod.proxy import powerflex_750_series as device

host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "localhost").partition(":")
until = time.monotonic() + float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")


class Process:
    """Collects values; `done` ends the polling."""

    def __init__(self) -> None:
        self.done = False
        self.values: dict[str, object] = {}

    def __call__(self, parameter: str, value: object) -> None:
        self.values[parameter] = value


failures: list[str] = []
process = Process()
poller = threading.Thread(
    target=poll.poll,
    kwargs={
        "proxy_class": device,
        "address": (host, int(port or 44818)),
        "cycle": 1.0,
        "timeout": 0.5,
        "process": process,
        "failure": lambda error: failures.append(str(error)),
        "params": ["Motor Velocity", "Output Current"],
    },
)
poller.start()
try:
    while time.monotonic() < until:
        while process.values:
            parameter, value = process.values.popitem()
            print(f"{time.ctime()}: {parameter:>16} == {value!r}", flush=True)
        while failures:
            print(f"{time.ctime()}: {failures.pop(0)}", flush=True)
        time.sleep(0.1)
finally:
    process.done = True
    poller.join()
