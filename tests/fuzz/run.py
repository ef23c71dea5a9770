"""Fuzz each target for a while, each in a process of its own; exit code 1 for a finding.

    python tests/fuzz/run.py --seconds 60 [target ...]

Needs atheris (`pip install atheris`). A finding's input lies in tests/fuzz/findings/.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1]))

from tests.fuzz import seeds  # noqa: E402

NAMES = (
    *("encapsulation", "cpf", "epath", "services", "pccc", "session"),
    *("journal", "feed", "history"),
    *("modbus_replies", "text_frames", "originator"),
)
LONGEST = 4_096  # bytes of an input


def fuzz(name: str, arguments: list[str]) -> None:
    """Run atheris on one target; does not return."""
    import atheris

    with atheris.instrument_imports(include=["cpppod.protocols", "cpppod.history"]):
        from tests.fuzz import targets

    def one(data: bytes) -> None:
        targets.run(name, data)

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz all targets, or those named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(NAMES))
    arguments, rest = parser.parse_known_args()
    if arguments.one:
        fuzz(arguments.one, [*rest, *arguments.targets])  # the last is the folder of its seeds
        return 0
    failed = []
    findings = FOLDER / "findings"
    for name in arguments.targets or NAMES:
        with tempfile.TemporaryDirectory() as folder:
            inputs = pathlib.Path(folder) / name
            seeds.unpack(name, inputs)
            print(f"{name}: {arguments.seconds} s", flush=True)
            command = [sys.executable, str(FOLDER / "run.py"), "--one", name]
            options = [
                f"-max_total_time={arguments.seconds}",
                f"-max_len={LONGEST}",
                f"-artifact_prefix={findings}/{name}-",
                "-print_final_stats=1",
                "-verbosity=0",
            ]
            findings.mkdir(exist_ok=True)
            done = subprocess.run([*command, *options, str(inputs)], check=False)
            if done.returncode:
                failed.append(name)
    if not any(findings.iterdir()):
        findings.rmdir()
    print(f"failed: {', '.join(failed)}" if failed else "clean", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
