"""How long tests wait for what must come."""

import pytest

# Seconds until a test gives up on an event: ended by the event, so long only where the test fails.
# A machine with every core busy twice over takes ten times as long as a quiet one.
PATIENCE_S = 60.0
INSTALL_S = 600.0  # for pip, which has much to read and is asked several times


def within(seconds: float) -> pytest.MarkDecorator:
    """Gives a test `within_s`: patience; and in the campaign, on a quiet machine, `seconds`."""
    measured = pytest.param(seconds, id=f"within_{seconds:g}_s", marks=pytest.mark.campaign)
    return pytest.mark.parametrize("within_s", [pytest.param(PATIENCE_S, id="at_last"), measured])
