"""The API's document: current, whole, and of the paths that there are."""

import re
from pathlib import Path
from typing import Any, cast

from starlette.routing import Route

from cpppod.workers.web.application import V1, Application
from cpppod.workers.web.openapi.__main__ import text
from cpppod.workers.web.openapi.settings import FIELD, document
from cpppod.workers.web.reading import FIELDS

STATIC = Path(__file__).parents[3] / "workers" / "web" / "static"


def test_the_document_that_is_served_is_current() -> None:
    assert (STATIC / "openapi.json").read_text("utf-8") == text(), (
        "run: python -m cpppod.workers.web.openapi"
    )


def test_every_path_is_described_with_its_methods_and_no_other() -> None:
    described = {
        (path, method.upper())
        for path, operations in document()["paths"].items()
        for method in operations
    }
    application = Application(cast(Any, None), cast(Any, None))
    routes = [each for each in application.routes if isinstance(each, Route)]
    served = {
        (each.path.removeprefix(V1), method)
        for each in routes
        if each.path.startswith(f"{V1}/") and not each.path.endswith("openapi.json")
        for method in (each.methods or {"GET"}) - {"HEAD"}
    }
    assert described == served


def test_fields_of_tags_are_those_that_there_are() -> None:
    assert list(FIELDS) == FIELD


def test_every_reference_leads_somewhere() -> None:
    told = document()
    names = re.findall(r"#/components/schemas/(\w+)", text())
    assert set(names) <= set(told["components"]["schemas"])
