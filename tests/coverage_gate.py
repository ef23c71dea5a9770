"""Each module of protocols/ has 95 % coverage by tests/protocols alone: the end of `make coverage`.

    python tests/coverage_gate.py REPORT    what `pytest --cov-branch --cov-report=json` wrote

Lines and branches count alike, as in the column "Cover" of coverage's own report.
"""

import json
import sys
from pathlib import Path

ENOUGH = 95  # percent

# module -> (percent that it must reach instead, why no test of tests/protocols reaches the rest)
EXCEPTIONS: dict[str, tuple[int, str]] = {}


def judge(covered: dict[str, float], exceptions: dict[str, tuple[int, str]]) -> list[str]:
    """What is wrong with the coverage of each module, in percent: empty if nothing is."""
    wrong = []
    for module, percent in sorted(covered.items()):
        needed, _ = exceptions.get(module, (ENOUGH, ""))
        if percent < needed:
            wrong.append(f"{module}: {percent:.1f} % of its lines and branches, {needed} % needed")
        elif module in exceptions and percent >= ENOUGH:
            wrong.append(f"{module}: {percent:.1f} %: it needs no exception any more")
    gone = sorted(exceptions.keys() - covered)
    wrong += [f"{module}: an exception for no module" for module in gone]
    return wrong


def main(report: str) -> int:
    files = json.loads(Path(report).read_text())["files"]
    covered = {module: told["summary"]["percent_covered"] for module, told in files.items()}
    wrong = judge(covered, EXCEPTIONS)
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"coverage: {len(covered)} modules of protocols/, {len(wrong)} not as they must be")
    return 1 if wrong or not covered else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
