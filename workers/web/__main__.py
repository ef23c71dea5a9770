"""Runs the web outlet: `python -m cpppod.workers.web SETTINGS.json`."""

import sys

from cpppod.workers.process.worker import run_worker
from cpppod.workers.web.role import Web

if __name__ == "__main__":
    sys.exit(run_worker(Web, sys.argv[1:]))
