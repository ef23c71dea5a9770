"""The gateway's configuration: read from TOML, validated whole, made into the plant's records.

    configuration = load(["/etc/cpppod/cpppod.toml"])      # conf.d/*.toml beside it as well
    configuration.plant                                    # protocols.plant.Plant
    schema()                                               # JSON Schema, for editors

Every mistake in every file is reported at once: `ConfigurationError.problems`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpppod import cpppo_cfg
from cpppod.configuration import device_models, files
from cpppod.configuration.assembly import assemble
from cpppod.configuration.driver_keys import describe, describe_tables
from cpppod.configuration.problems import ConfigurationError, Findings, Problem
from cpppod.configuration.sections import whole_file
from cpppod.protocols.model.plant import Plant

__all__ = ["Configuration", "ConfigurationError", "Problem", "load", "schema"]


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration that is well.

    Attributes:
        files: those it was read from, in order.
        taken: values that came from a `cpppo.cfg`.
    """

    plant: Plant
    files: tuple[str, ...]
    taken: tuple[cpppo_cfg.Value, ...] = ()


def load(
    paths: Iterable[str | Path],
    *,
    old_files: Iterable[str | Path] | None = None,
    instead: Mapping[Path, str] | None = None,
) -> Configuration:
    """The configuration in the TOML files `paths` and in `conf.d/` beside the first of them.

    Args:
        old_files: where a `cpppo.cfg` is looked for; by default where cpppo does.
        instead: texts to read instead of files, or in `conf.d` beside them: what is not saved yet.

    Raises:
        ConfigurationError: anything is wrong; it names everything that is.
    """
    findings = Findings()
    given = [Path(path) for path in paths]
    instead = dict(instead or {})
    every = [*files.beside(given[0], instead), *given[1:]] if given else []
    tables = files.merge(every, findings, instead)
    old = _old_settings(tables, old_files, findings)
    folders = [*(path.parent / "models" for path in given[:1]), device_models.shipped()]
    plant = assemble(tables, old, model_folders=folders, findings=findings)
    if findings.problems:
        raise ConfigurationError(findings.problems)
    return Configuration(plant, tuple(map(str, every)), _taken(old, plant))


def _old_settings(
    tables: files.Tables, old_files: Iterable[str | Path] | None, findings: Findings
) -> cpppo_cfg.Settings:
    gateway = tables.get("gateway")
    if isinstance(gateway, dict) and gateway.get("cpppo_cfg") is False:
        return cpppo_cfg.Settings()
    old = cpppo_cfg.read(cpppo_cfg.places() if old_files is None else old_files)
    for file, option, value, wanted in old.problems:
        findings.problems.append(Problem(file, (option,) if option else (), value or None, wanted))
    return old


def _taken(old: cpppo_cfg.Settings, plant: Plant) -> tuple[cpppo_cfg.Value, ...]:
    """Those of the old values that the TOML files did not override."""
    routed = {route.path for route in plant.routes if route.address in old.routes.values()}

    def is_used(value: cpppo_cfg.Value) -> bool:
        kind, _dot, name = value.key.partition(".")
        if kind == "route":
            return name in routed
        if kind == "route_path":
            return any(listener.route_path == value.value for listener in plant.listeners)
        return any(getattr(item, kind).get(name) == value.value for item in plant.listeners)

    return tuple(value for value in old.values if is_used(value))


def schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file, for editors."""
    plain = whole_file().model_json_schema()
    describe(plain)
    describe_tables(plain)
    device, template = plain["$defs"]["Device"], plain["$defs"]["Template"]
    del device["required"]
    device["anyOf"] = [{"required": ["driver"]}, {"required": ["template"]}]
    template["properties"] = {  # any value may be "${parameter}" there
        key: {"description": value["description"]} if "description" in value else {}
        for key, value in template["properties"].items()
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **plain}
