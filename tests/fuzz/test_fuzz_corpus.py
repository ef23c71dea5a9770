"""The fuzzer's corpus and mutations of it, without the fuzzer: nothing but refusals comes out."""

import random

import pytest

from tests.fuzz import seeds, targets

MUTATIONS = 12


@pytest.mark.parametrize("name", targets.TARGETS)
def test_corpus_and_its_mutations_raise_nothing_but_refusals(name: str) -> None:
    chance = random.Random(name)
    for data in seeds.load(name):
        targets.run(name, data)
        for _ in range(MUTATIONS):
            targets.run(name, mutated(data, chance))


def mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed))
        what = chance.randrange(4)
        if what == 0:
            changed[place] = chance.randrange(256)
        elif what == 1:
            del changed[place:]
            changed += b"\xff"
        elif what == 2:
            changed[place:place] = changed[place : place + 8]
        else:
            changed[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(changed)
