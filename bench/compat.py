"""The same programs on cpppo and under `cpppod.compat`: same output, and how their times compare.

Each program prints what it found on stdout and the seconds of its work on stderr; both run it
against the same server. A ratio below 1 is faster under compat; `start` is the whole program's.
"""

import pathlib
import subprocess
import sys
import tempfile
import time

from cpppod.simulator import Simulator

CPPPO = pathlib.Path(__file__).parents[1] / ".peers" / "cpppo" / "bin" / "python"
REPEATS = 3
COMPAT = [sys.executable, "-m", "cpppod.compat"]
TAGS = ["SCADA=INT[1000]", "Tag=DINT[1000]", "Rate=REAL[1000]", "Text=SSTRING[10]"]
HEAD = """
import sys, time
from cpppo.server.enip import client
HOST, PORT = sys.argv[1], int(sys.argv[2])
def pipeline(texts, **how):
    with client.connector(host=HOST, port=PORT, timeout=10.0) as connection:
        begun = time.perf_counter()
        done = list(connection.pipeline(client.parse_operations(texts), **how))
        print(time.perf_counter() - begun, file=sys.stderr)
    for index, description, request, reply, status, value in done:
        print(description, status, value, request.path.segment, reply.service)
"""
PROGRAMS = {
    "500 reads, one by one": HEAD + "pipeline(['SCADA[%d]' % n for n in range(500)])",
    "500 reads, depth 20": HEAD + "pipeline(['SCADA[%d]' % n for n in range(500)], depth=20)",
    "500 reads in packets": HEAD
    + "pipeline(['Rate[%d]' % n for n in range(500)], depth=4, multiple=450)",
    "300 writes, depth 5": HEAD
    + "pipeline(['Tag[%d]=(DINT)%d' % (n, n) for n in range(300)], depth=5)",
    "100 ranges, printed": HEAD
    + """
begun = time.perf_counter()
with client.connector(host=HOST, port=PORT, timeout=10.0) as connection:
    operations = client.parse_operations(["Tag[%d-%d]" % (n, n + 9) for n in range(100)])
    print(connection.process(operations, depth=5, printing=True, timeout=10.0)[0])
print(time.perf_counter() - begun, file=sys.stderr)
""",
    "50 proxy reads": """
import sys, time
from cpppo.server.enip.get_attribute import proxy
via = proxy(sys.argv[1], int(sys.argv[2]))
begun = time.perf_counter()
for _ in range(50):
    print(list(via.read([("@1/1/7", "SSTRING"), "SCADA[0-9]", ("@1/1/1", "INT")])))
print(time.perf_counter() - begun, file=sys.stderr)
""",
    "a regular expression over 4,000 symbols": """
import sys, time
import cpppo
begun = time.perf_counter()
with cpppo.regex(initial="(ab+)((,[ ]*)(ab+))*", context="r") as machine:
    data, source = cpppo.dotdict(), cpppo.peekable("abbb, " * 666 + "ab")
    for _ in machine.run(source=source, data=data):
        pass
print(len(data.r.input), source.peek())
print(time.perf_counter() - begun, file=sys.stderr)
""",
    "10,000 dotted keys": """
import sys, time
import cpppo
begun = time.perf_counter()
data = cpppo.dotdict()
for number in range(10_000):
    data["a.b%d.c" % (number % 100)] = number
    assert data["a.b%d.c" % (number % 100)] == number
print(sorted(data.keys())[:3], len(list(data.items())))
print(time.perf_counter() - begun, file=sys.stderr)
""",
}


def main() -> None:
    """Print a line for each program."""
    if not CPPPO.exists():
        print("cpppo is not installed: make peers")
        return
    with Simulator(TAGS) as plc, tempfile.TemporaryDirectory() as folder:
        address = plc.address
        for name, source in PROGRAMS.items():
            script = pathlib.Path(folder) / "program.py"
            script.write_text(source)
            theirs = best([str(CPPPO)], script, address)
            ours = best(COMPAT, script, address)
            same = "same output" if theirs[0] == ours[0] else "OTHER OUTPUT"
            ratio, start = ours[1] / theirs[1], ours[2] / theirs[2]
            print(f"{name:42} {theirs[1]:8.3f} s {ours[1]:8.3f} s  ratio {ratio:5.2f}  ", end="")
            print(f"start {start:5.2f}  {same}", flush=True)


def best(
    command: list[str], script: pathlib.Path, address: tuple[str, int]
) -> tuple[str, float, float]:
    """(output, best seconds of the work, best seconds of the whole) of a few runs."""
    work, whole, output = [], [], ""
    for _ in range(REPEATS):
        begun = time.perf_counter()
        done = subprocess.run(
            [*command, str(script), address[0], str(address[1])],
            capture_output=True,
            text=True,
            check=False,
        )
        whole.append(time.perf_counter() - begun)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        output = done.stdout
        work.append(float(done.stderr.split()[-1]))
    return output, min(work), min(whole)


if __name__ == "__main__":
    main()
