"""The session of instro-ethernetip. Arguments: host:port, the slots of a route.

The package itself needs instro, for its instruments; the session is a module of its own.
"""

import importlib.util
import sys
import sysconfig

from answering import answer

PLACE = f"{sysconfig.get_path('platlib')}/instro/ethernetip/_ethernetip.abi3.so"
spec = importlib.util.spec_from_file_location("_ethernetip", PLACE)
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)

session = native.EtherNetIpSession(sys.argv[1], [int(slot) for slot in sys.argv[2:]] or None)


def plain(told):
    if isinstance(told, Exception):
        raise told
    return bytes(told.value).hex() if hasattr(told.value, "data") else told.value


def write(tag, kind, value):
    session.write_tag(tag, getattr(native.PlcValue, kind.lower())(value))


answer(
    {
        "read": lambda tag: plain(session.read_tag(tag)),
        "reads": lambda tags: [plain(told) for _, told in session.read_tags(tags)],
        "write": write,
    }
)
session.close()
