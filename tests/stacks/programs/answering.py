"""Operations by name from stdin as JSON, their results to stdout: how the programs here are driven.

    stdin    [["holding", 0, 5], ["register", 3, 99], ...]
    stdout   [[7, 7, 7, 7, 7], null, ...]; what was refused is {"error": words, "code": number}

They run in environments of other people's stacks: the standard library alone, nothing of ours.
"""

import json
import sys


def answer(operations):
    """Runs what stdin asks by the functions `operations`."""
    print(json.dumps([one(operations, *asked) for asked in json.load(sys.stdin)]), flush=True)


def one(operations, name, *arguments):
    try:
        result = operations[name](*arguments)
    except Exception as error:  # each stack has exceptions of its own
        code = getattr(error, "code", getattr(error, "error_code", None))
        if callable(getattr(error, "get_exception_code", None)):
            code = error.get_exception_code()
        return {"error": f"{type(error).__name__}: {error}", "code": code}
    return result


def values(them):
    """Numbers of any kind as JSON has them."""
    return [int(value) for value in them]
