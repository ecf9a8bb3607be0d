"""What the API uses of uvicorn and prometheus_client that they do not promise to keep.

Each test names the library, its version, the name that is gone or has changed, and the module that uses it. The upper
bounds of both (decision 0010) rise only when these pass. What the names do is tested elsewhere: test_protocol.py here,
tests/api/monitoring/test_workers.py.
"""

import ast
import inspect
import textwrap
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from packaging.requirements import Requirement
from packaging.version import Version
from prometheus_client import CollectorRegistry, Histogram, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

from api.monitoring import metrics
from api.serve import ProcessConfig
from api.server import protocol
from api.server.protocol import LimitedConfig, LimitedProtocol

PROJECT = Path(__file__).parents[3]
PROTOCOL = Path(protocol.__file__).read_text(encoding="utf-8")


def gone(library: str, name: str, used_by: str) -> str:
    """What to say of a name that a library has no more."""
    return f"{library} {metadata.version(library)} has no {name} any more, which {used_by} uses"


def class_named(name: str) -> ast.ClassDef:
    """A class of api/server/protocol.py."""
    [found] = [node for node in ast.parse(PROTOCOL).body if isinstance(node, ast.ClassDef) and node.name == name]
    return found


def own_names(found: ast.AST) -> set[str]:
    """What a class defines itself: its methods, and what it sets on ``self``."""
    methods = {node.name for node in ast.walk(found) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return methods | {node.attr for node in attributes_of(found, "self") if isinstance(node.ctx, ast.Store)}


def attributes_of(found: ast.AST, owner: str) -> Iterator[ast.Attribute]:
    """Every ``owner.name`` in a piece of code."""
    for node in ast.walk(found):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == owner:
            yield node


def used_of(found: ast.AST, owner: str) -> set[str]:
    """The names that a piece of code uses of ``owner``."""
    return {node.attr for node in attributes_of(found, owner)}


def instance_names(kind: type) -> set[str]:
    """What an instance of a library's class has: what the class inherits and defines, and what its code sets."""
    return set(dir(kind)) | own_names(ast.parse(textwrap.dedent(inspect.getsource(kind))))


def test_uvicorn_s_protocol_has_every_name_that_ours_uses() -> None:
    ours = class_named("LimitedProtocol")
    theirs = instance_names(HttpToolsProtocol)
    for name in sorted((used_of(ours, "self") - own_names(ours)) | used_of(ours, "super()")):
        assert name in theirs, gone("uvicorn", f"HttpToolsProtocol.{name}", "api/server/protocol.py")


@pytest.mark.parametrize(
    ("owners", "kind"),
    [(("self.cycle", "self._running", "cycle"), RequestResponseCycle), (("self.flow",), FlowControl)],
    ids=["cycle", "flow"],
)
def test_what_uvicorn_s_protocol_holds_has_every_name_that_ours_uses(owners: tuple[str, ...], kind: type) -> None:
    ours = class_named("LimitedProtocol")
    own = {"held"} if kind is FlowControl else set()  # of api.server.protocol._Flow
    used = set().union(*(used_of(ours, owner) for owner in owners)) - own
    assert used
    for name in sorted(used):
        assert name in instance_names(kind), gone("uvicorn", f"{kind.__name__}.{name}", "api/server/protocol.py")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (LimitedProtocol, HttpToolsProtocol),
        (protocol._Flow, FlowControl),
        (LimitedConfig, Config),
        (ProcessConfig, Config),
    ],
    ids=lambda kind: kind.__name__,
)
def test_a_method_that_replaces_one_of_uvicorn_s_takes_what_that_one_takes(ours: type, theirs: type) -> None:
    """A method that uvicorn calls by another name, or with more, would be passed over or would fail."""
    replaced = [name for name in vars(ours) if callable(vars(ours)[name]) and not name.startswith("_")]
    if "_start_asgi_task" in vars(ours):
        replaced.append("_start_asgi_task")
    for name in replaced:
        assert hasattr(theirs, name), gone("uvicorn", f"{theirs.__name__}.{name}", ours.__module__)
        taken, given = (len(inspect.signature(getattr(kind, name)).parameters) for kind in (ours, theirs))
        assert taken == given, (
            f"uvicorn {uvicorn.__version__} gives {name} {given - 1} arguments, {ours.__module__} takes {taken - 1}"
        )


def test_what_stands_for_a_cycle_has_what_uvicorn_reads_of_one() -> None:
    read = used_of(ast.parse(inspect.getsource(inspect.getmodule(HttpToolsProtocol))), "self.cycle")  # type: ignore[arg-type]
    stand_in = set(dir(protocol._ANSWERED))
    of_the_request_s_body = {
        "body",
        "more_body",
    }  # uvicorn reads and sets them while a body comes: no such request is answered at once
    for name in sorted(read - of_the_request_s_body):
        assert name in stand_in, (
            f"uvicorn {uvicorn.__version__} reads {name} of a cycle, which api.server.protocol._Answered has not"
        )


def test_the_rest_of_uvicorn_s_names_that_are_used_is_there() -> None:
    assert STATUS_LINE[404].startswith(b"HTTP/1.1 404 "), gone(
        "uvicorn", "STATUS_LINE by status", "api/caching/fast_path.py"
    )
    assert {"config", "sockets"} <= set(inspect.signature(Multiprocess).parameters), gone(
        "uvicorn", "Multiprocess(config, sockets)", "api/serve.py"
    )
    assert hasattr(Config, "bind_socket"), gone("uvicorn", "Config.bind_socket", "api/serve.py")
    assert isinstance(uvicorn.config.STARTUP_FAILURE, int), gone("uvicorn", "STARTUP_FAILURE", "api/serve.py")


def test_a_histogram_of_prometheus_client_has_the_sum_and_the_buckets_that_are_written_together() -> None:
    histogram = Histogram("one", "One", buckets=metrics.DURATION_BUCKETS_S, registry=CollectorRegistry())
    assert hasattr(histogram, "_sum"), gone("prometheus-client", "Histogram._sum", "api/monitoring/metrics.py")
    assert hasattr(histogram, "_buckets"), gone("prometheus-client", "Histogram._buckets", "api/monitoring/metrics.py")
    metrics._observe_all(histogram, [0.001, 0.3, 99.0])
    observed = Histogram("one", "One", buckets=metrics.DURATION_BUCKETS_S, registry=CollectorRegistry())
    for amount in (0.001, 0.3, 99.0):
        observed.observe(amount)
    assert samples(histogram) == samples(observed), (
        "Histogram._sum and ._buckets mean something else: api/monitoring/metrics.py"
    )


def samples(histogram: Histogram) -> list[tuple[str, Any, float]]:
    """What a histogram shows, without the time of its making."""
    [family] = histogram.collect()
    return [(one.name, one.labels, one.value) for one in family.samples if not one.name.endswith("_created")]


def test_a_file_of_numbers_of_prometheus_client_is_read_and_written_as_the_folding_of_dead_workers_does(
    tmp_path: Path,
) -> None:
    file = str(tmp_path / "counter_1.db")
    written = MmapedDict(file)
    written.write_value("key", 2.0, 0.0)
    assert written.read_value("key")[0] == 2.0, "MmapedDict.read_value gives something else: api/monitoring/readings.py"
    written.close()
    assert [(key, value) for key, value, *_ in MmapedDict.read_all_values_from_file(file)] == [("key", 2.0)]


def test_the_rest_of_prometheus_client_s_names_that_are_used_is_there(tmp_path: Path) -> None:
    used_by = "api/monitoring/metrics.py"
    assert hasattr(values, "ValueClass"), gone("prometheus-client", "values.ValueClass", used_by)
    assert "process_identifier" in inspect.signature(values.MultiProcessValue).parameters, gone(
        "prometheus-client", "MultiProcessValue(process_identifier)", used_by
    )
    mark_process_dead("1", tmp_path)
    MultiProcessCollector(CollectorRegistry(), str(tmp_path))


@pytest.mark.parametrize("package", ["uvicorn", "prometheus-client"])
def test_a_library_of_which_private_names_are_used_has_an_upper_bound(package: str) -> None:
    stated = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    [wanted] = [line for line in map(Requirement, stated) if line.name == package]
    assert any(part.operator == "<" for part in wanted.specifier), f"{package} has no upper bound in pyproject.toml"
    newest = max(wanted.specifier, key=lambda part: part.operator == "<").version
    assert Version(newest) > Version(metadata.version(package))
