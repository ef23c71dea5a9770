"""Write the motor velocity of a PowerFlex drive.

python examples/powerflex_motor_velocity.py [@HOST[:PORT]] [VELOCITY]
try it on: python examples/powerflex.py 127.0.0.1:44818
"""

import logging
import sys
import time

from cpppod.proxy import powerflex_750_series as device

host, port = "localhost", ""
if len(sys.argv) > 1 and sys.argv[1].startswith("@"):
    host, _, port = sys.argv.pop(1)[1:].partition(":")
velocity = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0

param = f"Motor Velocity = (REAL){velocity}"
via = device(host=host, port=int(port or 44818))
try:
    with via:  # opens the connection; an exception in here closes it
        (value,) = via.write(via.parameter_substitution(param), checking=True)
    print(f"{time.ctime()}: {param:<32} == {value}")
except Exception as error:
    logging.error("Exception writing parameter %s: %s", param, error)
    sys.exit(1)
finally:
    via.close_gateway()
