"""The examples of docs/history.md do what they say."""

import doctest
from pathlib import Path

from cpppod.history import timestamp
from cpppod.workers.historian.stores.sqlite.store import SqliteLimits, SqliteStore
from cpppod.workers.historian.stores.store import Batch, Reading

PAGE = Path(__file__).parents[2] / "docs" / "history.md"
NOON_US = 1_795_348_800_000_000  # 2026-11-22 12:00:00


def test_the_examples_do_what_they_say(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store", SqliteLimits(free_bytes=1))
    store.open()
    base = Reading(
        "p", 1, 1, "boiler", "fast", NOON_US, NOON_US, 0, 2, ["pressure", "pump"], [4.0, True], 0
    )
    later = NOON_US + 10_000_000
    second = base._replace(
        sequence=2, source_us=later, gateway_us=later, tags=["pressure"], values=[6.0]
    )
    store.commit(Batch([base, second]))
    store.close()
    names = {"store": str(tmp_path / "store"), "folder": str(tmp_path)}
    text = PAGE.read_text(encoding="utf-8").replace("```python", "").replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, names, "history.md", str(PAGE), 0)
    report: list[str] = []
    try:
        result = doctest.DocTestRunner().run(test, out=report.append)
    finally:
        timestamp.support_abbreviations(None, reset=True)
    assert result.failed == 0, "".join(report)
    assert result.attempted > 20
