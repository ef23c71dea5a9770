"""Runs the historian: `python -m cpppod.workers.historian SETTINGS.json`."""

import sys

from cpppod.workers.historian.role import Historian
from cpppod.workers.process.worker import run_worker

if __name__ == "__main__":
    sys.exit(run_worker(Historian, sys.argv[1:]))
