"""Topics of Sparkplug B.

spBv1.0/<group>/<NBIRTH | NDEATH | NDATA | NCMD>/<edge node>
spBv1.0/<group>/<DBIRTH | DDEATH | DDATA | DCMD>/<edge node>/<device>
spBv1.0/STATE/<host>
"""

from typing import NamedTuple

from cpppod.protocols.model.errors import DecodeError

NAMESPACE = "spBv1.0"
FORBIDDEN = "+/#"  # in a group, an edge node, a device or a host: MQTT's own


class Address(NamedTuple):
    """An edge node: its group and its own name."""

    group: str
    node: str

    def of(self, kind: str, device: str = "") -> str:
        """The topic of a message of this node, or of one of its devices."""
        topic = f"{NAMESPACE}/{self.group}/{kind}/{self.node}"
        return f"{topic}/{device}" if device else topic


def state(host: str) -> str:
    """Where the host application `host` says whether it is there."""
    return f"{NAMESPACE}/STATE/{host}"


def command_of(topic: str, address: Address) -> str:
    """The device that a command to `address` is for, "" for the node itself.

    Raises:
        DecodeError: no command to that node.
    """
    if topic == address.of("NCMD"):
        return ""
    before = address.of("DCMD", "/")[:-1]
    device = topic.removeprefix(before)
    if device == topic or not device or "/" in device:
        raise DecodeError(f"topic {topic[:100]!r}", status=0)
    return device
