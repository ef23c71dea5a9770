"""PCCC: `enip_server --plc slc500` serves data files, `enip_client --pccc` reads them."""

from .device import Object


class PCCC_ANC_120e(Object):
    """The PCCC object of an ANC-120e."""

    class_id = 0x67
