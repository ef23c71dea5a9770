"""Runs the collector: `python -m cpppod.workers.historian.collecting SETTINGS.json`."""

import sys

from cpppod.workers.historian.collecting.role import Collecting
from cpppod.workers.process.worker import run_worker

if __name__ == "__main__":
    sys.exit(run_worker(Collecting, sys.argv[1:]))
