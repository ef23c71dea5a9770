"""`enip_server` inside a program: in a thread, steered by what the program says."""

import threading
from typing import Any

from cpppod.client import connector
from cpppod.commands.enip import server
from tests.patience import PATIENCE_S


def test_a_program_steers_the_server_that_it_runs_in_a_thread() -> None:
    control: dict[str, Any] = {"latency": 0.01}
    served = threading.Event()
    names: list[str] = []
    how: dict[str, Any] = {"control": control, "changes": {"name": "own"}}
    how["idle_service"] = served.set
    how["prepare"] = lambda simulator: names.append(simulator.settings.name)
    argv = ["-a", "127.0.0.1:0", "-U", "--no-config", "Some Tag=INT"]
    thread = threading.Thread(target=server.main, args=(argv,), kwargs=how)
    thread.start()
    assert served.wait(PATIENCE_S)
    with connector(*control["address"]) as connection:
        assert connection.process(["Some Tag"]) == (0, [[0]])
    control["done"] = True
    thread.join(PATIENCE_S)
    assert not thread.is_alive() and names == ["own"]
