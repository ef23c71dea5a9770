"""Programs of this package that the web runs: what takes pydantic, or talks to devices not ours.

    python -m cpppod.generation check ...     a configuration that is not in force
    python -m cpppod.commands.cpppod tags browse, .modbus_scan, .enip_list_services    what is there

Each gets its arguments as a list, never a shell's line; two run at a time.
"""

import asyncio
import contextlib
import json
import re
import sys
from typing import Any

from cpppod.workers.web.answers import Problem

AT_ONCE = 2
PROGRAM_S = 90.0  # registers of a slow unit, read one by one
MAX_OUTPUT = 16 << 20  # bytes: 50,000 tags of a controller


class Programs:
    """Runs them."""

    def __init__(self) -> None:
        self._running = 0

    async def run(self, module: str, *arguments: str, given: bytes = b"") -> tuple[int, str, str]:
        """(exit status, output, errors).

        Raises:
            Problem: too many run, or it did not end in time.
        """
        if self._running >= AT_ONCE:
            raise Problem(503, module, f"{AT_ONCE} of its kind run already", "in a moment")
        self._running += 1
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_OUTPUT,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(given), PROGRAM_S)
        except TimeoutError:
            raise Problem(
                504, module, f"not done within {PROGRAM_S:g} s", "a smaller part"
            ) from None
        finally:
            self._running -= 1
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        status = process.returncode if process.returncode is not None else 1
        return status, output.decode(errors="replace"), errors.decode(errors="replace").strip()

    async def ask(self, what: str, module: str, *arguments: str, given: bytes = b"") -> Any:
        """The JSON that a program prints, whatever its exit status.

        Args:
            what: what it is asked about, for people.

        Raises:
            Problem: it printed none; its last line of errors says why.
        """
        _status, output, errors = await self.run(module, *arguments, given=given)
        try:
            return json.loads(output)
        except ValueError:
            raise refusal(what, errors) from None


def refusal(what: str, errors: str) -> Problem:
    """What a program said on its way out, without its own name."""
    why = errors.splitlines()[-1] if errors else "no answer"
    why = re.sub(r"^(cpppod|modbus_scan|enip_list_services)( [a-z]+)*: ", "", why)
    why, _, advice = re.sub(f"^({re.escape(what)}: )+", "", why).partition("; try ")
    advice = advice or "whether it is there, and its address, unit and driver"
    return Problem(409, what, why[:300], advice)
