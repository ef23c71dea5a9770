"""Runs the computed tags: `python -m cpppod.workers.computed SETTINGS.json`."""

import sys

from cpppod.workers.computed.role import ComputedTags
from cpppod.workers.process.worker import run_worker

if __name__ == "__main__":
    sys.exit(run_worker(ComputedTags, sys.argv[1:]))
