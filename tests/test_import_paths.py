"""Every import path that the documentation, the examples and a running supervisord name works."""

import importlib
import importlib.util

import pytest

NAMES = {  # module -> names that the documentation or an example takes from it
    "cpppod": "__version__",
    "cpppod.automata": "compile dotdict chainable decoding peekable rememberable",
    "cpppod.client": (
        "AsyncConnector Client Connector Implicit Operation Response Result attribute_operations "
        "client connector implicit parse_operations parse_path parse_route_path pccc_operations"
    ),
    "cpppod.control_client": "ControlClient ControlError Unreachable",
    "cpppod.feed": "subscribe",
    "cpppod.history": "duration loader logger opener parse_datetime parse_offset reader timestamp",
    "cpppod.history.query": "history",
    "cpppod.history.timestamp": "timestamp",
    "cpppod.modbus": "Client ParameterException PlcOffline Poller Server merge shatter",
    "cpppod.poll": "poll run",
    "cpppod.protocols.automata.errors": "",
    "cpppod.protocols.bus.publisher": "",
    "cpppod.protocols.cip.structures": "Structure",
    "cpppod.protocols.values": "explain is_bad",
    "cpppod.proxy": "powerflex_750_series proxy proxy_simple",
    "cpppod.simulator": "Attribute CipError Settings Simulator TagError",
    "cpppod.workers.publishing": "",
    "cpppod.workers.subscription": "",
}
COMMANDS = (
    "automata cpppoctl cpppod enip_client enip_get_attribute enip_historize enip_list_services "
    "enip_poll enip_server enip_thruput modbus_poll modbus_scan modbus_sim text_simulator"
).split()
PROGRAMS = [  # run by `python -m`; a gateway that runs while its package is replaced calls them
    *(
        f"cpppod.workers.{role}"
        for role in "control feed historian listener poller router serial".split()
    ),
    "cpppod.workers.text_simulator",
    "cpppod.demo",
    "cpppod.generation",
    "cpppod.supervisord",
    "cpppod.feed",
    *(f"cpppod.commands.{command}" for command in COMMANDS),
]


@pytest.mark.parametrize("module", sorted(NAMES))
def test_a_documented_module_has_its_documented_names(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_its_main(command: str) -> None:
    assert callable(importlib.import_module(f"cpppod.commands.{command}").main)


@pytest.mark.parametrize("module", PROGRAMS)
def test_a_program_runs_by_its_module_name(module: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    if spec.submodule_search_locations is not None:
        assert importlib.util.find_spec(f"{module}.__main__") is not None
