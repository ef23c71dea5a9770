"""A simulated PowerFlex 750 drive: its parameters are attributes of class 0x93.

python examples/powerflex.py 127.0.0.1:44818
enip_get_attribute -S -a 127.0.0.1 '@0x93/3/10'
"""

import sys

from cpppod.simulator import Settings, Simulator

# instance of the DPI Parameter object -> (name, type, value); the value is attribute 10 in the
# drive's memory, and 9 in its EEPROM: here they are one
CLASS, EEPROM, MEMORY = 0x93, 9, 10
PARAMETERS = {
    1: ("Output_Frequency", "REAL", 456.78),
    3: ("Mtr_Vel_Fdbk", "REAL", 789.01),
    7: ("Output_Current", "REAL", 123.45),
    8: ("Output_Voltage", "REAL", 230.0),
    9: ("Output_Power", "REAL", 3.7),
    11: ("DC_Bus_Volts", "REAL", 325.0),
    13: ("Elapsed_MWh", "REAL", 1.5),
    14: ("Elapsed_kWh", "REAL", 987.65),
    15: ("Elapsed_Run_Time", "REAL", 12.5),
    20: ("Rated_Volts", "REAL", 400.0),
    21: ("Rated_Amps", "REAL", 8.7),
    22: ("Rated_kW", "REAL", 4.0),
    300: ("Speed_Units", "DINT", 1),
}
IDENTITY = {
    "Device Type": 123,
    "Product Code Number": 1168,
    "Product Name": "PowerFlex 750 series",
}


def powerflex(address: str = "127.0.0.1:0") -> Simulator:
    """The drive; start it in any of the ways that a `Simulator` knows."""
    tags = [
        f"{name}@{CLASS}/{instance}/{MEMORY}={kind}"
        for instance, (name, kind, _) in PARAMETERS.items()
    ]
    drive = Simulator(tags, Settings(address=address, identity=IDENTITY, name="PowerFlex"))
    for instance in PARAMETERS:
        attributes = drive.target.classes[CLASS].instances[instance].attributes
        attributes[EEPROM] = attributes[MEMORY]
    for name, _, value in PARAMETERS.values():
        drive[name] = value
    return drive


if __name__ == "__main__":
    powerflex(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:44818").run()
