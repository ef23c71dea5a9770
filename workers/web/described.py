"""What a request may say, out of the API's document: a misspelt name is refused, not passed over.

?filer=boiler            422 filer: no such parameter; try filter, fields, offset, limit
{"writes": [], "dry": 1} 422 dry: no such key; try writes
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from cpppod.workers.web.answers import KEYS, Problem

MAX_PARAMETERS = 20  # more than any path has


class Described:
    """Names of parameters and of a body's keys, by path and method.

    Args:
        document: OpenAPI; every body is a named schema.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._parameters: dict[tuple[str, str], tuple[str, ...]] = {}
        self._keys: dict[tuple[str, str], tuple[str, ...]] = {}
        schemas = document["components"]["schemas"]
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                place = path, method.upper()
                self._parameters[place] = tuple(
                    each["name"]
                    for each in operation.get("parameters", ())
                    if each["in"] == "query"
                )
                if body := operation.get("requestBody"):
                    name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                    self._keys[place] = tuple(schemas[name]["properties"])

    def check(self, path: str, scope: Any) -> None:
        """Refuse parameters that `path` does not have, and leave word what its body may have.

        Raises:
            Problem: 422.
        """
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        known = self._parameters.get((path, method))
        if known is None:
            return
        scope[KEYS] = self._keys.get((path, method))
        text = scope["query_string"].decode("latin-1")
        if text.count("&") >= MAX_PARAMETERS:
            raise Problem(422, "query", "too many parameters", ", ".join(known) or "none")
        seen = set()
        for name, _ in parse_qsl(text, keep_blank_values=True):
            if name not in known:
                raise Problem(422, name[:40], "no such parameter", ", ".join(known) or "none")
            if name in seen:
                raise Problem(422, name, "given twice", "one of them")
            seen.add(name)
