"""Poll parameters at several rates, and write one, over a single connection to a drive.

python examples/enip_poll_many.py [HOST[:PORT] [SECONDS]]
try it on: python examples/powerflex.py 127.0.0.1:44818
"""

import sys
import threading
import time

from cpppod import poll
from cpppod.history.timestamp import timestamp
from cpppod.proxy import powerflex_750_series as device

host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "localhost").partition(":")
until = time.monotonic() + float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
via = device(host=host, port=int(port or 44818), timeout=0.5)


class Process:
    """Prints values; `done` ends the polling."""

    done = False

    def __call__(self, parameter: str, value: object) -> None:
        print(f"{timestamp()}: {parameter:>32} == {value!r}", flush=True)


process = Process()


def failure(error: Exception) -> None:
    """Print what went wrong."""
    print(f"{timestamp()}: {error}", flush=True)


rates = {
    5.0: ["Motor Velocity", "Output Current", "Motor Velocity = (REAL)51.275"],
    10.0: ["Elapsed KwH", "Speed Units"],
    0.5: ["Output Frequency"],
}
pollers = [
    threading.Thread(
        target=poll.run,
        args=(via, process, failure),
        kwargs={"cycle": cycle, "params": params, "latency": 0.1},
    )
    for cycle, params in rates.items()
]
for poller in pollers:
    poller.start()
try:
    while time.monotonic() < until:
        time.sleep(0.1)
finally:
    process.done = True
    for poller in pollers:
        poller.join()
    via.close_gateway()
