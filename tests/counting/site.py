"""One gateway of counters whose state directory, store and id a test takes away and puts back."""

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from cpppod.workers.historian.stores.opening import open_reader
from cpppod.workers.historian.stores.store import Gap
from tests.counting.counters import Counters
from tests.counting.ledger import Row, Verdict, check
from tests.gateway.running import RunningGateway, children, eventually
from tests.ports import free_port

PERIOD_MS = 100
TAGS = 2


def configuration(counters: Counters, history: str, gateway: str, feed: int = 0) -> str:
    """All counters on Modbus TCP, with history; `gateway` is the id, "" for none."""
    parts = [
        f'[gateway]\ncpppo_cfg = false\nid = "{gateway}"\n[metrics]\nenabled = false\n',
        f'[[listener]]\naddress = "127.0.0.1:{free_port()}"\n[history]\n{history}\n',
    ]
    if feed:
        parts.append(
            f'[feed]\npublish = "127.0.0.1:{feed}"\nsnapshot = "127.0.0.1:{free_port()}"\n'
        )
    tags = ", ".join(
        f'{{ name = "c{at}", address = "HR:{at * 2}", type = "UDINT" }}' for at in range(TAGS)
    )
    for name, port in counters.ports.items():
        address = f'driver = "modbus-tcp"\naddress = "127.0.0.1:{port}"'
        if name == counters.serial:
            address = 'driver = "modbus-rtu"\nline = "hall"'
            parts.append(f'[line.hall]\nport = "rtu-over-tcp://127.0.0.1:{port}"\n')
        parts.append(
            f"[device.{name}]\n{address}\nretries = 0\n"
            f'[[device.{name}.group]]\nname = "all"\nperiod = "{PERIOD_MS}ms"\nhistory = true\n'
            f"tags = [{tags}]\n"
        )
    return "\n".join(parts)


class Site:
    """A gateway that is started, stopped, killed and robbed; what it stored is at `url`."""

    def __init__(self, counters: Counters, history: str, url: str, gateway: str = "") -> None:
        self.counters = counters
        self.url = url
        self.gateway = RunningGateway()
        self.gateway.ports |= {port: port for port in range(1024, 65_536)}
        self.text = configuration(counters, history, gateway)

    @property
    def state(self) -> Path:
        return self.gateway.state

    def start(self) -> None:
        """Start it, and wait until something was read since."""
        self.gateway.start(configuration=self.text)
        self.wait_for_readings()

    def wait_for_readings(self, count: int = 10) -> None:
        """Until so many more reads were answered."""
        before = len(self.counters.served)
        eventually(lambda: len(self.counters.served) >= before + count)

    def stop(self) -> None:
        """Stop it in good order."""
        self.gateway.interrupt()

    def kill(self) -> None:
        """Kill all of it at once, as losing the power does."""
        assert self.gateway.process is not None
        everything = [self.gateway.process.pid]
        for pid in everything:
            everything += children(pid)
        for pid in everything:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.gateway.process.wait()

    def id(self) -> str:
        """Who it says that it is."""
        return str(self.gateway.ask("status")["gateway"])

    def wait_until_stored(self) -> None:
        """Until the store knows of every device what was read of it last, before a journal goes."""
        last = self._served_last()
        eventually(lambda: self._has_stored(last))

    def _served_last(self) -> dict[str, int]:
        return {each.device: each.n for each in self.counters.served}

    def _has_stored(self, numbers: dict[str, int]) -> bool:
        with contextlib.closing(open_reader(self.url)) as reader:
            return all(
                n in [sample.value for sample in reader.samples(device, "c0", 0, 2**52)]
                for device, n in numbers.items()
            )

    def settle(self) -> None:
        """Serve no more, and wait until what was read is stored, or declared."""
        self.counters.freeze()
        last = self._served_last()
        with contextlib.suppress(AssertionError):  # the verdict says what is missing
            eventually(lambda: self._has_stored(last) or not self.check().undeclared)

    def close(self) -> None:
        self.gateway.stop()

    def gaps(self, gateway: str | None = None) -> list[Gap]:
        with contextlib.closing(open_reader(self.url, gateway)) as reader:
            return reader.gaps("", 0, 2**52)

    def rows(self, gateway: str | None = None) -> list[Row]:
        with contextlib.closing(open_reader(self.url, gateway)) as reader:
            return [
                Row(
                    reading.device, tag, reading.source_us, *reading[:3],
                    reading.values[at], reading.quality(at),
                )
                for reading in reader.readings(0, 2**52)
                for at, tag in enumerate(reading.tags)
            ]  # fmt: skip

    def check(self, gateway: str | None = None) -> Verdict:
        """What has become by now of everything served to this gateway."""
        return check(self.counters.served, self.rows(gateway), self.gaps(gateway))

    def verdict(self, gateway: str | None = None) -> Verdict:
        """The same, shown."""
        found = self.check(gateway)
        print(found, [gap.reason for gap in self.gaps(gateway)])
        return found


@contextlib.contextmanager
def closing_all(*sites: Site):  # type: ignore[no-untyped-def]
    """The sites, gone afterwards."""
    try:
        yield sites
    finally:
        for site in sites:
            site.close()


def replace_folder(source: Path, target: Path) -> None:
    """An old copy in the place of a folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def pause(seconds: float) -> None:
    """Let the plant run."""
    time.sleep(seconds)
