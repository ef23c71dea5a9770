"""Runs the listener: `python -m cpppod.workers.listener SETTINGS.json`."""

import sys

from cpppod.workers.listener.role import ListenerRole
from cpppod.workers.process.worker import run_worker

if __name__ == "__main__":
    sys.exit(run_worker(ListenerRole, sys.argv[1:]))
