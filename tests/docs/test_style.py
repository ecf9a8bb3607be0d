"""The rules of CONTRIBUTING.md about words, names and pages hold for every file; its map leads to files that exist."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from jinja2 import nodes

from api.dashboard.rendering import environment

PROJECT = Path(__file__).resolve().parents[2]
ROOMS = ("api", "bench", "cli", "config", "flows", "ledger", "servers", "sql", "storage", "suppliers", "tasks")
PAGES = {
    path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*PROJECT.glob("*.md"), *sorted((PROJECT / "docs").rglob("*.md")))
}
SOURCES = [path for room in (*ROOMS, "examples") for path in sorted((PROJECT / room).rglob("*.py"))]
DEPLOYMENTS = [
    path for pattern in ("*.yaml", "examples/**/*.yml", "Makefile") for path in sorted(PROJECT.glob(pattern))
]
TEMPLATES = sorted((PROJECT / "api" / "dashboard" / "templates").glob("*.html"))
QUERIES = [path for room in ROOMS for path in sorted((PROJECT / room).rglob("*.sql")) if "versions" not in path.parts]

# Syntax of another language, and words about people. "stand-in" and "stands for" are English.
FOREIGN = re.compile(
    r"\b(tells?|told|telling|(is|are|was) at it|anew|mend(s|ed|ing)?|so bad|besides|"
    r"(comes?|came) to (?!an end|the same)|stands?(?!-in| for\b| alone\b)|(for|of) who|whosever)\b|"
    r"(?<!there )\b(is|are) no (?!longer|such)(?=[a-z])",
    re.IGNORECASE,
)
# Stored names and a value of PostgreSQL, files whose names are linked, and a message of DuckDB.
STORED = re.compile(r"keys_tell_month|told_at|0002-the-id-tells-the-month|\btold: |\.told\b|\"told\"")

# One name for several classes is right where each is the answer of another supplier, the answer of the API about the
# very thing, or in a program of its own: the files, and why.
SHARED_NAMES = {
    "ArchivedObject": (
        {"api/archive/months.py", "tasks/querying/objects.py"},
        "api.archive answers with what tasks.querying knows of the object",
    ),
    "Hold": ({"api/holds/answers.py", "ledger/holds.py"}, "api.holds answers with what ledger.holds has"),
    "Month": (
        {"examples/verify_month.py", "ledger/months.py"},
        "examples/verify_month.py shares no code with the project",
    ),
    "ProductLine": (
        {"suppliers/flash/messages.py", "suppliers/mobilemart/messages.py"},
        "each supplier's list of products has its own lines",
    ),
    "TokenAnswer": (
        {"suppliers/flash/messages.py", "suppliers/mobilemart/messages.py", "suppliers/peach/messages.py"},
        "each supplier answers with a token in its own form",
    ),
    "Verdict": (
        {"suppliers/verdicts.py", "tasks/reconciliation/vocabulary.py"},
        "a supplier's answer has one, and so has a reconciled day; nothing needs both",
    ),
}


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and other texts of a source file, with the number of their line."""
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        texts = re.sub(r"{[{%#].*?[#%}]}", lambda code: "\n" * code[0].count("\n"), content, flags=re.DOTALL)
        yield from enumerate(texts.splitlines(), 1)
        return
    if path.suffix not in (".py", ".sql"):
        yield from enumerate(content.splitlines(), 1)
        return
    if path.suffix == ".sql":
        for number, line in enumerate(content.splitlines(), 1):
            yield number, line.partition("--")[2]
        return
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type in {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.COMMENT)}:
            yield from enumerate(token.string.splitlines(), token.start[0])


_RECORD = re.compile(r"\bdecisions? (\d{4})")


@pytest.mark.parametrize("room", [*ROOMS, "examples", "tests"])
def test_a_decision_that_a_source_names_has_a_record(room: str) -> None:
    records = {path.name[:4] for path in (PROJECT / "docs" / "decisions").glob("0*.md")}
    paths = [path for suffix in ("py", "sql", "html", "js") for path in (PROJECT / room).rglob(f"*.{suffix}")]
    assert [
        f"{path.relative_to(PROJECT)}: {number}"
        for path in paths
        for number in _RECORD.findall(path.read_text(encoding="utf-8"))
        if number not in records
    ] == []


def _foreign(text: str) -> str | None:
    found = FOREIGN.search(STORED.sub("", text))
    return found[0] if found else None


@pytest.mark.parametrize("room", [*ROOMS, "examples"])
def test_sources_are_written_in_plain_words(room: str) -> None:
    files = [path for path in (*SOURCES, *QUERIES) if path.is_relative_to(PROJECT / room)]
    assert files
    found = [
        f"{path.relative_to(PROJECT)}:{number}: {word}"
        for path in files
        for number, text in _prose(path)
        if (word := _foreign(text)) is not None
    ]
    assert found == []


@pytest.mark.parametrize(
    "path",
    [*DEPLOYMENTS, *TEMPLATES, PROJECT / "examples" / "monitoring" / "grafana.json"],
    ids=lambda path: path.relative_to(PROJECT).as_posix(),
)
def test_deployments_templates_and_panels_are_written_in_plain_words(path: Path) -> None:
    assert [f"{number}: {word}" for number, text in _prose(path) if (word := _foreign(text)) is not None] == []


def test_what_a_template_says_is_read_without_its_code(tmp_path: Path) -> None:
    template = tmp_path / "page.html"
    template.write_text("<p>{{ told }}\n{% if told\n%}nothing besides</p>")
    assert [(number, _foreign(text)) for number, text in _prose(template)] == [(1, None), (2, None), (3, "besides")]


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_written_in_plain_words(page: str) -> None:
    lines = re.sub(r"`[^`\n]*`|\"[^\"\n]*\"", "", PAGES[page]).splitlines()
    assert [f"{number}: {word}" for number, line in enumerate(lines, 1) if (word := _foreign(line)) is not None] == []


@pytest.mark.parametrize(
    "text", ["Peach tells how it ended", "a copy is no row", "the status that it stands in", "nothing besides"]
)
def test_a_foreign_text_would_be_noticed(text: str) -> None:
    assert _foreign(text) is not None


@pytest.mark.parametrize("text", ["there is no row", "it stands for NULL", "it is no longer there", "a stand-in"])
def test_english_is_not_taken_for_foreign(text: str) -> None:
    assert _foreign(text) is None


@cache
def _trees() -> list[tuple[str, ast.Module]]:
    """Every source file by its path, parsed."""
    return [(path.relative_to(PROJECT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES]


def _classes() -> dict[str, set[str]]:
    """The public classes of the project, and the files that define each."""
    classes = defaultdict(set)
    for path, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[node.name].add(path)
    return classes


def test_a_public_class_has_a_name_of_its_own() -> None:
    shared = {name: files for name, files in _classes().items() if len(files) > 1}
    assert shared == {name: files for name, (files, _) in SHARED_NAMES.items()}


def _imports_task(tree: ast.Module) -> bool:
    """Return whether a module can make a Prefect task: it imports the name, or reaches it by its module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "prefect":
            if any(name.name in {"task", "Task"} for name in node.names):
                return True
        elif isinstance(node, ast.Import) and any(name.name.partition(".")[0] == "prefect" for name in node.names):
            return True
    return False


def test_prefect_s_tasks_are_in_one_module() -> None:
    assert {path for path, tree in _trees() if _imports_task(tree)} == {"tasks/steps.py"}


@pytest.mark.parametrize(
    ("source", "makes"),
    [
        ("from prefect import flow, task", True),
        ("from prefect.tasks import Task as Step", True),
        ("import prefect.tasks", True),
        ("from prefect import flow", False),
        ("from tasks.prefect import task", False),
    ],
)
def test_a_second_module_of_tasks_would_be_noticed(source: str, makes: bool) -> None:
    assert _imports_task(ast.parse(source)) is makes


def test_the_zone_of_business_days_has_its_name_once() -> None:
    named = {
        path
        for path, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value == "Africa/Johannesburg"
    }
    assert named == {"ledger/business_days.py"}


# A variable is named by its noun. Fields that are stored keep their names.
WITHOUT_NOUN = {"found", "given", "one", "sides", "told"}


def _variables(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and the name of every argument, and of every variable that a function assigns."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(function):
                if isinstance(node, ast.arg):
                    yield function.lineno, node.arg
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.lineno, node.id


def _without_noun(room: str) -> list[str]:
    """The variables of a room that have such a name, each with its file and line."""
    return [
        f"{path}:{line}: {name}"
        for path, tree in _trees()
        if path.startswith(f"{room}/")
        for line, name in sorted(set(_variables(tree)))
        if name in WITHOUT_NOUN
    ]


@pytest.mark.parametrize("room", [*ROOMS, "examples"])
def test_variables_are_named_by_a_noun(room: str) -> None:
    assert _without_noun(room) == []


@pytest.mark.parametrize(
    "source",
    [
        "def f(): found = 1",
        "def f(given): ...",
        "def f(*, told: int = 0): ...",
        "async def f():\n for sides in (): ...",
        "def f(): return [told for told in ()]",
        "def f():\n  a, found = 1, 2",
        "lambda given: 1",
        "def f(): return [one for one in ()]",
    ],
)
def test_a_variable_without_a_noun_would_be_noticed(source: str) -> None:
    assert {name for _, name in _variables(ast.parse(source))} & WITHOUT_NOUN


def test_variables_of_templates_are_named_by_a_noun() -> None:
    templates = environment()
    stored = {
        (template, variable.lineno, variable.name)
        for template in templates.list_templates()
        for variable in templates.parse(_source(template)).find_all(nodes.Name)
        if variable.ctx in ("store", "param")
    }
    assert {name for _, _, name in stored} >= {"cell", "proposal", "picture"}  # of a loop, of `set`, of a macro
    assert [variable for variable in sorted(stored) if variable[2] in WITHOUT_NOUN] == []


def _source(template: str) -> str:
    return (PROJECT / "api/dashboard/templates" / template).read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["api", "tasks"])
def test_the_tests_of_a_room_are_in_a_room_of_the_same_name(package: str) -> None:
    rooms, tests = (
        {file.relative_to(folder).parts[0] for file in folder.glob(f"*/{pattern}")}
        for folder, pattern in ((PROJECT / package, "**/*.py"), (PROJECT / "tests" / package, "test_*.py"))
    )
    assert tests == rooms


_MARK = re.compile(r"^\s*(?:- |\* |\d+\. )?(?:\*\*[^*]*\*\*:? *)?")
_ITEM = re.compile(r"\s*(- |\* |\d+\. |!|<)")
_STOP = re.compile(r"[.:;!?][\")*`_]*$")
_END = re.compile(r"(?<![ .][A-Z])(?<!e\.g)(?<!i\.e)[.!?][\")*]*\s+(?=[A-Z`\[*\"(+])")


def _lines_of_prose(page: str) -> Iterator[tuple[int, str]]:
    is_code = False
    for number, line in enumerate(PAGES[page].splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code and not line.startswith(("#", "|", "    ")) and line.strip():
            masked = re.sub(r"`[^`]*`|\]\([^)]*\)", lambda code: f"`{'x' * len(code[0])}`", line)
            yield number, _MARK.sub("", masked)


@pytest.mark.parametrize("page", PAGES)
def test_documentation_has_one_sentence_per_line(page: str) -> None:
    raw, lines = PAGES[page].splitlines(), dict(_lines_of_prose(page))
    broken = {n for n in lines if n + 1 in lines and not _STOP.search(raw[n - 1].rstrip()) and not _ITEM.match(raw[n])}
    several = {n for n, line in lines.items() if _END.search(line)}
    assert [f"{page}:{n}: {raw[n - 1]}" for n in sorted(broken | several)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_table_has_a_header_of_words(page: str) -> None:
    lines = PAGES[page].splitlines()
    rules = [number for number, line in enumerate(lines) if re.fullmatch(r"\|[ :|-]*-[ :|-]*\|", line.strip())]
    for number in rules:
        cells = [cell.strip() for cell in lines[number - 1].strip().strip("|").split("|")]
        assert all(cells), f"{page}:{number}: {lines[number - 1]}"
    starts = [
        number
        for number, line in enumerate(lines)
        if line.startswith("| ") and (number == 0 or not lines[number - 1].lstrip().startswith("|"))
    ]
    code = {
        n
        for block in re.finditer(r"^```.*?^```", PAGES[page], re.MULTILINE | re.DOTALL)
        for n in _span(PAGES[page], block)
    }
    assert [n + 1 for n in starts if n + 1 not in rules and n not in code] == []


def _span(text: str, block: re.Match[str]) -> range:
    return range(text.count("\n", 0, block.start()), text.count("\n", 0, block.end()) + 1)


MAP = [line for line in PAGES["CONTRIBUTING.md"].splitlines() if line.startswith("| ") and "`" in line]


@pytest.mark.parametrize("row", MAP, ids=lambda row: row.split("|")[1].strip())
def test_every_file_on_the_map_exists(row: str) -> None:
    folders: list[str] = []  # a name without a folder is beside a file that the row names before it, or in any room
    for name in re.findall(r"`(\w[\w./*-]*(?:/|\.py|\.sql|\.md|\.yaml|\.toml))`", row):
        if "/" in name:
            assert list(PROJECT.glob(name.rstrip("/"))), f"{name} is not there"
            folders.append(name.rpartition("/")[0])
        else:
            places = [*(folders or ROOMS), "."]
            pattern = name if folders or (PROJECT / name).exists() else f"**/{name}"
            assert any(list((PROJECT / place).glob(pattern)) for place in places), f"{name} is not there"


def test_the_map_has_the_common_tasks() -> None:
    assert len(MAP) > 40
    assert {"a health check", "a supplier", "a setting", "an API operation"} <= {
        row.split("|")[1].strip() for row in MAP
    }
