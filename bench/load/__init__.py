"""Load generators: wrk, which is C and leaves the two cores to what is measured, and PostgreSQL's own pgbench."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from ledger.errors import ConfigError
from servers.postgres import embedded_bin_dir

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Load:
    """The result of one closed loop of wrk. ``broken`` are connections refused, cut or timed out."""

    requests: int
    duration_us: int
    not_2xx: int
    broken: int
    p50_us: int
    p95_us: int
    p99_us: int
    max_us: int

    @property
    def per_s(self) -> float:
        """Good answers a second."""
        return (self.requests - self.not_2xx) / (self.duration_us / 1e6)


def wrk_loop(url: str, script: str, key: str, *, connections: int, duration_s: int, **variables: str) -> Load:
    """Run ``script`` (a .lua file of this folder) against ``url``; raises ConfigError when wrk is not installed."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise ConfigError("wrk is not installed: it is a package of that name in every distribution")
    argv = [wrk, "-t2", f"-c{connections}", f"-d{duration_s}s", "--timeout", "20s", "-s", str(_FOLDER / script), url]
    env = {**os.environ, "BENCH_KEY": key, "BENCH_RUN": uuid4().hex[:8], **variables}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)  # noqa: S603  # its own arguments
    line = next(line for line in done.stdout.splitlines() if line.startswith("JSON "))
    return Load(**json.loads(line.removeprefix("JSON ")))


def pgbench_loop(dsn: str, script: str, *, clients: int, duration_s: int) -> float:
    """Transactions a second of ``script`` (a .pgbench file of this folder) with prepared statements."""
    argv = [
        str(embedded_bin_dir() / "pgbench"),
        "-n",
        "-M",
        "prepared",
        f"-c{clients}",
        "-j2",
        f"-T{duration_s}",
        "-f",
        str(_FOLDER / script),
        dsn,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603  # its own arguments
    match = re.search(r"tps = ([\d.]+)", done.stdout)
    if match is None:
        raise ConfigError(f"pgbench gave no figure: {done.stderr[-500:]}")
    return float(match[1])
