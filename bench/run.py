"""Runs the benchmarks: each module of this folder that has a `main()`, or those named.

python bench/run.py            all of them
python bench/run.py feed cip   those whose name contains a word
"""

import importlib.util
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent


def main(words: list[str]) -> int:
    """Runs the benchmarks whose file name contains one of `words`, all where there are none."""
    failed = []
    for path in sorted(FOLDER.glob("*.py")):
        if path.name == "run.py" or (words and not any(word in path.stem for word in words)):
            continue
        spec = importlib.util.spec_from_file_location(f"bench_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        if not hasattr(module, "main"):
            continue
        print(f"\n=== {path.stem} ===", flush=True)
        try:
            if module.main():
                failed.append(path.stem)
        except Exception as error:  # one benchmark's trouble must not hide the others' figures
            print(f"{path.stem}: {type(error).__name__}: {error}", file=sys.stderr)
            failed.append(path.stem)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
