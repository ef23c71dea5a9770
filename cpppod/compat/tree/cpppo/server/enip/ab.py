"""Allen-Bradley drives: `cpppod.proxy`."""

from typing import Any, ClassVar

from cpppod import proxy as ours

from .get_attribute import proxy_simple


class powerflex(proxy_simple):
    """A PowerFlex drive."""


class powerflex_750_series(powerflex):
    """A PowerFlex 750 drive with the parameters that most users ask for."""

    PARAMETERS: ClassVar[dict[str, Any]] = dict(ours.powerflex_750_series.PARAMETERS)
