"""What others say of the web page and its API: `make web-audit`.

    redocly        the OpenAPI document
    schemathesis   every operation against it, all checks (what talks to devices is left out)
    axe-core       every page, light and dark, for who cannot see or point
    lighthouse     performance and accessibility, at least 95 of 100
    screenshots    of every page into docs/images/, to be looked at

The gateway is one of its own, on the demo's plant; its configuration may be written over.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.gateway.running import RunningGateway, eventually, running_gateway  # noqa: E402

TOOLS = ROOT / ".peers" / "web-audit"
NODE = TOOLS / "node_modules"
IMAGES = ROOT / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
ENDLESS = ("/live",)
TALKS_TO_DEVICES = ("/discover", "/scan", "/browse")  # only what they refuse is tried
LEAST = 0.95
PAGES = {
    "overview": "",
    "device": "devices/mixer",
    "tags": "tags",
    "trends": "trends?tags=boiler.pressure,boiler.temperature,press.force",
    "routes": "routes",
    "events": "events",
    "system": "system",
    "add": "add",
    "configuration": "configuration",
}
SHOTS = (  # name's end, size, colours
    ("", (1100, 700), "light"),
    ("-dark", (1100, 700), "dark"),
    ("-phone", (390, 780), "light"),
)
WHOLE = ("device", "add")  # pages that are shown to their ends


def run(*words: str, **environment: str) -> int:
    print("$", *words, flush=True)
    told = {**os.environ, **environment}
    return subprocess.run(words, env=told, cwd=TOOLS, check=False).returncode


def base_of(gateway: RunningGateway) -> str:
    host, port = gateway.address(8880)
    return f"http://{host}:{port}"


def lint(_gateway: RunningGateway) -> bool:
    document = ROOT / "workers" / "web" / "static" / "openapi.json"
    return run(str(NODE / ".bin" / "redocly"), "lint", str(document)) == 0


def schemas(gateway: RunningGateway) -> bool:
    token = gateway.ask("token", role="engineer")["token"]
    url = f"{base_of(gateway)}/api/v1"
    left_out = [w for path in ENDLESS + TALKS_TO_DEVICES for w in ("--exclude-path", path)]
    refused = [w for path in TALKS_TO_DEVICES for w in ("--include-path", path)]
    words = (
        *(str(TOOLS / "bin" / "schemathesis"), "run", f"{url}/openapi.json", "--url", url),
        *("--header", f"Authorization: Bearer {token}", "--checks", "all", "--workers", "1"),
        *("--rate-limit", "80/s", "--max-examples", "30"),
    )
    well = run(*words, "--mode", "negative", *refused) == 0
    return run(*words, *left_out) == 0 and well


@contextmanager
def visiting(gateway: RunningGateway, **context: Any) -> Iterator[Any]:
    """A page of an engineer's."""
    from playwright.sync_api import sync_playwright

    token = gateway.ask("token", role="engineer", name="anna", once=True)["token"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_context(**context).new_page()
        page.goto(f"{base_of(gateway)}/#token={token}")
        page.locator(".card").first.wait_for()
        yield page
        browser.close()


def open_page(page: Any, gateway: RunningGateway, path: str) -> None:
    page.goto(f"{base_of(gateway)}/#/{path}")
    page.wait_for_timeout(2500)  # two polls: what there is to see is there


def accessible(gateway: RunningGateway) -> bool:
    found = []
    for colours in ("light", "dark"):
        with visiting(gateway, color_scheme=colours, bypass_csp=True) as page:
            for name, path in PAGES.items():
                open_page(page, gateway, path)
                page.add_script_tag(path=str(NODE / "axe-core" / "axe.min.js"))
                for each in page.evaluate("axe.run()")["violations"]:
                    targets = [node["target"] for node in each["nodes"]][:3]
                    found.append(f"{name} {colours}: {each['impact']} {each['id']} {targets}")
    print(*found or ["axe-core: nothing found"], sep="\n")
    return not [line for line in found if ": serious" in line or ": critical" in line]


def quick(gateway: RunningGateway) -> bool:
    report = TOOLS / "lighthouse.json"
    flags = "--chrome-flags=--headless=new --no-sandbox"
    categories = "--only-categories=performance,accessibility,best-practices"
    words = (f"{base_of(gateway)}/", flags, "--quiet", "--output=json", categories)
    path = f"--output-path={report}"
    if run(str(NODE / ".bin" / "lighthouse"), *words, path, CHROME_PATH=CHROMIUM):
        return False
    scores = {
        name: each["score"] for name, each in json.loads(report.read_text())["categories"].items()
    }
    print("lighthouse:", scores)
    return all(score >= LEAST for score in scores.values())


def pictures(gateway: RunningGateway) -> bool:
    IMAGES.mkdir(exist_ok=True)
    gateway.ask("write", writes=[["meter_1.setpoint", 42], ["boiler.limit", 7.5]])
    gateway.simulators["mixer"].stop()  # so that there is something to see
    eventually(lambda: gateway.devices()["mixer"]["state"] == "offline")
    for end, (width, height), colours in SHOTS:
        size = {"width": width, "height": height}
        with visiting(gateway, color_scheme=colours, viewport=size) as page:
            for name, path in PAGES.items():
                open_page(page, gateway, path)
                page.screenshot(path=IMAGES / f"web-{name}{end}.png", full_page=name in WHOLE)
    return True


PARTS: dict[str, Callable[[RunningGateway], bool]] = {
    "redocly": lint,
    "axe-core": accessible,
    "lighthouse": quick,
    "screenshots": pictures,
    "schemathesis": schemas,  # the last: it may write over the configuration
}


def main(wanted: list[str]) -> int:
    """Every part, or those that are named."""
    with running_gateway() as gateway:
        eventually(lambda: gateway.stored("press.force"))
        done = {name: PARTS[name](gateway) for name in wanted or PARTS}
    print(*(f"{name}: {'well' if well else 'NOT WELL'}" for name, well in done.items()), sep="\n")
    return 0 if all(done.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
