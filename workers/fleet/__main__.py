"""Runs the uplink: `python -m cpppod.workers.fleet SETTINGS.json`."""

import sys

from cpppod.workers.fleet.role import Uplink
from cpppod.workers.process.worker import run_worker

if __name__ == "__main__":
    sys.exit(run_worker(Uplink, sys.argv[1:]))
