"""Programs of cpppo's run in this process too: its names are found from here on."""

import cpppod.compat

cpppod.compat.install()
