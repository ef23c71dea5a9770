"""Device models: the quirks of known devices, as data (`etc/models/*.toml`).

A device names its model: `model = "eastron-sdm630"`. The file of that name is looked for in
`models/` beside the configuration, then among those shipped.
"""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

FILE_SUFFIX = ".toml"


def shipped() -> Path:
    """The folder of the models that came with the package."""
    return Path(str(resources.files("cpppod"))) / "etc" / "models"


def names(folders: list[Path]) -> list[str]:
    """All models that a device may name."""
    found = {path.stem for folder in folders for path in folder.glob(f"*{FILE_SUFFIX}")}
    return sorted(found)


def load(name: str, folders: list[Path]) -> tuple[dict[str, Any], Path, str]:
    """The model's tables, its file, and what stands in it.

    Raises:
        KeyError: no folder has a model of that name.
        ValueError: its file is not TOML.
    """
    for folder in folders:
        path = folder / f"{name}{FILE_SUFFIX}"
        if path.is_file() and path.parent == folder:
            text = path.read_text(encoding="utf-8-sig")
            return tomllib.loads(text), path, text
    raise KeyError(name)
