"""The settings are read once; what is wrong fails at start under its own name, and no secret is ever shown."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from bench.databases import on_database
from config import load_settings
from config.misspelt import misspelt
from config.settings import SECRETS, Settings
from ledger.errors import ConfigError
from ledger.policy import TierPolicy

PASSWORD = "correct-horse-battery"
URL = f"postgresql://ledger:{PASSWORD}@127.0.0.1:5432/ledger"
WRONG = [
    ("TREASURY_DATABASE_URL", f"mysql://ledger:{PASSWORD}@h/d"),
    ("TREASURY_DATABASE_URL", f"postgresql://ledger:{PASSWORD}@[::1/d"),
    ("TREASURY_DATABASE_URL", ""),
    ("TREASURY_REDIS_URL", f"http://:{PASSWORD}@h"),
    ("TREASURY_ARCHIVE_URL", "ftp://bucket"),
    ("TREASURY_ARCHIVE_URL", "s3://"),
    ("TREASURY_ARCHIVE_URL", "file://relative/folder"),
    ("TREASURY_ARCHIVE_URL", "file:///"),
    ("TREASURY_S3_ENDPOINT_URL", "127.0.0.1:9000"),
    ("TREASURY_PREFECT_API_URL", "127.0.0.1:4200"),
    ("TREASURY_PORTS", "9"),
    ("TREASURY_PORTS", "{"),
    ("TREASURY_PORTS__POSTGRES", "65536"),
    ("TREASURY_PORTS__POSTGRES", "-1"),
    ("TREASURY_PORTS__MYSQL", "1"),
    ("TREASURY_TABLES", "{"),
    ("TREASURY_TABLES", "[]"),
    ("TREASURY_TABLES", '{"Events": {}}'),
    ("TREASURY_TABLES", '{"events": {"colour": "red"}}'),
    ("TREASURY_PARTITIONS_AHEAD", "0"),
    ("TREASURY_PARTITIONS_AHEAD", "61"),
    ("TREASURY_LOCK_TIMEOUT_MS", "9"),
    ("TREASURY_LOCK_TIMEOUT_MS", "201"),
    ("TREASURY_LOCK_TIMEOUT_MS", "100.5"),
    ("TREASURY_LOCK_TIMEOUT_MS", "many"),
    ("TREASURY_LOCK_ATTEMPTS", "0"),
    ("TREASURY_ARCHIVE_WORKERS", "0"),
    ("TREASURY_ARCHIVE_MEMORY_MB", "127"),
    ("TREASURY_ARCHIVE_THREADS", "0"),
    ("TREASURY_STORE_TIMEOUT_S", "0"),
    ("TREASURY_STORE_TIMEOUT_S", "nan"),
    ("TREASURY_STORE_TIMEOUT_S", "inf"),
    ("TREASURY_API_WORKERS", "65"),
    ("TREASURY_API_POOL_SIZE", "1"),
    ("TREASURY_API_PAGE_LIMIT", "0"),
    ("TREASURY_API_BATCH_LIMIT", "10001"),
    ("TREASURY_API_BODY_LIMIT_BYTES", "1023"),
    ("TREASURY_API_QUEUE_ROWS", "0"),
    ("TREASURY_API_QUEUE_ROWS", "999"),
    ("TREASURY_IDEMPOTENCY_HOURS", "23"),
    ("TREASURY_API_BODIES_LIMIT_BYTES", "2097151"),
    ("TREASURY_API_SINGLE_BODY_LIMIT_BYTES", "1023"),
    ("TREASURY_API_DATABASE_URL", f"mysql://ledger:{PASSWORD}@h/d"),
    ("TREASURY_AUDITOR_DATABASE_URL", "127.0.0.1"),
    ("TREASURY_SQL_TIMEOUT_S", "0"),
    ("TREASURY_HOME", ""),
    ("TREASURY_HOME", " "),
    ("TREASURY_HOME", "~nobody-of-this-name/here"),
    ("TREASURY_API_STATEMENT_TIMEOUT_MS", "99"),
    ("TREASURY_API_KEY_PEPPER", PASSWORD),
    ("TREASURY_TRUSTED_PROXIES", "10.0.0.0/33"),
    ("TREASURY_TRUSTED_PROXIES", "proxy.internal"),
    ("TREASURY_FORWARDED_HEADER", "x-real-ip"),
    ("TREASURY_RATE_LIMITS__GENERAL", "0/minute"),
    ("TREASURY_RATE_LIMITS__AUTH", "5/fortnight"),
    ("TREASURY_RATE_LIMITS__TRANSACTIONS", "many"),
    ("TREASURY_RATE_LIMITS__REDIS_TIMEOUT_MS", "9"),
    ("TREASURY_RATE_LIMITS__BURST", "1/minute"),
    ("TREASURY_WATCH__SLOW_AFTER", "0"),
    ("TREASURY_WATCH__NEVER_REFUSED", "10.0.0.0/8,somewhere"),
    ("TREASURY_LOG_LEVEL", "debug"),
    ("TREASURY_PREFECT_API_AUTH_STRING", PASSWORD),
    ("TREASURY_PREFECT_API_AUTH_STRING", f":{PASSWORD}"),
    ("TREASURY_PREFECT_API_AUTH_STRING", "user:"),
    ("TREASURY_PREFECT_HOSTS", "*"),
    ("TREASURY_PREFECT_HOSTS", "prefect.internal:4200"),
    ("TREASURY_PREFECT_HOSTS", ""),
]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder, and an environment that sets nothing: `tests/conftest.py` has cleared it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("variable", "value"), WRONG)
def test_a_wrong_value_fails_at_start_and_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{variable}: ")
    assert PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__  # the validator's own error, which holds the value, is not printed


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREASURY_LOCK_ATTEMPTS", "0")
    monkeypatch.setenv("TREASURY_PORTS__API", "x")
    with pytest.raises(ConfigError, match=r"TREASURY_PORTS__API: .*; TREASURY_LOCK_ATTEMPTS: "):
        load_settings()


def test_a_policy_out_of_order_is_named_by_variable_table_and_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREASURY_TABLES", '{"vas_transactions": {"policy": {"hot_months": 13}}}')
    with pytest.raises(ConfigError, match=r"^TREASURY_TABLES: vas_transactions\.policy: hot_months < warm_months"):
        load_settings()


def test_an_age_that_is_no_whole_number_is_named_down_to_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREASURY_TABLES", '{"vas_transactions": {"policy": {"hot_months": 2.5}}}')
    with pytest.raises(ConfigError, match=r"^TREASURY_TABLES: vas_transactions\.policy\.hot_months: "):
        load_settings()


def test_a_working_folder_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="the folder that this was started in is gone"):
        load_settings()


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(ConfigError, match="TREASURY_LOCK_ATTEMTPS: "):
        load_settings(lock_attemtps=5)


def test_without_anything_set_the_defaults_hold_and_the_embedded_servers_are_expected() -> None:
    settings = load_settings()
    assert settings.home == Path.cwd() / ".treasury"
    assert (settings.database_url, settings.redis_url, settings.archive_url) == (None, None, None)
    assert set(settings.registry) == {"transactions", "vas_transactions"}
    assert settings.spool == settings.home / "spool"


def test_an_address_that_is_not_known_yet_is_asked_for_by_name() -> None:
    settings = load_settings()
    with pytest.raises(ConfigError, match="TREASURY_DATABASE_URL"):
        _ = settings.database_dsn
    with pytest.raises(ConfigError, match="TREASURY_ARCHIVE_URL"):
        _ = settings.archive_location


def test_settings_are_frozen() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.lock_attempts = 1  # type: ignore[misc]  # the point of the test


def test_one_age_of_a_built_in_table_changes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREASURY_TABLES", '{"transactions": {"policy": {"hot_months": 2}}}')
    settings = load_settings()
    assert settings.table("transactions").policy == TierPolicy(hot_months=2)
    assert settings.table("vas_transactions").policy == TierPolicy()
    assert settings.table("transactions").bloom_columns == ("id", "reference")


def test_a_third_table_is_registered_by_configuration_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"money_columns": ["value"], "currency_column": None, "status_column": None, "cold_sort": ["card_id"]}
    monkeypatch.setenv("TREASURY_TABLES", json.dumps({"card_events": fields}))
    table = load_settings().table("card_events")
    assert (table.hot_parent, table.money_columns) == ("card_events_partitioned", ("value",))


def test_tables_are_chosen_once_each_in_the_order_of_the_registry() -> None:
    settings = load_settings()
    chosen = settings.chosen_tables(["vas_transactions", "transactions", "transactions"])
    assert [table.name for table in chosen] == ["transactions", "vas_transactions"]
    assert settings.chosen_tables([]) == settings.chosen_tables() == list(settings.registry.values())
    with pytest.raises(ConfigError, match="unknown table 'orders'"):
        settings.chosen_tables(["transactions", "orders"])


def test_an_unknown_table_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown table 'cards'; known: transactions, vas_transactions"):
        load_settings().table("cards")


FULL: dict[str, Any] = {
    "home": Path("/tmp/somewhere"),  # noqa: S108  # only a name here
    "database_url": SecretStr(URL),
    "redis_url": SecretStr(f"redis://:{PASSWORD}@127.0.0.1:6379/0"),
    "archive_url": "s3://ledger-archive/prefix",
    "s3_endpoint_url": "http://127.0.0.1:9000",
    "s3_access_key_id": "AKIDEXAMPLE",
    "s3_secret_access_key": SecretStr(PASSWORD),
    "s3_region": "af-south-1",
    "prefect_api_url": "http://127.0.0.1:4200/api",
    "prefect_api_auth_string": SecretStr(f"user:{PASSWORD}"),
    "prefect_hosts": ("prefect.internal",),
    "ports": {"postgres": 1, "redis": 2, "s3": 3, "prefect": 4, "api": 5},
    "tables": {"transactions": {"policy": {"hot_months": 2}}, "events": {"money_columns": ["value"]}},
    "store_timeout_s": 2.5,
    "api_key_pepper": SecretStr(PASSWORD * 2),
    "trusted_proxies": ("10.0.0.0/8", "::1"),
    "rate_limits": {"vas": "600/minute"},
    "watch": {"blocking": False, "never_refused": ["10.0.0.0/8"]},
    "log_level": "DEBUG",
}


def test_a_child_process_loads_the_very_same_settings_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(**FULL)
    environment = settings.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
    assert load_settings().environment() == environment


def test_the_environment_follows_a_change_and_names_the_home_even_when_it_is_the_default() -> None:
    changed = load_settings().model_copy(update={"database_url": SecretStr(URL)})
    assert changed.environment() == {"TREASURY_HOME": str(changed.home), "TREASURY_DATABASE_URL": URL}


def test_credentials_of_the_object_store_come_from_the_standard_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "af-south-1")
    settings = load_settings()
    assert (settings.s3_access_key_id, settings.s3_region) == ("AKIDEXAMPLE", "af-south-1")
    assert settings.s3_secret_access_key == SecretStr(PASSWORD)


def test_no_secret_is_in_the_text_of_the_settings() -> None:
    settings = load_settings(**FULL)
    for text in (str(settings), repr(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert PASSWORD not in text


def _write(folder: Path, text: str | bytes, name: str = "treasury.toml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_toml_file_in_the_working_folder_is_read(elsewhere: Path) -> None:
    _write(elsewhere, "lock_attempts = 5\n[ports]\napi = 9000\n[tables.transactions.policy]\nhot_months = 2\n")
    settings = load_settings()
    assert (settings.lock_attempts, settings.ports.api) == (5, 9000)
    assert settings.table("transactions").policy.hot_months == 2


def test_arguments_come_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Path
) -> None:
    path = _write(elsewhere, "lock_attempts = 5\narchive_workers = 5\narchive_threads = 5\n", "other.toml")
    monkeypatch.setenv("TREASURY_CONFIG", str(path))
    monkeypatch.setenv("TREASURY_ARCHIVE_WORKERS", "6")
    monkeypatch.setenv("TREASURY_ARCHIVE_THREADS", "6")
    settings = load_settings(archive_threads=7)
    assert (settings.lock_attempts, settings.archive_workers, settings.archive_threads) == (5, 6, 7)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lock_attemtps = 5\n", "TREASURY_LOCK_ATTEMTPS"),
        ("[ports]\nmysql = 5\n", "TREASURY_PORTS__MYSQL"),
        ("[tables.events]\ncolour = 'red'\n", "TREASURY_TABLES: events.colour"),
        ("[tables.transactions_daily_totals]\n", "TREASURY_TABLES: transactions_daily_totals.name"),
        ("[tables.events]\n[tables.events_archive_cold]\n", "TREASURY_TABLES: events_archive_cold.name"),
        ("lock_attempts = [", "treasury.toml"),
        (b"\xff", "treasury.toml"),
    ],
)
def test_an_unknown_key_or_a_broken_file_is_refused_by_name(elsewhere: Path, text: str | bytes, named: str) -> None:
    _write(elsewhere, text)
    with pytest.raises(ConfigError, match=f"^{named}: "):
        load_settings()


def test_a_named_file_that_is_absent_is_an_error(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    monkeypatch.setenv("TREASURY_CONFIG", str(elsewhere / "absent.toml"))
    with pytest.raises(ConfigError, match=r"TREASURY_CONFIG: .*absent\.toml is not a file"):
        load_settings()


def test_a_child_process_has_the_thresholds_and_the_targets_of_notices_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREASURY_ALERT_URLS", '{"critical": ["json://user:hunter2@127.0.0.1/"]}')
    monkeypatch.setenv("TREASURY_HEALTH__LOCK_WARNING_S", "5")
    given = load_settings()
    assert "hunter2" not in repr(given)
    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TREASURY_HEALTH__LOCK_WARNING_S")
    found = load_settings()
    assert found.alert_urls == given.alert_urls
    assert found.alert_urls.critical[0].get_secret_value() == "json://user:hunter2@127.0.0.1/"
    assert found.health.lock_warning_s == 5


def test_a_threshold_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREASURY_HEALTH__DISK_WARNING_PERCENT", "1")
    with pytest.raises(ConfigError, match="TREASURY_HEALTH: disk_warning_percent must be reached before"):
        load_settings()


def test_a_mistyped_variable_is_told_with_the_setting_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TREASURY_LOCK_ATTEMTPS", "5")
    monkeypatch.setenv("TREASURY_SERVICE_HOST", "10.0.0.1")  # as Kubernetes sets it
    monkeypatch.setenv("TREASURY_PORTS__API", "9000")
    load_settings()
    told = [record.getMessage() for record in caplog.records]
    assert "TREASURY_LOCK_ATTEMTPS is not a setting and is ignored; did you mean TREASURY_LOCK_ATTEMPTS?" in told
    assert "TREASURY_SERVICE_HOST is not a setting and is ignored" in told
    assert not any("PORTS" in text for text in told)


def test_what_others_read_is_not_taken_for_a_mistake() -> None:
    names = ["TREASURY_CONFIG", "TREASURY_PROJECT", "TREASURY_TEST_PG_BIN", "TREASURY_HOME", "HOME"]
    assert misspelt(names, ["TREASURY_HOME"]) == []


def test_the_api_s_settings_know_of_postgresql_only_its_own_login() -> None:
    own = SecretStr("postgresql://treasury_api:other@127.0.0.1:5432/ledger")
    settings = load_settings(**FULL, api_database_url=own, auditor_database_url=own)
    narrowed = settings.for_api()
    assert narrowed.database_url == own
    assert narrowed.auditor_database_url is None
    assert narrowed.for_api() == narrowed
    assert URL not in narrowed.environment().values()
    assert settings.for_auditor().database_url == own


def _holds_a_secret(kind: Any) -> bool:
    """Whether a value of this type can hold a SecretStr, however deep."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return any(_holds_a_secret(field.annotation) for field in kind.model_fields.values())
    return kind is SecretStr or any(map(_holds_a_secret, get_args(kind)))


def test_every_setting_that_holds_a_secret_says_which_process_gets_it() -> None:
    """A new one reaches no child process by accident: it fails here until somebody has decided."""
    found = {name for name, field in Settings.model_fields.items() if _holds_a_secret(field.annotation)}
    assert found == set(SECRETS)


def test_the_worker_knows_no_key_of_the_api_s_and_the_simulators_know_no_secret() -> None:
    own = {"api_database_url": SecretStr(f"{URL}1"), "auditor_database_url": SecretStr(f"{URL}2")}
    flash = {"flash": {"environment": "sandbox", "consumer_key": "k", "consumer_secret": PASSWORD, "account": "1"}}
    settings = load_settings(**FULL, **own, suppliers=flash)
    work = settings.for_work()
    assert (work.database_url, work.api_database_url, work.auditor_database_url) == (SecretStr(URL), None, None)
    assert work.api_key_pepper is None
    assert settings.for_api().api_key_pepper == FULL["api_key_pepper"]
    assert set(settings.for_simulators().environment()) == {"TREASURY_HOME", "TREASURY_SUPPLIERS"}
    assert PASSWORD not in str(settings.for_simulators().environment())


def test_without_logins_of_their_own_api_and_auditor_have_the_owner_s() -> None:
    settings = load_settings(**FULL)
    assert settings.for_api() == settings.for_auditor() == settings


def test_another_database_of_the_server_is_reached_with_every_login() -> None:
    url = SecretStr("postgresql://u:p@h:5432/one?sslmode=require")
    moved = on_database(load_settings(database_url=url, api_database_url=url), "two")
    assert moved.database_dsn == "postgresql://u:p@h:5432/two?sslmode=require"
    assert (moved.api_database_url, moved.auditor_database_url) == (moved.database_url, None)
