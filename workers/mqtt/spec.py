"""The manifest of the MQTT outlet: what was journalled, to a broker."""

from cpppod.workers.outlets.spec import OutletSpec, Source

SPEC = OutletSpec(
    name="mqtt",
    section="mqtt",
    settings="cpppod.workers.mqtt.settings:Mqtt",
    program="cpppod.workers.mqtt",
    reads=Source.JOURNALS,
    many=True,
    tags=True,
)
