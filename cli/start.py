"""The program `treasury`: the one command that must answer at once does so without typer. To import that takes longer
than to check a proof. Every other command, and any spelling but the plain one, goes to `cli.main`.
"""

import gc
import os
import sys
from collections.abc import Sequence

CHECK = "check-proof"
_POLICY, _JSON = "--policy", "--json"


def main() -> None:
    """Run the command line, as `cli.main.main` does."""
    gc.disable()  # imports make a million objects that stay; `cli.lazy` enables it again before a command runs
    words = sys.argv[1:]
    plain = plain_check(words[1:]) if words[:1] == [CHECK] and "_TREASURY_COMPLETE" not in os.environ else None
    if plain is None:
        from cli.main import main as run  # noqa: PLC0415

        run()
    else:
        _check(*plain)


def plain_check(words: Sequence[str]) -> tuple[str, str, bool] | None:
    """Return file, policy and whether JSON is asked for, where ``words`` are these alone, in any order. Else return
    None, also for whatever is wrong: typer says what.
    """
    files, policies, as_json = [], [], False
    rest = iter(words)
    for word in rest:
        if word == _POLICY:
            policies.append(next(rest, ""))
        elif word == _JSON:
            as_json = True
        else:
            files.append(word)
    values = [*files, *policies]
    if len(files) != 1 or len(policies) != 1 or any(not name or name.startswith("-") for name in values):
        return None
    return files[0], policies[0], as_json


def _check(file: str, policy: str, as_json: bool) -> None:
    from pathlib import Path  # noqa: PLC0415

    from cli import terminal  # noqa: PLC0415

    with terminal.reported():
        from cli.checked_proof import describe_checked  # noqa: PLC0415

        sys.stdout.write(describe_checked(Path(file), Path(policy), as_json=as_json))


if __name__ == "__main__":
    main()
