"""python -m cpppo.server.enip: the command `enip_server`."""

import sys

from cpppo.server.enip.main import main

sys.exit(main())
