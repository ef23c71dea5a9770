"""Settings of old setups: what is taken from a cpppo.cfg, and what wins over it."""

from pathlib import Path

import pytest

from cpppod import configuration, cpppo_cfg
from cpppod.commands import cpppod as command

OLD = """
[Identity]
Vendor Number = 7
Product Revision = 2836     # 20.11
Product Name = 1756-L61/C LOGIX5561
[TCPIP]
Host Name = ${Names:host}
Interface Configuration = {
    "ip_address": "10.0.0.9",
    "dns_primary": "10.0.0.1",
    "domain_name": "example.com"
    }
[Names]
host = controller
[UCMM]
Route Path = 1/0
Route = {
    "1/1-15": "localhost:44819",
    "2/1.2.3.4": "10.0.0.4"
    }
"""


def test_values_are_read_as_cpppo_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "cpppo.cfg"
    path.write_text(OLD)
    old = cpppo_cfg.read([tmp_path / "absent.cfg", path])
    assert old.problems == ()
    assert old.files == (str(path),)
    assert old.route_path == "1/0"
    assert old.routes == {"1/1-15": "localhost:44819", "2/1.2.3.4": "10.0.0.4:44818"}
    assert old.identity == {
        "vendor_id": 7,
        "major_revision": 20,
        "minor_revision": 11,
        "product_name": "1756-L61/C LOGIX5561",
    }
    assert old.tcpip == {
        "host_name": "controller",
        "ip_address": "10.0.0.9",
        "name_server": "10.0.0.1",
        "domain_name": "example.com",
    }


def test_a_later_file_wins_option_by_option(tmp_path: Path) -> None:
    first, second = tmp_path / "a.cfg", tmp_path / "b.cfg"
    first.write_text(OLD)
    second.write_text('[UCMM]\nRoute = {"3/3": "h:1"}\n')
    old = cpppo_cfg.read([first, second])
    assert old.routes == {"3/3": "h:1"}
    assert old.route_path == "1/0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("null", None),
        ('{"port": 1, "link": 0}', "1/0"),
        ('[{"port": 1, "link": 0}, {"port": 2, "link": "10.0.0.5"}]', "1/0/2/10.0.0.5"),
        ("1/0", "1/0"),
    ],
)
def test_a_route_path_is_text_or_json(tmp_path: Path, text: str, expected: str | None) -> None:
    path = tmp_path / "cpppo.cfg"
    path.write_text(f"[UCMM]\nRoute Path = {text}\n")
    assert cpppo_cfg.read([path]).route_path == expected


def test_places_are_cpppos_least_important_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("APPDATA", raising=False)
    assert [str(place) for place in cpppo_cfg.places()] == [
        "/etc/cpppo.cfg",
        "/home/someone/.cpppo/cpppo.cfg",
        "/home/someone/.cpppo.cfg",
        "cpppo.cfg",
    ]


def load(folder: Path, text: str) -> configuration.Configuration:
    path, old = folder / "cpppod.toml", folder / "cpppo.cfg"
    path.write_text(text)
    old.write_text(OLD)
    return configuration.load([path], old_files=[old])


def test_the_gateway_takes_over_what_the_toml_file_does_not_say(tmp_path: Path) -> None:
    loaded = load(tmp_path, "")
    (listener,) = loaded.plant.listeners
    assert listener.route_path == "1/0"
    assert listener.identity["product_name"] == "1756-L61/C LOGIX5561"
    assert [(route.path, route.address) for route in loaded.plant.routes] == [
        ("1/1-15", "localhost:44819"),
        ("2/1.2.3.4", "10.0.0.4:44818"),
    ]
    assert "tcpip.host_name" in [value.key for value in loaded.taken]


def test_the_toml_file_wins(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        '[[listener]]\nroute_path = "1/9"\nidentity = { product_name = "ours" }\n'
        '[[route]]\npath = "2/1.2.3.4"\naddress = "10.9.9.9:44818"\n'
        '[[route]]\npath = "1/3"\naddress = "10.9.9.8:44818"\n',
    )
    (listener,) = loaded.plant.listeners
    assert listener.route_path == "1/9"
    assert (listener.identity["product_name"], listener.identity["vendor_id"]) == ("ours", 7)
    routes = {route.path: route.address for route in loaded.plant.routes}
    assert routes["2/1.2.3.4"] == "10.9.9.9:44818"
    assert (routes["1/3"], routes["1/4"]) == ("10.9.9.8:44818", "localhost:44819")
    taken = {value.key for value in loaded.taken}
    assert "identity.product_name" not in taken
    assert "identity.vendor_id" in taken


def test_it_can_be_left_alone(tmp_path: Path) -> None:
    assert load(tmp_path, "[gateway]\ncpppo_cfg = false\n").plant.routes == ()


def test_mistakes_in_it_are_reported_like_all_others(tmp_path: Path) -> None:
    path, old = tmp_path / "cpppod.toml", tmp_path / "cpppo.cfg"
    path.write_text("[web]\nenabled = 1\n")
    old.write_text("[Identity]\nVendor Number = 0x10\n[UCMM]\nRoute = [\n")
    with pytest.raises(configuration.ConfigurationError) as caught:
        configuration.load([path], old_files=[old])
    assert [str(problem) for problem in caught.value.problems] == [
        f'{old}: [UCMM] Route: \'[\': expected JSON such as {{"1/1-15": "host:port"}}',
        f"{old}: [Identity] Vendor Number: '0x10': expected a whole number",
        f"{path}:2: web.enabled: 1: expected true or false",
    ]


def test_check_lists_each_value_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cpppo.cfg").write_text(OLD)
    (tmp_path / "cpppod.toml").write_text("")
    assert command.main(["--check", "cpppod.toml"]) == 0
    written = capsys.readouterr().out
    assert 'taken from cpppo.cfg: [UCMM] Route Path: route_path = "1/0"' in written
    assert "taken from cpppo.cfg: [Identity] Vendor Number: identity.vendor_id = 7" in written
