"""A simulated PowerFlex 750 drive: its parameters are attributes of class 0x93.

python examples/powerflex.py 127.0.0.1:44818
enip_get_attribute -S -a 127.0.0.1 '@0x93/3/10'
"""

import sys

from cpppod.simulator import Settings, Simulator

# instance of the DPI Parameter object -> (name, type, value); attribute 10 is the value
PARAMETERS = {
    1: ("Output_Frequency", "REAL", 456.78),
    3: ("Mtr_Vel_Fdbk", "REAL", 789.01),
    7: ("Output_Current", "REAL", 123.45),
    14: ("Elapsed_kWh", "REAL", 987.65),
    300: ("Speed_Units", "DINT", 1),
}
IDENTITY = {
    "Device Type": 123,
    "Product Code Number": 1168,
    "Product Name": "PowerFlex 750 series",
}


def powerflex(address: str = "127.0.0.1:0") -> Simulator:
    """The drive; start it in any of the ways that a `Simulator` knows."""
    tags = [f"{name}@0x93/{instance}/10={kind}" for instance, (name, kind, _) in PARAMETERS.items()]
    drive = Simulator(tags, Settings(address=address, identity=IDENTITY, name="PowerFlex"))
    for name, _, value in PARAMETERS.values():
        drive[name] = value
    return drive


if __name__ == "__main__":
    powerflex(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:44818").run()
