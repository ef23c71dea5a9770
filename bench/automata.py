"""Regular-expression machines: bytes per second beside cpppo, and beside `re` with a buffer.

    stepwise   (machine, state) per symbol           cpppo     the same, with its own regex
    compiled   tables, fed in pieces of 4096 bytes   re        a compiled pattern and a bytearray

One run, one machine, the same bytes, processor time. Then the cost of a machine of some 200 states:
time and memory to build it and to run it.
"""

import json
import re
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from cpppod.automata import BYTES, compile, dotdict, peekable, regex, table

README = "(ab+)((,[ ]*)(ab+))*"
README_INPUT = "abbbb, ab,abb,  abbbbbb, "
FRAME = (
    r"\x02[0-9A-F]{8}(STAT|DATA|CONF|PING) N=[0-9]{1,6} T=-?[0-9]{1,4}\.[0-9]{2} "
    r"U=(kg|lb|deg|bar) M=[^\x03]*\x03[0-9A-F]{2}\r\n"
)
FRAME_INPUT = "\x0200FF01A4DATA N=1234 T=-12.50 U=kg M=all is well in the north hall\x037F\r\n"
LARGE = "(GET|PUT|POST|HEAD|DELETE|OPTIONS) /[a-z/]{0,166} HTTP/1\\.[01]\r\n"
STEPWISE_SYMBOLS = 40_000
COMPILED_BYTES = 8_000_000
PIECE = 4096
CPPPO = Path(__file__).parents[1] / ".peers" / "cpppo" / "bin" / "python"
THEIR_RUN = """
import json, sys, time
import cpppo
expression, text, repeats = json.loads(sys.stdin.read())
machine = cpppo.regex(initial=expression, context="x", terminal=True)
best = 0.0
for _ in range(3):
    began, taken = time.process_time(), 0
    for _ in range(repeats):
        with machine:
            source, data = cpppo.peekable(text), cpppo.dotdict()
            for _ in machine.run(source=source, data=data):
                pass
        taken += source.sent
    best = max(best, taken / (time.process_time() - began))
print(json.dumps(best))
"""


def best(run: Callable[[], int], tries: int = 3) -> float:
    """Symbols per second of the best of some tries."""
    rates = []
    for _ in range(tries):
        began = time.process_time()
        count = run()
        rates.append(count / (time.process_time() - began))
    return max(rates)


def stepwise(expression: str, text: str, repeats: int) -> int:
    """Symbols taken by stepwise runs of one machine."""
    machine = regex(initial=expression, context="x", terminal=True)
    taken = 0
    for _ in range(repeats):
        source = peekable(text)
        with machine:
            for _ in machine.run(source=source, data=dotdict()):
                pass
        taken += source.sent
    return taken


def compiled(expression: str, pieces: list[bytes]) -> int:
    """Bytes taken by the compiled run of one endless sentence."""
    run = compile(expression, BYTES).run()
    return sum(run.feed(piece) for piece in pieces)


def compiled_frames(expression: str, pieces: list[bytes]) -> int:
    """Bytes taken by the compiled run, frame after frame."""
    run = compile(expression, BYTES, greedy=False).run()
    taken = 0
    for piece in pieces:
        at = 0
        while at < len(piece):
            count = run.feed(piece, at)
            at += count
            taken += count
            if run.ended:
                run.reset()
    return taken


def buffered_re(expression: str, pieces: list[bytes]) -> int:
    """Bytes taken by `re` as it is used by hand: collect, try from the start, cut off."""
    pattern = re.compile(expression.encode("latin-1"), re.DOTALL)
    buffer = bytearray()
    taken = 0
    for piece in pieces:
        buffer += piece
        at = 0
        while (found := pattern.match(buffer, at)) is not None and found.end() > at:
            at = found.end()
        del buffer[:at]
        taken += at
    return taken


def theirs(expression: str, text: str, repeats: int) -> float | None:
    """Symbols per second of cpppo, in its own environment; None where it is not installed."""
    if not CPPPO.exists():
        return None
    done = subprocess.run(
        [str(CPPPO), "-c", THEIR_RUN],
        input=json.dumps([expression, text, repeats]),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return float(json.loads(done.stdout))


def row(name: str, rate: float, base: float | None) -> None:
    """One line of the table."""
    ratio = f"{rate / base:10.1f}" if base else "         -"
    print(f"  {name:<34}{rate / 1e6:12.3f} MB/s {ratio} x cpppo")


def measure(title: str, expression: str, unit: str, *, frames: bool) -> None:
    """The rows of one expression."""
    table_ = table(expression, BYTES)
    print(f"{title}: {len(table_.rows)} states")
    whole = (unit * (COMPILED_BYTES // len(unit) + 1)).encode("latin-1")
    pieces = [whole[at : at + PIECE] for at in range(0, COMPILED_BYTES, PIECE)]
    text = unit if frames else (unit * (STEPWISE_SYMBOLS // len(unit))) + "ab"
    repeats = STEPWISE_SYMBOLS // len(text) or 1
    base = theirs(expression, text, repeats)
    if base is None:
        print("  cpppo is not installed: make peers")
    else:
        row("cpppo 5.2.5", base, base)
    row("stepwise", best(lambda: stepwise(expression, text, repeats)), base)
    run = compiled_frames if frames else compiled
    row("compiled", best(lambda: run(expression, pieces)), base)
    row("re with a buffer", best(lambda: buffered_re(expression, pieces)), base)


def cost_of_a_large_machine() -> None:
    """Time and memory of a machine of some 200 states."""
    table.cache_clear()
    compile.cache_clear()
    began = time.process_time()
    made = table(LARGE, BYTES)
    built_s = time.process_time() - began
    table.cache_clear()
    tracemalloc.start()
    held = compile(LARGE, BYTES)
    built = tracemalloc.get_traced_memory()
    held.accepts(b"GET /" + b"abc/" * 30 + b" HTTP/1.1\r\n")
    used = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"a machine of {len(made.rows)} states")
    print(f"  built in                          {built_s * 1000:12.1f} ms")
    print(f"  memory: table, peak while built   {built[0] / 1e3:12.1f} kB {built[1] / 1e3:9.1f} kB")
    print(f"  memory after a first sentence     {used[0] / 1e3:12.1f} kB")


def main() -> None:
    """Print every table."""
    measure("the README's expression", README, README_INPUT, frames=False)
    measure("the same, long runs", README, "a" + "b" * 999 + ", ", frames=False)
    measure("a protocol frame", FRAME, FRAME_INPUT, frames=True)
    cost_of_a_large_machine()


if __name__ == "__main__":
    main()
