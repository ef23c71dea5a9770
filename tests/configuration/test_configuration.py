"""The configuration file: what is understood, what is refused, and how it is said."""

import json
import tomllib
from pathlib import Path
from typing import get_args

import jsonschema  # type: ignore[import-untyped]
import pytest

from cpppod import configuration
from cpppod.commands import cpppod as command
from cpppod.configuration import Configuration, ConfigurationError
from cpppod.configuration.sections import Personality
from cpppod.protocols.cip.personality import PERSONALITIES
from cpppod.protocols.cip.structures import PREDEFINED
from cpppod.protocols.model.durations import parse_seconds
from cpppod.protocols.model.plant import Plant, from_plain, to_plain
from cpppod.workers.settings import PREDEFINED_STRUCTURES

SHIPPED = sorted((Path(configuration.__file__).parents[1] / "etc").glob("*.toml"))
DEVICE = """
[device.boiler]
driver = "modbus-tcp"
address = "127.0.0.1:15020"
[[device.boiler.group]]
name = "fast"
period = "500ms"
tags = [{ name = "pressure", address = 40001, type = "REAL", unit = "bar" }]
"""


def load(folder: Path, text: str, **more: str) -> Configuration:
    """The configuration of `text`, with `conf.d` files from keyword arguments."""
    path = folder / "cpppod.toml"
    path.write_text(text)
    for name, other in more.items():
        (folder / "conf.d").mkdir(exist_ok=True)
        (folder / "conf.d" / f"{name}.toml").write_text(other)
    return configuration.load([path], old_files=[])


def problems(folder: Path, text: str, **more: str) -> list[str]:
    """What is wrong with it, without the folder's name."""
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text, **more)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_load_and_match_the_schema(path: Path) -> None:
    if path.name == "demo-plant.toml":
        return
    loaded = configuration.load([path], old_files=[])
    assert loaded.plant.devices
    jsonschema.validate(tomllib.loads(path.read_text()), configuration.schema())


def test_an_empty_file_is_a_gateway_on_loopback(tmp_path: Path) -> None:
    plant = load(tmp_path, "").plant
    assert [listener.address for listener in plant.listeners] == ["127.0.0.1:44818"]
    assert plant.options("metrics") == "127.0.0.1:9880"
    assert (plant.options("history"), plant.devices) == (None, ())


@pytest.mark.parametrize("lenient", ["false", "true"])
def test_a_listener_takes_writes_of_another_type_only_if_told_so(
    tmp_path: Path, lenient: str
) -> None:
    (listener,) = load(tmp_path, f"[[listener]]\nlenient_types = {lenient}\n").plant.listeners
    assert listener.lenient_types is (lenient == "true")


def test_the_plant_survives_its_journey_as_json(tmp_path: Path) -> None:
    plant = load(tmp_path, DEVICE).plant
    assert from_plain(Plant, json.loads(json.dumps(to_plain(plant)))) == plant


def test_five_mistakes_are_all_named_at_once(tmp_path: Path) -> None:
    text = (
        DEVICE.replace("500ms", "soon").replace("REAL", "FLOAT")
        + """
[[route]]
path = "1/1"
device = "press"
[[listener]]
adress = "127.0.0.1:44818"
[line.hall]
port = "/dev/ttyS0"
baudrate = "fast"
"""
    )
    assert problems(tmp_path, text) == [
        "cpppod.toml:17: line.hall.baudrate: 'fast': expected a whole number",
        "cpppod.toml:8: device.boiler.group[0].tags[0].type: 'FLOAT': expected a type: BOOL, SINT, "
        "INT, DINT, LINT, USINT, UINT, UDINT, ULINT, REAL, LREAL, STRING, SSTRING, BYTE, WORD, "
        "DWORD, LWORD; of a structure its members",
        "cpppod.toml:7: device.boiler.group[0].period: 'soon': expected a duration: seconds, or "
        'text such as "500ms", "1s", "10min", "1h30m", "30d"',
        "cpppod.toml:14: listener[0].adress: '127.0.0.1:44818': expected no such key; did you mean "
        "address?",
        "cpppod.toml:12: route[0].device: 'press': expected the name of a device: boiler",
    ]


def test_one_mistake_does_not_hide_others_of_the_same_table(tmp_path: Path) -> None:
    text = """
[device.meter]
driver = "modbus-rtu"
line = "nowhere"
unit = 300
[[device.meter.group]]
name = "no name"
period = "1ms"
tags = [{ name = "no name", address = "IR:1", writable = true }]
[[tag]]
name = "no name"
type = "DINTT"
listener = "other"
[[route]]
path = "1/1"
device = "press"
limit = 0
"""
    assert [line.split(": ")[1] for line in problems(tmp_path, text)] == [
        "device.meter.unit",
        "device.meter.group[0].tags[0].name",
        "device.meter.group[0].tags[0].writable",
        "device.meter.group[0].name",
        "device.meter.group[0].period",
        "device.meter.line",
        "tag[0].name",
        "tag[0].listener",
        "tag[0].type",
        "route[0].limit",
        "route[0].device",
    ]


def test_every_broken_file_is_named(tmp_path: Path) -> None:
    found = problems(tmp_path, "[gateway", a="x = = 1", b="[devise.x]\ndriver = 'enip'")
    assert [line.split(":")[0] for line in found] == [
        "cpppod.toml",
        "conf.d/a.toml",
        "conf.d/b.toml",
    ]
    assert "did you mean device?" in found[2]


def test_a_missing_file_is_a_problem_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="readable file"):
        configuration.load([tmp_path / "none.toml"], old_files=[])


def test_files_of_conf_d_add_to_the_configuration(tmp_path: Path) -> None:
    other = DEVICE.replace("boiler", "dryer").replace("15020", "15021")
    loaded = load(
        tmp_path,
        DEVICE + '[[tag]]\nname = "a"\ntype = "INT"',
        more=other,
        last=('[[tag]]\nname = "b"\ntype = "DINT[4]"'),
    )
    assert [device.name for device in loaded.plant.devices] == ["boiler", "dryer"]
    assert [tag.name for tag in loaded.plant.listeners[0].tags] == ["a", "b"]
    assert [Path(file).name for file in loaded.files] == ["cpppod.toml", "last.toml", "more.toml"]


def test_a_mistake_in_conf_d_is_reported_with_its_own_place(tmp_path: Path) -> None:
    first = '[[tag]]\nname = "a"\ntype = "INT"\n'
    assert problems(tmp_path, first, more='[[tag]]\nname = "b"\ntype = "ANT"') == [
        "conf.d/more.toml:3: tag[0].type: 'ANT': expected a CIP type or a structure, with "
        "dimensions: DINT[10]"
    ]


def test_a_table_in_two_files_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, DEVICE, more='[device.boiler]\ndriver = "enip"')
    assert found == [
        "conf.d/more.toml:1: device.boiler: expected it once: it is also in cpppod.toml"
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0.25", 0.25), ("2", 2.0), ('"500ms"', 0.5), ('"1.5 s"', 1.5), ('"1min"', 60.0)],
)
def test_durations_are_seconds_or_text(tmp_path: Path, text: str, seconds: float) -> None:
    plant = load(tmp_path, DEVICE.replace('"500ms"', text)).plant
    assert plant.devices[0].groups[0].period_s == seconds


@pytest.mark.parametrize("text", ["-1", "nan", "inf", '"1 fortnight"', "true", '""', "0", "1e-9"])
def test_what_is_no_period_is_refused(tmp_path: Path, text: str) -> None:
    (found,) = problems(tmp_path, DEVICE.replace('"500ms"', text))
    assert "device.boiler.group[0].period" in found


@pytest.mark.parametrize("name", ["../x", "a b", "x\\ny", "1st", "ä", "x" * 41])
def test_names_that_could_escape_into_paths_or_files_are_refused(tmp_path: Path, name: str) -> None:
    text = DEVICE.replace("device.boiler", f'device."{name}"')
    assert any("expected a name" in line for line in problems(tmp_path, text))


def test_names_are_unique_without_regard_to_case(tmp_path: Path) -> None:
    text = (
        DEVICE
        + DEVICE.replace("boiler", "Boiler").replace("15020", "15021")
        + """
[[tag]]
name = "BOILER"
type = "INT"
"""
    )
    found = problems(tmp_path, text)
    assert [line.split(": ")[1] for line in found] == ["device.boiler", "device.Boiler"]


def test_a_flat_name_must_not_hide_a_device(tmp_path: Path) -> None:
    text = DEVICE.replace('unit = "bar"', 'flat_name = "boiler"')
    (found,) = problems(tmp_path, text)
    assert "flat_name" in found
    assert "not in use" in found


@pytest.mark.parametrize(
    "tag",
    ['address = "40020.3"', 'type = "UINT", address = "HR:19.3"', 'type = "INT", bit = 3'],
)
def test_one_bit_of_a_register_is_a_bool_to_clients(tmp_path: Path, tag: str) -> None:
    text = DEVICE.replace('type = "REAL", unit = "bar"', tag)
    if "address" in tag:
        text = text.replace('address = "HR:0", ', "").replace("address = 40001, ", "")
    (device,) = load(tmp_path, text).plant.devices
    (made,) = device.groups[0].tags
    assert (made.bit, made.cip_type) == (3, "BOOL")


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ('type = "INT", bit = 16', "0 to 15 for INT"),
        ('type = "REAL", bit = 1', "none: REAL has no bits"),
        ('type = "STRING"', "the bytes that the STRING takes"),
        ('type = "BOOL", scale = 2', "no scale or offset"),
        ("scale = 0", "a number other than 0"),
        ("writable = true, minimum = 2, maximum = 1", "at most the maximum, 1.0"),
        ("maximum = 1", "writable = true beside"),
        ('write_rate = "1/s"', "writable = true beside"),
        ('writable = true, write_rate = "often"', 'a number of writes in a time: "1/s"'),
        ("writable = true, write_rate = 5", 'a number of writes in a time: "1/s"'),
        ('length = "2"', "a whole number"),
        ("deadband = -1", "0 or more"),
        ('unit = "a\\nb"', "text on one line"),
        ('type = "DINT", writable = true, address = "IR:4"', "can only be read"),
        ('address = "CO:1"', "BOOL: CO:1 holds bits"),
        ('address = "boiler pressure"', "a Modbus address"),
        ('type = "SSTRING", size = 3, length = 2', "registers"),
    ],
)
def test_tags_that_cannot_be_are_refused(tmp_path: Path, tag: str, wanted: str) -> None:
    text = DEVICE.replace('type = "REAL", unit = "bar"', tag)
    if "address" in tag:
        text = text.replace("address = 40001, ", "")
    (found,) = problems(tmp_path, text)
    assert wanted in found


def test_rate_of_a_group_is_that_of_its_writable_tags_without_one(tmp_path: Path) -> None:
    tags = """
        { name = "a", address = 40001, writable = true },
        { name = "b", address = 40002, writable = true, write_rate = "2/h" },
        { name = "c", address = 40003 },
    """
    text = f"""
        [device.boiler]
        driver = "modbus-tcp"
        address = "10.0.0.5:502"
        [[device.boiler.group]]
        name = "fast"
        period = "1s"
        write_rate = "10/min"
        tags = [{tags}]
        [[tag]]
        name = "shift"
        type = "DINT"
        write_rate = "1/s"
    """
    plant = load(tmp_path, text).plant
    assert [tag.write_rate for tag in plant.devices[0].groups[0].tags] == ["10/min", "2/h", ""]
    assert plant.listeners[0].tags[0].write_rate == "1/s"


def test_a_device_may_have_an_ipv6_address(tmp_path: Path) -> None:
    text = '[device.x]\ndriver = "modbus-tcp"\naddress = "[2001:db8::7]:502"\n'
    assert load(tmp_path, text).plant.devices[0].address == "[2001:db8::7]:502"


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ('driver = "modbus-tcp"', "its address: modbus-tcp needs one"),
        ('driver = "modbus-tcp"\naddress = "plc"', "an address host:port"),
        ('driver = "modbus-tcp"\naddress = "10.0.0.256:502"', "an address host:port"),
        ('driver = "modbus-tcp"\naddress = "::1:502"', "an address host:port"),
        ('driver = "modbus-tcp"\naddress = "plc:502"\nunit = 300', "255 or less"),
        ('driver = "modbus-rtu"\nline = "none"', "the name of a line: hall"),
        ('driver = "modbus-rtu"\nline = "hall"\nunit = 248', "1 to 247"),
        ('driver = "enip"\naddress = "plc:44818"\nroute_path = "1"', "a route path such as"),
        ('driver = "enip"\naddress = "plc:44818"\nframes = {}', "no such key without"),
        (
            'driver = "enip"\naddress = "plc:44818"\nqueue = "x"',
            'no such key without driver = "text"',
        ),
        ('driver = "modbus-tcp"\naddress = "plc:502"\nroute_path = "1"', "a route path such as"),
        ('driver = "enip"\naddress = "plc:44818"\nin_flihgt = 4', "did you mean in_flight?"),
        ('driver = "text"\naddress = "plc:1"\nmodel = "sics"\nqueue = 0', "1 or more"),
        ('driver = "opc"\naddress = "plc:44818"', "one of 'modbus-tcp'"),
        ('driver = "enip"\naddress = "plc:44818"\nmodel = "../x"', "a device model"),
        ('driver = "enip"\naddress = "plc:44818"\ntemplate = "x"', "the name of a template"),
    ],
)
def test_devices_that_cannot_be_are_refused(tmp_path: Path, keys: str, wanted: str) -> None:
    (found,) = problems(tmp_path, f'[line.hall]\nport = "/dev/ttyS0"\n[device.x]\n{keys}\n')
    assert wanted in found


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ('path = "1/1"', "either a device or an address"),
        ('path = "1/1"\ndevice = "boiler"\naddress = "h:1"', "either a device or an address"),
        ('path = "1/300"\ndevice = "boiler"', "port/link"),
        ('path = "1/7-2"\ndevice = "boiler"', "port/link"),
        ('path = "2/10.0.0.256"\ndevice = "boiler"', "port/link"),
        ('path = "1/0"\ndevice = "boiler"', "not 1/0: it is the local one"),
        ('path = "1/1"\ndevice = "boiler"\nsources = ["10/8"]', "a network"),
    ],
)
def test_routes_that_cannot_be_are_refused(tmp_path: Path, keys: str, wanted: str) -> None:
    text = f'{DEVICE}\n[[listener]]\nroute_path = "1/0"\n[[route]]\n{keys}\n'
    assert wanted in problems(tmp_path, text)[0]


@pytest.mark.parametrize(
    ("listener", "address", "circle"),
    [
        ("0.0.0.0:45000", "127.0.0.1:45000", True),
        ("127.0.0.1:45000", "127.0.0.1:45000", True),
        ("0.0.0.0:45000", "localhost:45000", True),
        ("127.0.0.1:45000", "127.0.0.2:45000", False),
        ("0.0.0.0:45000", "10.0.0.5:45000", False),
        ("10.0.0.5:45000", "10.0.0.5:45000", True),
    ],
)
def test_route_to_a_listener_of_the_gateway_s_own_is_a_mistake(
    tmp_path: Path, listener: str, address: str, circle: bool
) -> None:
    head = f'[[listener]]\naddress = "{listener}"\n'
    named = f'[device.plc]\ndriver = "enip"\naddress = "{address}"\n'
    wanted = "expected another device: that is the gateway's own listener 'main'"
    for text in (
        f'{head}[[route]]\npath = "1/1"\naddress = "{address}"\n',
        f'{head}{named}[[route]]\npath = "1/1"\ndevice = "plc"\n',
    ):
        if circle:
            assert wanted in problems(tmp_path, text)[0]
        else:
            assert load(tmp_path, text).plant.routes


def test_a_key_of_another_driver_that_any_device_may_carry_has_no_effect(tmp_path: Path) -> None:
    keys = 'driver = "modbus-tcp"\naddress = "plc:502"\nin_flight = 8\nconnected = true\nunit = 7'
    (device,) = load(tmp_path, f"[device.x]\n{keys}\n").plant.devices
    assert (device.unit, device.in_flight, device.connected) == (7, 4, False)


def test_mistakes_of_a_tag_are_named_together_whoever_finds_them(tmp_path: Path) -> None:
    tag = 'address = "IR:4", type = "DINT", writable = true, minimum = 2, maximum = 1'
    text = DEVICE.replace("address = 40001, ", "").replace('type = "REAL", unit = "bar"', tag)
    assert [
        found.partition("tags[0].")[2].partition(":")[0] for found in problems(tmp_path, text)
    ] == [
        "minimum",
        "writable",
    ]


def test_routes_must_not_overlap(tmp_path: Path) -> None:
    route = '[[route]]\npath = "{}"\ndevice = "boiler"\n'
    (found,) = problems(tmp_path, DEVICE + route.format("1/2-7") + route.format("1/5"))
    assert "route[1].path: '1/5': expected other links: 1/2-7 covers 1/5 already" in found


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ('type = "DINT[1,2,3,4]"', "with dimensions"),
        ('type = "INT"\nvalue = 40000', "whole numbers from -32768 to 32767"),
        ('type = "INT[3]"\nvalue = [1, 2]', "3 values, or one for all"),
        ('type = "STRING"\nvalue = 1', "text"),
        ('type = "INT"\naddress = "2/1/1"', "@"),
        ('type = "INT"\nlistener = "other"', "the name of a listener: main"),
        ('type = "DINT[9999999]"', "at most 1000000 elements"),
    ],
)
def test_local_tags_that_cannot_be_are_refused(tmp_path: Path, tag: str, wanted: str) -> None:
    assert wanted in problems(tmp_path, f'[[tag]]\nname = "a"\n{tag}\n')[0]


def test_a_feed_beyond_loopback_needs_keys(tmp_path: Path) -> None:
    text = '[feed]\npublish = "0.0.0.0:44880"\nsnapshot = "127.0.0.1:44881"\n'
    (found,) = problems(tmp_path, text)
    assert "feed.publish" in found
    keys = 'secret_key_file = "/k"\nclient_keys_file = "/c"\n'
    assert load(tmp_path, text + keys).plant.options("feed")["client_keys_file"] == "/c"


def test_one_address_serves_one_thing(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, '[metrics]\naddress = "127.0.0.1:44818"\n')
    assert "metrics.address" in found


def test_history_starts_with_the_first_group_that_wants_it(tmp_path: Path) -> None:
    assert load(tmp_path, DEVICE).plant.options("history") is None
    text = DEVICE.replace('period = "500ms"', 'period = "500ms"\nhistory = true')
    assert load(tmp_path, text).plant.options("history")["store"] == "sqlite"
    (found,) = problems(tmp_path, text + "[history]\nenabled = false\n")
    assert "history.enabled" in found


def test_word_order_is_the_tags_own_the_devices_or_the_models(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "odd.toml").write_text('word_order = "little"\ndelay = "20ms"\n')
    two = '}, { name = "b", address = 40003, type = "REAL", word_order = "big" }]'
    text = DEVICE.replace("}]", two).replace('"modbus-tcp"', '"modbus-tcp"\nmodel = "odd"')
    device = load(tmp_path, text).plant.devices[0]
    assert [tag.word_order for tag in device.groups[0].tags] == ["little", "big"]
    assert (device.delay_s, device.model["delay"]) == (0.02, "20ms")


def test_check_names_every_mistake_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[feed]\nreplay_size = 'big'\n[web]\nenabled = 1\n[gateway]\ncpppo_cfg=false")
    assert command.main(["--check", str(path)]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert f"{path}:2: feed.replay_size: 'big': expected a size" in written.err
    assert f"{path}:4: web.enabled: 1: expected true or false" in written.err
    assert "2 mistakes" in written.err
    assert command.main(["--check", str(path), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 2


def test_check_of_a_good_file_tells_what_it_amounts_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "good.toml"
    path.write_text(DEVICE + "[gateway]\ncpppo_cfg = false\n")
    assert command.main(["--check", str(path), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert (plain["ok"], plain["devices"], plain["tags"]) == (True, 1, 1)
    assert "poller-boiler" in plain["workers"]


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "device" in schema["properties"]


@pytest.mark.parametrize("address", ["Speed[", "Program:Main.", "@1/2/x"])
def test_addresses_that_no_controller_has_are_refused(tmp_path: Path, address: str) -> None:
    text = DEVICE.replace("modbus-tcp", "enip").replace("40001", f'"{address}"')
    (found,) = problems(tmp_path, text)
    assert "a tag or attribute of a controller" in found


def test_a_model_with_unknown_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "odd.toml").write_text("max_register = 10\n")
    text = DEVICE.replace('"modbus-tcp"', '"modbus-tcp"\nmodel = "odd"')
    (found,) = problems(tmp_path, text)
    assert found.startswith("models/odd.toml:1: max_register: 10: expected no such key; did you ")
    assert "max_registers" in found


SCALE = """
[device.scale]
driver = "text"
address = "127.0.0.1:4001"
[device.scale.frames.weight]
request = "S"
pattern = 'S (?P<grams>[0-9]+)'
[[device.scale.group]]
name = "g"
period = 1
tags = [{ name = "grams", address = "grams" }]
"""


def test_a_text_devices_frames_are_its_drivers_options(tmp_path: Path) -> None:
    (device,) = load(tmp_path, SCALE).plant.devices
    assert device.options["frames"]["weight"]["request"] == "S"


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ('"grams" }', '"kilos" }', "device.scale.group[0].tags[0].address: 'kilos'"),
        ("[0-9]+)", "[0-9]+", "device.scale.frames.weight.pattern"),
        ('request = "S"', "maximum = 0", "device.scale.frames.weight.maximum"),
        ('"grams" }', '"grams", writable = true }', "a command named 'grams'"),
    ],
)
def test_text_devices_that_cannot_be_are_refused(
    tmp_path: Path, old: str, new: str, wanted: str
) -> None:
    (found,) = problems(tmp_path, SCALE.replace(old, new, 1))
    assert wanted in found


def test_structures_may_contain_structures_that_exist(tmp_path: Path) -> None:
    text = '[[structure]]\nname = "inner"\nmembers = [{ name = "a", type = "INT" }]\n' + (
        '[[structure]]\nname = "outer"\nmembers = [{ name = "i", type = "inner", length = 2 }]\n'
        '[[tag]]\nname = "t"\ntype = "outer"\n[[tag]]\nname = "u"\ntype = "TIMER"\n'
    )
    (listener,) = load(tmp_path, text).plant.listeners
    assert listener.structures["outer"] == [{"name": "i", "type": "inner", "length": 2}]
    (found,) = problems(tmp_path, text.replace('type = "inner"', 'type = "iner"'))
    assert "structure[1].members[0].type: 'iner'" in found


def test_every_personality_and_predefined_structure_of_the_listener_can_be_chosen() -> None:
    assert get_args(Personality) == tuple(PERSONALITIES)
    assert tuple(PREDEFINED) == PREDEFINED_STRUCTURES


def test_the_web_page_beyond_loopback_needs_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cpppod.toml"
    head = "[gateway]\ncpppo_cfg=false\n[web]\nenabled = true\n"
    path.write_text(head + 'address = "0.0.0.0:8880"\ncertificate_file = "/c.pem"')
    assert command.main(["--check", str(path)]) == 1
    told = capsys.readouterr().err
    assert "web.address: '0.0.0.0:8880': expected a loopback address, or users_file" in told
    assert "web.key_file: expected a file too" in told
    path.write_text(head + 'address = "0.0.0.0:8880"\nusers_file = "/etc/cpppod/users.json"')
    assert command.main(["--check", str(path)]) == 0


def test_comma_paths_and_names_of_ports_become_route_paths(tmp_path: Path) -> None:
    device = (
        '[device.plc]\ndriver = "enip"\naddress = "plc:44818"\nroute_path = "1,0,enet,10.0.0.5"\n'
    )
    listener = '[[listener]]\nroute_path = "bp/0"\n'
    route = '[[route]]\npath = "bp/3"\ndevice = "plc"\n[[route]]\npath = "1,4-6"\ndevice = "plc"\n'
    found = load(tmp_path, device + listener + route).plant
    assert [each.route_path for each in found.devices] == ["1/0/2/10.0.0.5"]
    assert [each.route_path for each in found.listeners] == ["1/0"]
    assert (
        "not 1/0: it is the local one"
        in problems(tmp_path, device + listener + '[[route]]\npath = "1,0"\ndevice = "plc"\n')[0]
    )


@pytest.mark.parametrize("text", ["500ms", "10m", "10min", "1h30m", "1:30", "0.5h"])
def test_a_duration_is_written_as_on_a_command_line(tmp_path: Path, text: str) -> None:
    (device,) = load(tmp_path, DEVICE.replace("500ms", text)).plant.devices
    assert device.groups[0].period_s == parse_seconds(text)


def test_every_key_has_a_description_for_editors() -> None:
    schema = configuration.schema()
    tables = {"the file": schema, **schema["$defs"]}
    silent = [
        f"{table}.{key}"
        for table, model in tables.items()
        for key, described in model.get("properties", {}).items()
        if not described.get("description")
    ]
    assert not silent
