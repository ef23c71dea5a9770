"""Runs control: `python -m cpppod.workers.control SETTINGS.json`."""

import sys

from cpppod.workers.control.role import Control
from cpppod.workers.process.worker import run_worker

if __name__ == "__main__":
    sys.exit(run_worker(Control, sys.argv[1:]))
