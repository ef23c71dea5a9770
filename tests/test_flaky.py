"""`make flaky`: what it starts ends with it, and what failed is told by test."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flaky import ROOT, busy_loops, failures
from tests.supervision.supervised import is_alive, until

REPORT = """
<testsuites><testsuite name="pytest">
<testcase file="tests/test_a.py" name="test_good" />
<testcase file="tests/test_a.py" name="test_bad[1]">
<failure message="assert 1 == 2&#10;more" /></testcase>
<testcase file="tests/test_b.py" name="test_worse"><error message="failed on setup" /></testcase>
</testsuite></testsuites>
"""
STARTER = """
import time
from tests.flaky import busy_loops
with busy_loops(2) as pids:
    print(*pids, flush=True)
    time.sleep(1000)
"""


def test_busy_loops_run_as_long_as_they_are_wanted() -> None:
    with busy_loops(2) as pids:
        assert len(pids) == 2
        assert all(map(is_alive, pids))
    assert not any(map(is_alive, pids))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_busy_loops_end_with_the_process_that_started_them(number: int) -> None:
    command = [sys.executable, "-c", STARTER]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as starter:
        assert starter.stdout is not None
        pids = [int(word) for word in starter.stdout.readline().split()]
        starter.send_signal(number)
    assert len(pids) == 2
    until(lambda: not any(map(is_alive, pids)), "no busy loop")


def test_what_failed_is_read_out_of_pytests_report(tmp_path: Path) -> None:
    report = tmp_path / "run.xml"
    report.write_text(REPORT)
    assert failures(report) == {
        "tests/test_a.py::test_bad[1]": "assert 1 == 2",
        "tests/test_b.py::test_worse": "failed on setup",
    }
    assert failures(tmp_path / "none.xml") == {}
