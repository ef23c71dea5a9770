"""Writes down what the feed says, by docs/feed.md alone; nothing of the project in it.

python subscriber.py URL FILE      a line of JSON for each block: gateway, publisher, epoch,
                                   sequence, topic, values of the tags that are good
"""

import json
import sys

import msgpack
import zmq


def main() -> None:
    url, path = sys.argv[1:]
    socket = zmq.Context().socket(zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(url)
    with open(path, "w", encoding="utf-8", buffering=1) as file:
        while True:
            topic, payload = socket.recv_multipart()
            message = msgpack.unpackb(payload)
            if message[0] != 1 or message[8] != 1:  # version 1, blocks only
                continue
            _, tags, values, qualities = message[9][:4]
            if isinstance(qualities, int):
                qualities = [qualities] * len(tags)
            good = {t: v for t, v, q in zip(tags, values, qualities, strict=True) if q & 255 == 0}
            gateway = message[11] if len(message) > 11 else ""
            json.dump([gateway, *message[1:4], topic.decode(), good], file)
            file.write("\n")


if __name__ == "__main__":
    main()
