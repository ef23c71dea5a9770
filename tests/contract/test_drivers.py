"""What every registered driver keeps: its manifest, its keys, its documentation, its simulator."""

from tests.contract import key_tables


def test_the_tables_of_drivers_own_keys_are_those_of_their_settings() -> None:
    text = key_tables.PAGE.read_text()
    assert key_tables.page(text) == text, "run python -m tests.contract.key_tables"
