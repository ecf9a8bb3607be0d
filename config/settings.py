"""One frozen settings model, read from ``TREASURY_*`` variables and a TOML file; a wrong value fails at start.

What is not set is served by the embedded servers of `servers/`; setting a URL replaces one of them.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from config.cache import CacheSettings
from config.dashboard import DashboardSettings
from config.health import AlertRepeatMinutes, AlertUrls, HealthSettings
from config.limits import ForwardedHeader, Networks, RateLimits, WatchSettings
from config.log import LogKeySettings
from config.misspelt import warn_of_misspelt
from config.prices import PriceSettings
from config.reconciliation import ReconciliationSettings
from config.retention import RetentionSettings
from config.suppliers import Suppliers
from config.watch_transactions import WatchTransactions
from ledger.errors import ConfigError
from ledger.tables import BUILT_IN, TieredTable

CONFIG_VARIABLE = "TREASURY_CONFIG"
DEFAULT_FILE = "treasury.toml"
LOGINS = ("database_url", "api_database_url", "auditor_database_url")
OWN_SCHEMA = "treasury"
SCHEMA_OPTION = "treasury.schema"  # carries the schema in the address of the database, as a parameter of the session
# Every field that holds a secret, and which of our child processes get it: "work" is the worker with its flow runs.
SECRETS = {
    "database_url": {"work"},  # of an API without a login of its own, too: see for_api
    "api_database_url": {"api"},
    "auditor_database_url": set[str](),
    "redis_url": {"work", "api"},
    "s3_secret_access_key": {"work", "api"},
    "prefect_api_auth_string": {"work", "api"},  # the API shows the health of Prefect
    "api_key_pepper": {"api"},
    "alert_urls": {"work"},
    "log_keys": {"work"},
    "suppliers": {"work", "api"},
}
_HOST_NAME = re.compile(r"(?:\*|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])\Z")


class Ports(BaseModel):
    """TCP ports of the embedded servers and of the API, all on 127.0.0.1. 0 takes any free one."""

    model_config = ConfigDict(extra="forbid")

    postgres: int = Field(55432, ge=0, le=65535)
    redis: int = Field(56379, ge=0, le=65535)
    s3: int = Field(59000, ge=0, le=65535)
    prefect: int = Field(4200, ge=0, le=65535)
    api: int = Field(8400, ge=0, le=65535)
    suppliers: int = Field(8500, ge=0, le=65535)


class Settings(BaseSettings):
    """Everything that can be set. Frozen; `load_settings` makes the one instance of a process."""

    model_config = SettingsConfigDict(
        env_prefix="TREASURY_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        validate_default=True,
        populate_by_name=True,
    )

    home: Path = Field(Path(".treasury"), description="Folder of the embedded servers' data, keys and spool")
    database_url: SecretStr | None = Field(None, description="postgresql://...; unset: the embedded PostgreSQL 18")
    api_database_url: SecretStr | None = Field(
        None, description="postgresql://... of a login in the role treasury_api; unset: the API has the owner's"
    )
    auditor_database_url: SecretStr | None = Field(
        None, description="postgresql://... of a login in the role treasury_auditor; unset: auditors have the owner's"
    )
    own_schema: str = Field(
        OWN_SCHEMA,
        validation_alias="TREASURY_SCHEMA",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="Schema of the project's own tables and functions; ledger tables are elsewhere",
    )
    redis_url: SecretStr | None = Field(None, description="redis://...; unset: the embedded Redis")
    redis_prefix: str = Field(
        "treasury:",
        pattern=r"^[A-Za-z0-9:_.-]{1,64}$",
        description="How every key in Redis begins: one for each database of those that share a Redis",
    )
    archive_url: str | None = Field(None, description="s3://bucket[/prefix] or file:///folder; unset: embedded S3")
    s3_endpoint_url: str | None = Field(None, description="Address of an S3 server other than AWS")
    s3_access_key_id: str | None = Field(
        None, validation_alias="AWS_ACCESS_KEY_ID", description="Unset: the AWS SDK's own search for credentials"
    )
    s3_secret_access_key: SecretStr | None = Field(None, validation_alias="AWS_SECRET_ACCESS_KEY")
    s3_region: str = Field("us-east-1", validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"))
    write_once: Literal["off", "offered", "governance", "compliance"] = Field(
        "offered",
        description="S3 Object Lock: off; GOVERNANCE where the bucket has it; or required in that mode",
    )
    deep_storage_class: str | None = Field(
        None,
        pattern=r"^[A-Z][A-Z0-9_]{0,62}$",
        description="Storage class of deep months, such as DEEP_ARCHIVE; unset: objects stay as they are",
    )
    prefect_api_url: str | None = Field(None, description="http://host:port/api; unset: the embedded Prefect server")
    prefect_api_auth_string: SecretStr | None = Field(
        None, description="user:password of that Prefect server; unset: the embedded server's own, or none"
    )
    prefect_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1", "localhost"), description="Host names that the embedded Prefect server answers to, without port"
    )
    ports: Ports = Field(default_factory=Ports)

    tables: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Per table name: fields of TieredTable to change, or a further table"
    )
    partitions_ahead: int = Field(12, ge=1, le=60, description="Months that partitions exist ahead of as_of")

    lock_timeout_ms: int = Field(100, ge=10, le=200, description="How long DDL waits for a lock before it backs off")
    lock_attempts: int = Field(60, ge=1, le=1000, description="How often DDL tries for its locks before it gives up")
    archive_workers: int = Field(2, ge=1, le=64, description="Months that one flow run archives at the same time")
    archive_memory_mb: int = Field(384, ge=128, description="Memory of the set-based engine for one month")
    archive_threads: int = Field(2, ge=1, le=256, description="Threads of the set-based engine for one month")
    archive_filter_bits: int = Field(
        12, ge=0, le=64, description="Bits of an archived month's filters for each value of a column; 0: no filters"
    )
    object_cache: Path | None = Field(
        None, description="Folder in which this machine keeps bytes of archived objects; unset: <home>/cache"
    )
    object_cache_mb: int = Field(
        1024, ge=0, le=1 << 20, description="How much of the disk that cache may take; 0: nothing is kept"
    )
    clock_tolerance_s: float = Field(
        5.0,
        ge=0.5,
        le=60,
        description="How far a clock may be off PostgreSQL's before nothing is stored",
    )
    restored_schema: str = Field(
        "restored", pattern=r"^[a-z_][a-z0-9_]{0,39}$", description="Schema that archived months are restored into"
    )
    sql_timeout_s: float = Field(
        600.0, gt=0, le=86_400, description="How long an answer of `treasury sql` may take; --timeout sets another"
    )
    store_timeout_s: float = Field(30.0, gt=0, le=3600, description="How long one call to the object store may take")

    api_workers: int = Field(1, ge=1, le=64, description="Processes of the transaction API")
    api_pool_size: int = Field(8, ge=2, le=200, description="PostgreSQL connections of one API process")
    api_page_limit: int = Field(500, ge=1, le=10_000, description="Largest `limit` of a page")
    api_batch_limit: int = Field(1000, ge=1, le=10_000, description="Most rows in one batch")
    api_body_limit_bytes: int = Field(2 << 20, ge=1024, description="Largest request body of the API, as read")
    api_single_body_limit_bytes: int = Field(
        65_536, ge=1024, description="Largest body of a request that is not a batch; the limit above holds for it, too"
    )
    api_bodies_limit_bytes: int = Field(
        128 << 20, ge=1024, description="Bytes of bodies that one API process holds at once; beyond them it answers 503"
    )
    api_feed_delay_s: float = Field(
        10.0,
        ge=1,
        le=600,
        description="How long after its created_at a row shows in the feed at the earliest; the same in every process",
    )
    api_queue_rows: int = Field(10_000, ge=1, description="Rows that may wait for their commit before answers are 503")
    api_statement_timeout_ms: int = Field(10_000, ge=100, description="How long one statement of the API may run")
    idempotency_hours: int = Field(48, ge=24, description="How long an idempotency key is remembered at least")
    api_key_pepper: SecretStr | None = Field(
        None, min_length=32, description="Secret that API keys are hashed with; unset: made once in <home>/keys"
    )
    health: HealthSettings = Field(default_factory=HealthSettings)
    alert_urls: AlertUrls = Field(default_factory=AlertUrls, description="Where notices of alerts are sent")
    alert_repeat_minutes: AlertRepeatMinutes = Field(default_factory=AlertRepeatMinutes)
    notice_timeout_s: float = Field(10.0, gt=0, le=60, description="How long one notice to one target may take")
    trusted_proxies: Networks = Field((), description="Proxies whose header names the client; separated by commas")
    forwarded_header: ForwardedHeader = Field("x-forwarded-for", description="The header that those proxies write")
    rate_limits: RateLimits = Field(default_factory=RateLimits)
    watch: WatchSettings = Field(default_factory=WatchSettings)
    watch_transactions: WatchTransactions = Field(default_factory=WatchTransactions)
    api_bind: str = Field("127.0.0.1", min_length=1, description="Address that the API listens at")
    api_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1", "localhost", "[::1]"), description="Host names that requests may name, without port; * for any"
    )
    api_connections: int = Field(16_384, ge=1, le=1_000_000, description="Connections of one API process at once")
    api_header_timeout_s: float = Field(10.0, gt=0, le=600, description="How long a request's header may take")
    api_body_timeout_s: float = Field(30.0, gt=0, le=3600, description="How long a request's body may take")
    api_keep_alive_s: float = Field(75.0, gt=0, le=3600, description="How long a connection may be silent")
    api_header_limit_bytes: int = Field(16_384, ge=1024, le=1 << 20, description="Largest request header")
    api_hsts_s: int = Field(63_072_000, ge=0, description="How long browsers keep to HTTPS (HSTS)")
    api_card_numbers: Literal["refuse", "strict", "accept"] = Field(
        "refuse", description="Card numbers in texts: refused; strict: bare digits in references too; or accepted"
    )
    suppliers: Suppliers = Field(
        default_factory=Suppliers, description="Per supplier: where it is, credentials, patience; unset: the simulators"
    )
    reconciliation: ReconciliationSettings = Field(default_factory=ReconciliationSettings)
    metrics_open_to: Networks = Field((), description="Networks that read /metrics without a key, separated by commas")
    log_open_to: Networks = Field((), description="Networks that read /log without a key, separated by commas")
    cache: CacheSettings = Field(default_factory=CacheSettings)
    log_keys: LogKeySettings = Field(
        default_factory=LogKeySettings, description="The keys of the public log; unset: made once in <home>/keys"
    )
    log_policy: Path | None = Field(
        None, description="File with the policy (c2sp.org/tlog-policy) whose witnesses cosign the log; unset: none"
    )
    witness_timeout_s: float = Field(10.0, gt=0, le=60, description="How long one request to a witness may take")
    tsa_url: str | None = Field(None, description="http(s)://... of an RFC 3161 time-stamping authority; unset: none")
    tsa_certificates: Path | None = Field(
        None, description="PEM file with the root certificates of that authority, and intermediate ones"
    )
    tsa_timeout_s: float = Field(10.0, gt=0, le=60, description="How long one timestamp may take")
    tsa_tolerance_s: float = Field(
        300.0, gt=0, le=3600, description="How far the authority's time may be from ours before it is refused"
    )
    verify_within_days: int = Field(
        90, ge=2, le=3650, description="Days within which every byte of the archive is read again, by a part each night"
    )
    prices: PriceSettings = Field(
        default_factory=PriceSettings, description="What a gigabyte in each tier and a request to the store cost"
    )
    retention: RetentionSettings = Field(
        default_factory=RetentionSettings, description="How long the law keeps rows, and how their deletion is approved"
    )
    api_dashboard: bool = Field(True, description="The API serves /dashboard; false: 404")
    dashboard: DashboardSettings = Field(
        default_factory=DashboardSettings, description="How long sessions of the dashboard last"
    )
    prefect_ui_url: str | None = Field(
        None,
        description="http(s)://... of the Prefect UI for people; unset: TREASURY_PREFECT_API_URL without /api",
    )
    runbooks_url: str | None = Field(
        None, description="http(s)://... where people read docs/runbooks.md; unset: its path in this project"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("home", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not str(value).strip():
            raise ValueError("must name a folder; leave it unset for .treasury in the working folder")
        return value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError:  # ~nobody-of-this-name
            raise ValueError("must be a folder; the user that it names does not exist") from None
        except FileNotFoundError:
            raise ValueError("must be a whole path: the folder that this was started in is gone") from None

    @field_validator("api_hosts", "prefect_hosts", mode="before")
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("api_hosts", "prefect_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _HOST_NAME.match(name):
                raise ValueError(f"{name!r} is not a host name, an IPv4 address, an [IPv6] address or *")
        return tuple(name.lower() for name in value)

    @field_validator("database_url", "api_database_url", "auditor_database_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in {"postgresql", "postgres"}:
            raise ValueError("must start with postgresql://")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("archive_url")
    @classmethod
    def _store(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        place = {"s3": parts.netloc, "file": "" if parts.netloc else parts.path.strip("/")}.get(parts.scheme)
        if not place:
            raise ValueError("must be s3://bucket, s3://bucket/prefix or file:///folder")
        return value.rstrip("/")

    @field_validator("s3_endpoint_url", "prefect_api_url", "prefect_ui_url", "runbooks_url", "tsa_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in {"http", "https"}:
            raise ValueError("must start with http:// or https://")
        return value

    @field_validator("tsa_certificates")
    @classmethod
    def _certified(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None and info.data.get("tsa_url") is not None:
            raise ValueError("must name the authority's certificates: TREASURY_TSA_URL is set")
        return value

    @field_validator("prefect_hosts")
    @classmethod
    def _named_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in value or not value:
            raise ValueError("must name hosts: a server that answers to any name is open to pages of other sites")
        return value

    @field_validator("prefect_api_auth_string")
    @classmethod
    def _user_and_password(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not all(value.get_secret_value().partition(":")):
            raise ValueError("must be user:password")
        return value

    @field_validator("api_feed_delay_s")
    @classmethod
    def _exceeds_the_tolerance(cls, value: float, info: ValidationInfo) -> float:
        tolerance_s = info.data.get("clock_tolerance_s", 0.0)
        if value <= tolerance_s:
            raise ValueError(f"must be more than TREASURY_CLOCK_TOLERANCE_S ({tolerance_s:g}), or rows come too late")
        return value

    @field_validator("api_queue_rows")
    @classmethod
    def _takes_a_batch(cls, value: int, info: ValidationInfo) -> int:
        batch = info.data.get("api_batch_limit", 0)
        if value < batch:
            raise ValueError(f"must be at least TREASURY_API_BATCH_LIMIT ({batch}), or no whole batch is ever taken")
        return value

    @field_validator("api_bodies_limit_bytes")
    @classmethod
    def _takes_a_body(cls, value: int, info: ValidationInfo) -> int:
        body = info.data.get("api_body_limit_bytes", 0)
        if value < body:
            raise ValueError(f"must be at least TREASURY_API_BODY_LIMIT_BYTES ({body}), or no whole body is ever taken")
        return value

    @field_validator("own_schema")
    @classmethod
    def _of_its_own(cls, value: str) -> str:
        if value in {"public", "information_schema"} or value.startswith("pg_"):
            raise ValueError(f"{value} is not free: name a schema that nothing else uses")
        return value

    @field_validator("tables")
    @classmethod
    def _tables_are_valid(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        _describe_tables(value)
        return value

    @field_validator("retention")
    @classmethod
    def _keeps_the_law(cls, value: RetentionSettings, info: ValidationInfo) -> RetentionSettings:
        for name, table in _describe_tables(info.data.get("tables") or {}).items():
            if table.policy.retention_months < value.legal_minimum_months:
                raise ValueError(
                    f"table {name}: its policy has retention_months {table.policy.retention_months}, less than "
                    f"legal_minimum_months {value.legal_minimum_months} ({value.legal_source})"
                )
        return value

    @cached_property
    def registry(self) -> dict[str, TieredTable]:
        """Every tiered table by name: the two built-in ones with their overrides, then the configured ones."""
        return _describe_tables(self.tables)

    def table(self, name: str) -> TieredTable:
        """The table called ``name``. Raises ConfigError that lists the known ones."""
        try:
            return self.registry[name]
        except KeyError:
            raise ConfigError(f"unknown table {name!r}; known: {', '.join(sorted(self.registry))}") from None

    def chosen_tables(self, names: Iterable[str] | None = None) -> list[TieredTable]:
        """The tables called ``names``, or all where there are none: each once, in the order of the registry.

        Raises ConfigError as `table` does.
        """
        chosen = {self.table(name).name for name in names or self.registry}
        return [table for name, table in self.registry.items() if name in chosen]

    @property
    def database_dsn(self) -> str:
        """The PostgreSQL URL in the clear, for connecting only. It names the schema where that is not the default.

        Raises ConfigError while it is not known.
        """
        if self.database_url is None:
            raise ConfigError("TREASURY_DATABASE_URL is not set and no embedded PostgreSQL was started")
        url = self.database_url.get_secret_value()
        return url if self.own_schema == OWN_SCHEMA else _with_option(url, f"-c {SCHEMA_OPTION}={self.own_schema}")

    def for_api(self) -> "Settings":
        """These settings for an API process: the API's own login is all that it knows of PostgreSQL.

        Without one it has the owner's. Safe to apply again.
        """
        ours = self._with_secrets_of("api")
        login = self.api_database_url or self.database_url
        return ours if login == ours.database_url else ours.model_copy(update={"database_url": login})

    def for_work(self) -> "Settings":
        """These settings for the worker and its flow runs: the owner's login, and no key of the API's or auditors'."""
        return self._with_secrets_of("work")

    def for_simulators(self) -> "Settings":
        """What the suppliers' simulators need: the home and how they behave. No secret at all."""
        suppliers = Suppliers(modules=self.suppliers.modules, simulator=self.suppliers.simulator)
        return Settings.model_construct({"home", "suppliers"}, home=self.home, suppliers=suppliers)

    def _with_secrets_of(self, part: str) -> "Settings":
        others = [field for field, parts in SECRETS.items() if part not in parts]
        unset = {field: Settings.model_fields[field].get_default(call_default_factory=True) for field in others}
        changes = {field: value for field, value in unset.items() if getattr(self, field) != value}
        return self.model_copy(update=changes) if changes else self

    def for_auditor(self) -> "Settings":
        """These settings for queries of an auditor: with the auditor's own login, where there is one."""
        if self.auditor_database_url is None:
            return self
        return self.model_copy(update={"database_url": self.auditor_database_url, "api_database_url": None})

    @property
    def archive_location(self) -> str:
        """The archive's URL. Raises ConfigError while it is not known."""
        if self.archive_url is None:
            raise ConfigError("TREASURY_ARCHIVE_URL is not set and no embedded S3 server was started")
        return self.archive_url

    @property
    def spool(self) -> Path:
        """Folder for files on their way: exports before upload, sort runs. Anything in it may be deleted when idle."""
        return self.home / "spool"

    @property
    def object_cache_folder(self) -> Path:
        """Folder of the cache of archived objects. Anything in it may be deleted at any time."""
        return self.object_cache or self.home / "cache"

    def environment(self) -> dict[str, str]:
        """The variables that make a child process load these very settings, wherever it runs. Holds passwords."""
        values = {name: getattr(self, name) for name in self.model_fields_set | {"home"}}
        variables = {_variable(name): _as_text(value) for name, value in values.items() if value is not None}
        if self.prefect_api_url is not None:
            variables["PREFECT_API_URL"] = self.prefect_api_url
        if self.prefect_api_auth_string is not None:
            variables["PREFECT_API_AUTH_STRING"] = self.prefect_api_auth_string.get_secret_value()
        return variables

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the TOML file that TREASURY_CONFIG (or treasury.toml) names."""
        path = Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_FILE))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)


def load_settings(**changes: Any) -> Settings:
    """Read the settings. Raises ConfigError that names each wrong value's variable."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named and not Path(named).is_file():
        raise ConfigError(f"{CONFIG_VARIABLE}: {named} is not a file")
    warn_of_misspelt([_variable(field) for field in Settings.model_fields])
    try:
        return Settings(**changes)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(item) for item in error.errors())) from None
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        raise ConfigError(f"{_variable(field[1]) if field else 'settings'}: must be JSON") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{named or DEFAULT_FILE}: {error}") from None


def _describe_tables(tables: dict[str, dict[str, Any]]) -> dict[str, TieredTable]:
    """The built-in tables with their overrides, then the further ones. Raises ValueError naming table and field."""
    described = {table.name: table for table in BUILT_IN}
    for name, fields in tables.items():
        base = described[name].model_dump() if name in described else {}
        try:
            described[name] = TieredTable.model_validate({**base, **fields, "name": name})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join((name, *map(str, first["loc"])))
            raise ValueError(f"{where}: {_message(first)}") from None
    _refuse_view_names(described)
    return described


def _refuse_view_names(tables: dict[str, TieredTable]) -> None:
    """Raise ValueError for a table whose name `treasury sql` needs for a view of another one."""
    for table in tables.values():
        for view in table.views[1:]:
            if view in tables:
                raise ValueError(f"{view}.name: is a view of {table.name} in `treasury sql`: choose another name")


def _with_option(url: str, option: str) -> str:
    """``url`` with one more session parameter, behind those that it has."""
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    query["options"] = [" ".join((*query.get("options", ()), option))]
    return parts._replace(query=urlencode(query, doseq=True, quote_via=quote)).geturl()


def _variable(field: str) -> str:
    """The environment variable of a field: the AWS SDK's own name where there is one."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        alias = str(alias.choices[0])
    return str(alias or f"TREASURY_{field.upper()}")


def _as_text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, tuple):
        return ",".join(value)
    return json.dumps(value, default=_revealed) if isinstance(value, dict) else str(value)


def _revealed(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _explain(item: Any) -> str:
    path = "__".join(str(part) for part in item["loc"]).upper()
    return f"{path if path.startswith(('AWS_', 'TREASURY_')) else f'TREASURY_{path}'}: {_message(item)}"


def _message(item: Any) -> str:
    return str(item["msg"]).removeprefix("Value error, ")
