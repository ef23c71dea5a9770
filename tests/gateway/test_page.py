"""The page in a browser, on a whole gateway: what an engineer sees and does.

Where Chromium is not there, nothing of this is tested, and says so.
"""

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.gateway.running import RunningGateway, Simulator, eventually
from tests.patience import PATIENCE_S
from tests.ports import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or ""
ROWS = ".grid .rows [role=row]:not([hidden])"

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM)
        yield found
        found.close()


class Visit:
    """One look at the page.

    Attributes:
        complaints: what the browser's console had to say.
    """

    def __init__(self, page: "Page", base: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._base = base
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        page.on("console", self._on_console)

    def _on_console(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def go(self, path: str) -> "Page":
        self.page.goto(f"{self._base}/{path}")
        return self.page

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()


def base_of(gateway: RunningGateway) -> str:
    host, port = gateway.address(8880)
    return f"http://{host}:{port}"


@pytest.fixture
def visit(gateway: RunningGateway, browser: "Browser") -> Iterator[Visit]:
    """A viewer's look; at the end the browser has complained of nothing."""
    gateway.wait_until_well()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    found = Visit(context.new_page(), base_of(gateway))
    yield found
    context.close()
    assert found.complaints == []


@pytest.fixture
def engineer(gateway: RunningGateway, visit: Visit) -> Visit:
    """The same with an engineer's token, as `make run` prints it."""
    token = gateway.ask("token", role="engineer", once=True)["token"]
    visit.go(f"#token={token}")
    visit.page.get_by_role("link", name="Configuration").wait_for()
    assert token not in visit.page.url
    return visit


def test_the_overview_has_every_device_and_leads_to_it(
    gateway: RunningGateway, visit: Visit
) -> None:
    page = visit.go("")
    page.locator(".card").first.wait_for()
    eventually(lambda: page.locator(".card").count() == len(gateway.devices()))
    page.get_by_label("Search devices").fill("boiler")
    eventually(lambda: page.locator(".card").count() == 1)
    page.locator(".card").click()
    eventually(lambda: "boiler is online" in visit.text(".verdict"))
    assert "FC3" in visit.text("main") or "FC4" in visit.text("main")


def test_a_killed_device_is_first_and_red_and_says_why(
    gateway: RunningGateway, visit: Visit
) -> None:
    page = visit.go("")
    page.locator(".card").first.wait_for()
    gateway.simulators["mixer"].stop()
    try:
        first = page.locator(".card").first
        eventually(lambda: "mixer" in first.inner_text() and "offline" in first.inner_text())
        assert "state-offline" in (first.get_attribute("class") or "")
        first.click()
        page.locator(".verdict.is-bad").wait_for()
        assert "mixer is offline: " in visit.text(".verdict")
    finally:
        gateway.simulators["mixer"].restart()
    eventually(lambda: "online" in visit.text(".verdict"))


def test_tags_move_and_are_found_as_one_types(visit: Visit) -> None:
    page = visit.go("#/tags")
    page.locator(ROWS).first.wait_for()
    page.get_by_label("Search").fill("boil cyc")
    eventually(lambda: page.locator(ROWS).count() == 1)
    assert "boiler.cycles" in visit.text(ROWS)
    before = visit.text(f"{ROWS} .value")
    eventually(lambda: visit.text(f"{ROWS} .value") != before)
    assert "good" in visit.text(ROWS)
    assert page.get_by_role("button", name="Write").count() == 0  # a viewer does not write


def test_a_write_goes_through_its_confirmation_and_arrives(
    gateway: RunningGateway, engineer: Visit
) -> None:
    page = engineer.go("#/tags?filter=meter_3.setpoint")
    page.get_by_role("button", name="Write meter_3.setpoint").click()
    box = page.get_by_role("dialog")
    box.get_by_label("New value").fill("2000")
    box.get_by_role("button", name="Next").click()
    assert "at most 1000" in box.get_by_role("alert").inner_text()
    box.get_by_label("New value").fill("333")
    box.get_by_role("button", name="Next").click()
    assert gateway.value("meter_3.setpoint") != 333
    box.get_by_role("button", name="Write it").click()
    box.get_by_text("done").wait_for()
    assert gateway.simulators["hall"].tell("get", "3:40010")["result"] == [333]
    box.get_by_role("button", name="Close").click()
    eventually(lambda: "333" in engineer.text(f"{ROWS} .value"))
    engineer.go("#/events")
    row = page.get_by_label("Attempted writes").locator("tbody tr").first
    words = ("meter_3.setpoint", "333", "done")
    eventually(lambda: all(word in row.inner_text() for word in words), say=row.inner_text)


def points(page: "Page", what: str = "points,") -> int:
    """How many of them the chart says that it has; -1 where it says nothing."""
    words = (page.locator(".chart").get_attribute("aria-label") or "").split()
    return int(words[words.index(what) - 1]) if what in words else -1


def test_a_trend_joins_what_is_stored_and_what_comes_and_shows_what_was_bad(
    gateway: RunningGateway, visit: Visit
) -> None:
    eventually(lambda: gateway.stored("press.force"))
    page = visit.go("#/trends?tags=press.force")
    page.locator(".uplot canvas").wait_for()

    eventually(lambda: points(page) > 3)
    before = points(page)
    eventually(lambda: points(page) > before)
    gateway.simulators["press"].stop()
    try:
        eventually(lambda: points(page, "bad") > 0)
    finally:
        gateway.simulators["press"].restart()
    gateway.wait_until_well()
    page.reload()
    page.locator(".uplot canvas").wait_for()
    eventually(lambda: points(page, "bad") > 0)  # it is in the history, too


GAP_PIXELS = """() => {
  const canvas = document.querySelector(".uplot canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4)
    if (Math.abs(data[at] - 125) < 4 && Math.abs(data[at + 3] - 71) < 4) found += 1;
  return found;
}"""


def test_what_was_not_recorded_is_drawn_as_a_gap(gateway: RunningGateway, visit: Visit) -> None:
    eventually(lambda: gateway.stored("press.total"))
    os.kill(gateway.workers()["poller-press"]["pid"], signal.SIGKILL)
    gateway.wait_until_well()
    tag = "press.total"
    eventually(lambda: gateway.ask("history", tag=tag)["gaps"])
    page = visit.go(f"#/trends?tags={tag}")
    page.locator(".uplot canvas").wait_for()
    eventually(lambda: points(page, "missing") > 0)
    eventually(lambda: page.evaluate(GAP_PIXELS) > 100)
    page.get_by_text("not recorded", exact=False).first.wait_for()


def test_a_device_shows_its_last_messages_as_bytes_and_in_words(
    gateway: RunningGateway, engineer: Visit
) -> None:
    gateway.ask("write", writes=[["boiler.limit", 6.25]])
    page = engineer.go("#/devices/boiler")
    wire = page.get_by_label("On the wire")
    sent = wire.locator("tbody tr", has_text="→ sent")
    row = sent.filter(has_text="write multiple registers").first
    row.wait_for()
    assert " 10 00 " in row.locator("code").inner_text()
    eventually(lambda: "write by " in engineer.text("main dl"))
    engineer.go("#/devices/press")
    page.get_by_label("On the wire").get_by_text("READ_TAG Force", exact=False).first.wait_for()
    page.get_by_role("link", name="Browse what it has").click()
    host, port = gateway.address(44819)
    assert page.get_by_label("Address").input_value() == f"{host}:{port}"


@pytest.fixture
def empty() -> Iterator[RunningGateway]:
    """A gateway that has nothing but its page, and a Modbus device nobody has told it of."""
    gateway = RunningGateway()
    page, port = free_port(), free_port()
    gateway.ports |= {8880: page, page: page, port: port, 502: port}
    words = ["modbus_sim", "-a", f"127.0.0.1:{port}", "-m", "40001=counter,every=0.2"]
    meter = Simulator("added", [*words, "40001-40003=1"], gateway.folder / "added.log")
    gateway.simulators["added"] = meter
    try:
        eventually(lambda: is_open(port))
        gateway.start(configuration=f'[web]\nenabled = true\naddress = "127.0.0.1:{page}"\n')
        yield gateway
    finally:
        gateway.stop()


def test_from_an_empty_file_one_is_led_to_a_first_device_that_moves(
    empty: RunningGateway, browser: "Browser"
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    found = Visit(context.new_page(), base_of(empty))
    address = f"127.0.0.1:{empty.address(502)[1]}"
    page = found.go(f"#token={empty.ask('token', role='engineer', once=True)['token']}")
    page.get_by_role("link", name="Add the first device").click()
    page.get_by_label("Address").fill("127.0.0.1:1")
    page.get_by_label("Speaks").select_option("modbus-tcp")
    page.get_by_role("button", name="Test and read its tags").click()
    page.get_by_text("connection refused", exact=False).wait_for()
    page.get_by_label("Address").fill(address)
    page.get_by_role("button", name="Look for Modbus units").click()
    page.get_by_role("button", name="unit 1 cpppod", exact=False).click()
    page.get_by_label("Only").fill("40001-40003")
    page.get_by_role("button", name="Test and read its tags").click()
    page.get_by_text("It answers").wait_for()
    page.get_by_label("Name", exact=True).fill("added")
    written = page.get_by_label("The configuration that").input_value()
    page.locator(".found").get_by_role("checkbox").last.uncheck()
    fewer = page.get_by_label("The configuration that").input_value()
    assert written.count("address") == fewer.count("address") + 1 == 4
    page.get_by_role("button", name="Check").click()
    page.get_by_text("It is well").wait_for()
    page.get_by_role("button", name="Save and put in force").click()
    box = page.get_by_role("dialog")
    box.get_by_text("devices added: added").wait_for()
    box.get_by_role("button", name="Confirm").click()
    page.get_by_role("link", name="Look at it").click()
    value = page.locator("main .value").first
    value.wait_for()
    before = value.inner_text()
    eventually(lambda: value.inner_text() not in (before, "–"))
    assert (empty.configuration.parent / "conf.d" / "added.toml").exists()
    assert list(empty.devices()) == ["added"]
    context.close()
    found.complaints[:] = [each for each in found.complaints if "409" not in each]
    assert found.complaints == []


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
PAGES = ("#/", "#/devices/evil", "#/tags?filter=evil", "#/tags?filter=said", "#/system", "#/events",
         "#/routes", "#/configuration", f"#/add?name={EVIL}&address={EVIL}", f"#/devices/{EVIL}",
         "#/trends?tags=evil.t,said", f"#/trends?tags={EVIL}", f"#/tags?filter={EVIL}",
         f"#/{EVIL}", "#/devices/%ff")  # fmt: skip


def test_what_devices_files_and_addresses_say_is_text_and_never_markup(
    gateway: RunningGateway, engineer: Visit
) -> None:
    folder = gateway.configuration.parent / "conf.d"
    folder.mkdir(exist_ok=True)
    host, port = gateway.address(15020)
    Path(folder / "evil.toml").write_text(
        f'[device.evil]\ndriver = "modbus-tcp"\naddress = "{host}:{port}"\nunit = 2\n'
        f'description = "{EVIL}"\n'
        f'[[device.evil.group]]\nname = "a"\nperiod = "1s"\ntags = [{{ name = "t", address = 40001,'
        f' unit = "{EVIL}", description = "{EVIL}" }}]\n'
        f'[[tag]]\nname = "said"\ntype = "STRING"\nvalue = "{EVIL}"\n'
    )
    page = engineer.page
    try:
        gateway.ask("reload")
        for path in PAGES:
            engineer.go(path)
            eventually(lambda: "Loading" not in page.locator("main").inner_text())
            page.locator("h1").wait_for()
            assert page.locator("main img, main script").count() == 0, path
        engineer.go("#/tags?filter=said")
        eventually(lambda: "<img src=x" in engineer.text(f"{ROWS} .value"))
        engineer.go("#/")
        eventually(lambda: "<img src=x" in page.locator(".cards").inner_text())
        assert page.locator("main img, main script").count() == 0
    finally:
        Path(folder / "evil.toml").unlink()
        gateway.ask("reload")
    engineer.complaints[:] = [each for each in engineer.complaints if "404" not in each]


def test_the_page_waits_for_a_web_that_was_killed_and_goes_on(
    gateway: RunningGateway, visit: Visit
) -> None:
    page = visit.go("#/tags?filter=boiler.cycles")
    value = page.locator(f"{ROWS} .value")
    value.first.wait_for()
    os.kill(gateway.workers()["web"]["pid"], signal.SIGKILL)
    before = value.inner_text()
    eventually(lambda: value.inner_text() != before)
    eventually(lambda: page.locator("#trouble").is_hidden())
    page = visit.go("#/trends?tags=press.force")
    page.locator(".uplot canvas").wait_for()
    os.kill(gateway.workers()["web"]["pid"], signal.SIGKILL)
    page.locator("#trouble").get_by_text("interrupted", exact=False).wait_for()
    recorded = len(gateway.ask("history", tag="press.force")["rows"])
    eventually(lambda: points(page) > recorded)  # also what came while it was gone
    eventually(lambda: page.locator("#trouble").is_hidden())
    visit.complaints[:] = [each for each in visit.complaints if "ERR_" not in each]


@pytest.mark.parametrize("path", ["#/", "#/devices/boiler", "#/tags", "#/trends", "#/system"])
def test_on_a_phone_nothing_is_wider_than_the_screen(
    gateway: RunningGateway, browser: "Browser", path: str
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    try:
        found = Visit(context.new_page(), base_of(gateway))
        page = found.go(path)
        page.locator("h1").wait_for()
        eventually(lambda: "Loading" not in found.text("h1"))
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390
        assert found.complaints == []
    finally:
        context.close()


def test_the_keyboard_alone_reaches_a_page_and_a_device(visit: Visit) -> None:
    page = visit.go("")
    page.locator(".card").first.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert "card" in page.evaluate("document.activeElement.className")
    page.keyboard.press("Enter")
    page.locator(".verdict").wait_for()


def test_a_page_of_another_role_says_what_it_needs(visit: Visit) -> None:
    page = visit.go("#/configuration")
    page.get_by_text("cpppoctl web token --role engineer").wait_for()
    page.locator("main").get_by_role("button", name="Log in").click()
    box = page.get_by_role("dialog")
    box.get_by_label("Token").fill("guessed")
    box.get_by_role("button", name="Log in").click()
    box.get_by_text("unknown, used already, or over").wait_for()
    visit.complaints[:] = [each for each in visit.complaints if "401" not in each]
