"""Runs the feed: `python -m cpppod.workers.feed SETTINGS.json`."""

import sys

from cpppod.workers.feed.role import Feed
from cpppod.workers.process.worker import run_worker

if __name__ == "__main__":
    sys.exit(run_worker(Feed, sys.argv[1:]))
