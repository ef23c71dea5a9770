"""ciplink's Logix driver. Argument: host:port, with /slot for a route."""

import sys

from answering import answer
from ciplink import LogixDriver


class Refused(Exception):
    pass


def good(tag):
    if tag.error is not None:
        raise Refused(tag.error)
    return tag.value


def written(*pairs):
    told = driver.write(*[tuple(pair) for pair in pairs])
    for tag in told if isinstance(told, list) else [told]:
        good(tag)


with LogixDriver(sys.argv[1], socket_timeout=20) as driver:
    answer(
        {
            "tags": lambda: sorted(driver.tags),
            "read": lambda tag: good(driver.read(tag)),
            "reads": lambda tags: [good(tag) for tag in driver.read(*tags)],
            "write": lambda tag, value: written((tag, value)),
            "writes": lambda pairs: written(*pairs),
            "name": driver.get_plc_name,
            "time": lambda: good(driver.get_plc_time())["year"],
        }
    )
