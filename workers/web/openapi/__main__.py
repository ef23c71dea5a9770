"""Writes the API's document: `python -m cpppod.workers.web.openapi`."""

import importlib
import json
from pathlib import Path


def text() -> str:
    """The document as the file has it."""
    settings = importlib.import_module("cpppod.workers.web.openapi.settings")  # pydantic
    return json.dumps(settings.document(), indent=1) + "\n"


if __name__ == "__main__":
    Path(__file__).parents[1].joinpath("static", "openapi.json").write_text(text(), "utf-8")
