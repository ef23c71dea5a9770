"""Prints a gateway's values as they come, and says what was lost.

python examples/feed_subscriber.py tcp://127.0.0.1:44880 'boiler/*'
"""

import argparse
import sys
from pathlib import Path

from cpppod.feed import CurveClient, FeedError, subscribe


def main() -> int:
    """Subscribes until interrupted, or until `--count` updates have come."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", default="tcp://127.0.0.1:44880")
    parser.add_argument("pattern", nargs="*", help="*, device, device/* or device/group")
    parser.add_argument("--count", type=int, default=0, help="leave after so many updates")
    parser.add_argument("--requests", default="", help="URL of [feed] snapshot; default: port + 1")
    parser.add_argument("--key-file", help="this client's CURVE secret key")
    parser.add_argument("--server-key", help="the feed's CURVE public key")
    options = parser.parse_args()
    curve = None
    if options.key_file:
        secret = Path(options.key_file).read_bytes().strip()
        curve = CurveClient(secret, options.server_key.encode())
    try:
        updates = subscribe(options.url, *options.pattern, requests=options.requests, curve=curve)
        for number, update in enumerate(updates, 1):
            for gap in update.lost:
                print(f"lost {gap.publisher}: {gap.first} to {gap.last}", file=sys.stderr)
            for tag, sample in update.values.items():
                print(f"{update.time:%H:%M:%S.%f} {update.device}.{tag} {sample}", flush=True)
            if number == options.count:
                break
    except FeedError as error:
        print(f"feed_subscriber: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
