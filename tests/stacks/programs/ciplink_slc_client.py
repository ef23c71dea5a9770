"""ciplink's SLC driver. Argument: host:port."""

import sys

from answering import answer
from ciplink import SLCDriver


class Refused(Exception):
    pass


def good(tag):
    if tag.error is not None:
        raise Refused(tag.error)
    return tag.value


with SLCDriver(sys.argv[1], socket_timeout=20) as driver:
    answer(
        {
            "read": lambda address: good(driver.read(address)),
            "write": lambda address, value: good(driver.write((address, value))) and None,
        }
    )
