"""What docs/routing.md shows is understood."""

import pathlib
import re

from cpppod import configuration, cpppo_cfg
from cpppod.protocols.cip.route_table import AllowList, RouteTable

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "routing.md"


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", DOCUMENT.read_text(), re.S | re.M)
    return str(found)


def test_routes_of_the_gateway_are_valid(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "cpppod.toml"
    device = '[device.press_plc]\ndriver = "enip"\naddress = "10.0.0.9:44818"\n'
    path.write_text(block("toml") + device)
    routes = configuration.load([path], old_files=[]).plant.routes
    assert [route.path for route in routes] == ["1/1", "1/2-7"]
    assert (routes[1].classes, routes[1].limit) == ((0x6B, 0x6C), 64)
    table = RouteTable({route.path: route for route in routes})
    assert table.find(b"\1\5")[0] is routes[1]
    AllowList.configured(read_only=True, classes=(), sources=routes[1].sources)


def test_routes_of_the_simulator_are_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "cpppo.cfg"
    path.write_text(block("ini"))
    settings = cpppo_cfg.read([path])
    assert settings.route_path == "1/0"
    assert set(settings.routes) == {"1/1-15", "2/10.0.0.5"}
    assert not settings.problems
