"""The smallest machine: states that no input tells apart become one (Hopcroft 1971).

Given and returned are rows of next states by class (-1 refuses) and the accepting states. States
from which nothing is accepted any more become the refusal itself, so the machine stops at the first
symbol that no sentence goes on with.
"""

REFUSED = -1

Rows = list[list[int]]


def minimised(rows: Rows, accepting: set[int], width: int) -> tuple[Rows, set[int]]:
    """The smallest rows, state 0 still the first, and the accepting states among them."""
    rows = _without_dead_ends(rows, accepting)
    block_of = _blocks(rows, accepting, width)
    refusing = block_of[REFUSED]
    number: dict[int, int] = {}
    representatives: list[int] = []
    for state in range(len(rows)):
        block = block_of[state]
        if block not in number and (block != refusing or state == 0):
            number[block] = len(number)
            representatives.append(state)
    number[refusing] = REFUSED
    small = [[number[block_of[target]] for target in rows[state]] for state in representatives]
    return small, {number[block_of[state]] for state in accepting}


def _without_dead_ends(rows: Rows, accepting: set[int]) -> Rows:
    """Rows in which arrows to states that lead to no acceptance are refusals."""
    sources: list[set[int]] = [set() for _ in rows]
    for state, row in enumerate(rows):
        for target in row:
            if target != REFUSED:
                sources[target].add(state)
    alive, waiting = set(accepting), list(accepting)
    while waiting:
        for source in sources[waiting.pop()]:
            if source not in alive:
                alive.add(source)
                waiting.append(source)
    return [[t if t in alive else REFUSED for t in row] for row in rows]


def _blocks(rows: Rows, accepting: set[int], width: int) -> list[int]:
    """The block of every state; the refusal's comes last, so that index REFUSED finds it."""
    count = len(rows)
    others = set(range(count + 1)) - accepting
    blocks = [others, set(accepting)] if accepting else [others]
    block_of = [1 if state in accepting else 0 for state in range(count + 1)]
    inverse = _inverse(rows, width)
    waiting = set(range(len(blocks)))
    while waiting:
        splitter = blocks[waiting.pop()].copy()
        leading: dict[int, set[int]] = {}
        for target in splitter:
            for symbol, sources in inverse[target].items():
                leading.setdefault(symbol, set()).update(sources)
        for held in leading.values():
            _split(held, blocks, block_of, waiting)
    return block_of


def _split(
    sources: set[int], blocks: list[set[int]], block_of: list[int], waiting: set[int]
) -> None:
    """Cut every block that lies partly in `sources`; its smaller part is still to be used."""
    touched: dict[int, set[int]] = {}
    for source in sources:
        touched.setdefault(block_of[source], set()).add(source)
    for block, inside in touched.items():
        if len(inside) == len(blocks[block]):
            continue
        outside = blocks[block] - inside
        if len(inside) > len(outside):
            inside, outside = outside, inside
        blocks[block] = outside
        new = len(blocks)
        blocks.append(inside)
        for state in inside:
            block_of[state] = new
        waiting.add(new)


def _inverse(rows: Rows, width: int) -> list[dict[int, list[int]]]:
    """Per state (the refusal last) and class the states that lead to it."""
    count = len(rows)
    inverse: list[dict[int, list[int]]] = [{} for _ in range(count + 1)]
    for state, row in enumerate(rows):
        for symbol, target in enumerate(row):
            inverse[target].setdefault(symbol, []).append(state)
    for symbol in range(width):
        inverse[count].setdefault(symbol, []).append(count)
    return inverse
