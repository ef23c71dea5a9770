"""Runs the router: `python -m cpppod.workers.router SETTINGS.json`."""

import sys

from cpppod.workers.process.worker import run_worker
from cpppod.workers.router.role import RouterRole

if __name__ == "__main__":
    sys.exit(run_worker(RouterRole, sys.argv[1:]))
