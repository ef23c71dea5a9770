"""The poller: owns devices that have an address of their own (Modbus TCP, EtherNet/IP, text).

    python -m cpppod.workers.poller SETTINGS.json

Every address is a wire of its own (`workers.devices.wire`): a device that hangs holds up nobody
else's. `host:port` of several Modbus units is one wire: the gateway that they are behind.
"""

import sys

from cpppod.workers.devices.host import DeviceHost
from cpppod.workers.process.worker import run_worker


def main() -> int:
    """Run the worker that the command line's settings describe."""
    return run_worker(DeviceHost, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
