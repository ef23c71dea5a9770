"""What becomes of requests without a connection: routes, and which are served here."""

from typing import Any, ClassVar

from .device import Object, parse_route_path


class UCMM(Object):
    """Give `main(UCMM_class=)` a subclass to say which routes are served.

    Attributes:
        route_path: the only one served; False serves requests without one, None any.
        route: `{"1/1": "host:port"}`, those that lead on to other targets.
    """

    route_path: ClassVar[Any] = None
    route: ClassVar[dict[str, str]] = {}

    @classmethod
    def changes(cls) -> dict[str, Any]:
        """What it says, as `cpppod.simulator.Settings`."""
        found: dict[str, Any] = {}
        local = parse_route_path(cls.route_path)
        if local:
            found["route_path"] = "/".join(f"{part['port']}/{part['link']}" for part in local)
        elif local is not None:
            found["simple"] = True
        if cls.route:
            found["routes"] = dict(cls.route)
        return found
