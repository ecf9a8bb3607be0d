"""The verifiers of auditors share no code with the project, and need no more than they say."""

import ast
import sys

import pytest

from tests.tasks.archiving.ledger import PROJECT


def _imported(file: str, *, only_at_the_top: bool) -> set[str]:
    """The packages outside Python itself that an example imports, anywhere in it or at its top alone."""
    tree = ast.parse((PROJECT / "examples" / file).read_text(encoding="utf-8"))
    nodes = tree.body if only_at_the_top else list(ast.walk(tree))
    named = [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
    named += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in named} - sys.stdlib_module_names


@pytest.mark.parametrize(
    ("file", "at_the_top", "anywhere"),
    [
        ("verify_kit.py", set(), {"cryptography", "pyarrow"}),  # one too old is named; pyarrow is for --deep
        ("verify_month.py", {"pyarrow"}, {"pyarrow"}),
    ],
)
def test_a_verifier_imports_python_and_the_packages_that_it_names(
    file: str, at_the_top: set[str], anywhere: set[str]
) -> None:
    assert _imported(file, only_at_the_top=True) == at_the_top
    assert _imported(file, only_at_the_top=False) == anywhere
