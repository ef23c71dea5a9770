"""Parameters of a drive at several rates over one connection, each rate in a thread.

python -m cpppo.server.enip.poll_example_many [HOST[:PORT]]
"""

import queue
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import cpppo
from cpppo.history import timestamp
from cpppo.misc import parse_ip_port
from cpppo.server.enip import address, poll
from cpppo.server.enip.ab import powerflex_750_series

TARGETS = {
    0.5: ["Output Frequency"],
    1.0: ["Motor Velocity", "Output Current"],
    5.0: ["Elapsed KwH"],
    10.0: ["Speed Units"],
}


def watch(targets: Mapping[float, list[str]], argv: Sequence[str] | None = None) -> int:
    """Print values and failures until interrupted."""
    where = [*(sys.argv[1:] if argv is None else argv), "localhost"][0]
    host, port = parse_ip_port(where, default=("localhost", address[1]))
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def process(parameter: Any, value: Any) -> None:
        lines.put(f"{timestamp(cpppo.timer())}: {parameter:>16} == {value!r}")

    def failure(error: Exception) -> None:
        lines.put(f"{timestamp(cpppo.timer())}: {error}")

    process.done = False  # type: ignore[attr-defined]
    via = powerflex_750_series(host=str(host), port=port, timeout=0.5)
    for cycle, params in targets.items():
        how = {"via": via, "cycle": cycle, "process": process, "failure": failure, "params": params}
        threading.Thread(target=poll.run, kwargs=how, daemon=True).start()
    try:
        while True:
            print(lines.get(), flush=True)
    except KeyboardInterrupt:
        return 0
    finally:
        process.done = True  # type: ignore[attr-defined]


def main(argv: Sequence[str] | None = None) -> int:
    """As `watch`."""
    return watch(TARGETS, argv)


if __name__ == "__main__":
    sys.exit(main())
