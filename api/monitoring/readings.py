"""The numbers of every worker process together, read from `api.monitoring.metrics` at one moment.

With a shared folder the processes' files are added up. A worker holds a lock on ``<pid>.alive`` there for as long as it
lives, however it ends. The gauges of a worker that no longer holds it are removed, and its counts are folded into one
file. So a worker that dies again and again neither skews the gauges nor fills the folder.
"""

import fcntl
import os
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from api.monitoring import metrics

Labels = tuple[str, ...]
_LOCK = "folder.lock"
_ALIVE = ".alive"
_FOLDED = "0"  # no process has this id
_KEPT_OF_THE_DEAD = ("counter", "histogram", "gauge_min")


@dataclass(frozen=True, slots=True)
class Reading:
    """The counts at one moment. ``at_s`` is the monotonic clock's.

    Numbers are found by the metric's sample name and then by its labels' values, in the order of the labels' names.
    A distribution holds the count at or below each bound, and the total.
    """

    at_s: float
    values: Mapping[str, Mapping[Labels, float]]
    distributions: Mapping[str, Mapping[Labels, Sequence[float]]]

    def value(self, name: str, *labels: str) -> float:
        """One number; 0 for what was never counted."""
        return self.values.get(name, {}).get(labels, 0.0)


def read() -> Reading:
    """Everything, now, over all processes. Takes some milliseconds: not for the event loop."""
    with _registry() as registry:
        return _reading(registry.collect())


def exposition() -> bytes:
    """Everything in Prometheus's text format, over all processes. Takes some milliseconds: not for the event loop."""
    with _registry() as registry:
        return generate_latest(registry)


@contextmanager
def serving() -> Iterator[None]:
    """Count this process among those that serve, until it leaves or dies."""
    folder = metrics.shared_folder()
    if folder is None:
        metrics.process_started()
        yield
        return
    descriptor = os.open(Path(folder, f"{os.getpid()}{_ALIVE}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        metrics.process_started()
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _registry() -> Iterator[CollectorRegistry]:
    folder = metrics.shared_folder()
    if folder is None:
        yield metrics.REGISTRY
        return
    _fold_the_dead(Path(folder))
    with _locked(Path(folder), fcntl.LOCK_SH):  # nothing is folded while the files are read
        registry = CollectorRegistry()
        MultiProcessCollector(registry, folder)
        yield registry


def _fold_the_dead(folder: Path) -> None:
    with _locked(folder, fcntl.LOCK_SH):
        if not _dead(folder):
            return
    with _locked(folder, fcntl.LOCK_EX):
        for pid in _dead(folder):
            _fold(folder, pid)


@contextmanager
def _locked(folder: Path, mode: int) -> Iterator[None]:
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, mode)
        yield
    finally:
        os.close(descriptor)


def _dead(folder: Path) -> list[str]:
    """The processes whose lock is free."""
    return [path.stem for path in folder.glob(f"*{_ALIVE}") if _is_free(path)]


def _is_free(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _fold(folder: Path, pid: str) -> None:
    """Add what a dead process has counted to the one file of all the dead, and remove its own files.

    Killed in between, the next one adds one of the files a second time: numbers to watch by, not to account by.
    """
    mark_process_dead(pid, folder)
    for kind in _KEPT_OF_THE_DEAD:
        own = folder / f"{kind}_{pid}.db"
        if own.exists():
            _add(own, folder / f"{kind}_{_FOLDED}.db", smallest=kind == "gauge_min")
            own.unlink()
    (folder / f"{pid}{_ALIVE}").unlink()


def _add(source: Path, target: Path, *, smallest: bool) -> None:
    """Add the numbers of ``source`` to those of ``target``; or keep the smaller of the two."""
    known = {key for key, *_ in MmapedDict.read_all_values_from_file(target)} if target.exists() else set()
    kept = MmapedDict(str(target))
    try:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(source):
            before = kept.read_value(key)[0] if key in known else None
            both = value if before is None else min(before, value) if smallest else before + value
            kept.write_value(key, both, 0.0)
    finally:
        kept.close()


def _reading(families: Iterable[Metric]) -> Reading:
    values: dict[str, dict[Labels, float]] = {}
    buckets: dict[str, dict[Labels, list[tuple[float, float]]]] = {}
    for family in families:
        for sample in family.samples:
            labels = tuple(value for name, value in sorted(sample.labels.items()) if name != "le")
            if "le" in sample.labels:
                counts = buckets.setdefault(family.name, {}).setdefault(labels, [])
                counts.append((float(sample.labels["le"]), sample.value))
            else:
                values.setdefault(sample.name, {})[labels] = sample.value
    distributions = {
        name: {labels: array("d", [count for _, count in sorted(counts)]) for labels, counts in by_labels.items()}
        for name, by_labels in buckets.items()
    }
    return Reading(time.monotonic(), values, distributions)
