"""The serial worker: owns one line and is the master of every unit on it.

    python -m cpppod.workers.serial SETTINGS.json

One request is on the wire at a time, whoever it is for (`workers.devices.wire`). The line's port
may also be `rtu-over-tcp://host:port`: the same line behind a device server.
"""

import sys

from cpppod.workers.devices.host import DeviceHost
from cpppod.workers.process.worker import run_worker


def main() -> int:
    """Run the worker that the command line's settings describe."""
    return run_worker(DeviceHost, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
