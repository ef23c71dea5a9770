"""Tags whose registers are known only once the device has said where its models are (SunSpec).

group as configured ─► walk, once a connection ─► group in registers ─► cells, reader
                        └► a tag whose model is not there: not configured
"""

from dataclasses import replace

from cpppod.protocols.modbus.sunspec import in_registers, place_of
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.workers.drivers.modbus.sunspec import FoundModel, ReadWords, walk

GROUPS_KEPT = 256  # groups, and parts of them that were asked again


def needs_places(device: Device) -> bool:
    """Whether any of its tags is a point of a model."""
    return any(place_of(tag.address) for group in device.groups for tag in group.tags)


class Placed:
    """A device's groups in registers, once its models are known."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._starts: dict[tuple[int, int], int] | None = None
        self._groups: dict[int, tuple[Group, Group]] = {}
        self.models: list[FoundModel] = []

    def forget(self) -> None:
        """It may be another device: look again."""
        self._starts = None
        self._groups.clear()

    @property
    def known(self) -> bool:
        """Whether the models were found."""
        return self._starts is not None

    async def find(self, read: ReadWords) -> Device:
        """The device with its groups in registers.

        Raises:
            DeviceError: no answer, or no models.
        """
        self.models = await walk(read)
        self._starts = {(each.model, each.instance): each.start for each in self.models}
        return replace(self._device, groups=tuple(self.group(each) for each in self._device.groups))

    def group(self, group: Group) -> Group:
        """A group, or a part of one, in registers; without the tags that the device has not."""
        known = self._groups.get(id(group.tags))
        if known is None or known[0].tags is not group.tags:
            if len(self._groups) >= GROUPS_KEPT:
                self._groups.clear()
            placed = (self._tag(tag) for tag in group.tags)
            made = replace(group, tags=tuple(tag for tag in placed if tag is not None))
            known = self._groups[id(group.tags)] = group, made
        return known[1]

    def _tag(self, tag: Tag) -> Tag | None:
        starts = self._starts
        assert starts is not None
        return in_registers(tag, lambda model, instance: starts.get((model, instance)))
