"""Computed tags: what 1,000 over 10,000 inputs cost, when every input is read once a second.

100 blocks of 100 values in; each is decoded, its computed tags are evaluated, their block is
encoded. Processor time of one such second, the best of a few.
"""

import time

from cpppod.protocols.bus.feed import Block, decode
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.computed.engine import Definition, Engine, Names, Source, plan

DEVICES, INPUTS, COMPUTED = 100, 100, 1000
SECONDS = 5
EXPRESSION = "(d{a}.t{b} * 1.8 + 32) / max(d{a}.t{c}, 1) + rate(d{a}.t{d})"


def engine() -> Engine:
    """The computed tags."""
    names = Names()
    for device in range(DEVICES):
        for tag in range(INPUTS):
            name = f"d{device}.t{tag}"
            names.add(name, Source(f"d{device}", "g", f"t{tag}", "REAL", stale_after_s=3.0))
    definitions = [
        Definition(
            "computed",
            f"c{number}",
            EXPRESSION.format(
                a=number % 100, b=number // 10 % 100, c=number * 7 % 100, d=number % 7
            ),
        )
        for number in range(COMPUTED)
    ]
    tags, problems = plan(definitions, names)
    assert not problems
    return Engine(tags)


def blocks(second: int, publisher: Publisher) -> list[tuple[str, bytes]]:
    """What a second's polls publish."""
    times = {"source_us": second * 10**6, "gateway_us": 0, "mono_us": second * 10**6}
    found = []
    for device in range(DEVICES):
        samples = {f"t{tag}": (float(tag + second), 0) for tag in range(INPUTS)}
        _, payload = publisher.block(f"d{device}", "g", INPUTS, samples, **times)
        found.append((f"d{device}", payload))
    return found


def main() -> None:
    """Measure and print."""
    running, inputs, results = engine(), Publisher("poller", 1), Publisher("computed", 1)
    best_s = float("inf")
    for second in range(1, SECONDS + 1):
        arriving = blocks(second, inputs)
        started_s = time.process_time()
        for device, payload in arriving:
            message = decode(payload)
            block = message.body
            assert isinstance(block, Block)
            times = {"source_us": message.source_us, "mono_us": message.mono_us}
            running.take(device, "g", block.samples(), **times)  # type: ignore[arg-type]
            for made in running.evaluate((device, "g")):
                count = len(made.samples)
                results.block(made.device, made.group, count, made.samples, gateway_us=0, **times)
        best_s = min(best_s, time.process_time() - started_s)
    print(
        f"{COMPUTED} computed tags over {DEVICES * INPUTS} inputs at 1 s: {best_s:.1%} of a core, "
        f"{best_s / COMPUTED * 1e6:.0f} us a tag, {best_s / DEVICES * 1e6:.0f} us a block"
    )


if __name__ == "__main__":
    main()
