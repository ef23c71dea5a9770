"""How long tests wait for what must come."""

# Seconds until a test gives up on an event: ended by the event, so long only where the test fails.
# A machine with every core busy twice over takes ten times as long as a quiet one.
PATIENCE_S = 60.0
