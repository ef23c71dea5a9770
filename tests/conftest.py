"""What all tests need of the process that runs them."""

import signal


def pytest_configure() -> None:
    """Programs that tests start can be interrupted, also where the tests run in the background.

    A shell without job control starts what is to run there with SIGINT ignored, and that is
    inherited: Ctrl-C is for what stands in front.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
