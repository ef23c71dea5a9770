"""What somebody may do, on the control socket and on the web: one ladder of roles."""

from enum import IntEnum


class Right(IntEnum):
    """What a peer may do; each right includes the lower ones."""

    NONE = 0
    VIEWER = 1
    OPERATOR = 2
    ENGINEER = 3


RIGHTS = {"viewer": Right.VIEWER, "operator": Right.OPERATOR, "engineer": Right.ENGINEER}
