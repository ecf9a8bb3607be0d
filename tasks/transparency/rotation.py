"""The rotation of the log's keys: an event that names the old and the new ones, signed by both where both are there."""

from config import Settings
from ledger.errors import ConfigError
from sql.connection import connect
from sql.installation import read_installation
from sql.log import log_lock, plan_entries, read_log
from tasks.archiving.ownership import check_ownership
from tasks.transparency.keys import next_signers
from tasks.transparency.publish import OnStep, publish_log


def rotate_keys(settings: Settings, on_step: OnStep = lambda _: None) -> tuple[str, ...]:
    """Sign the log with new keys from now on; returns their texts.

    Key files are made; keys in the environment and behind commands are the ones that the settings name now. The old
    public keys stay valid for what they signed. Killed on the way, the next publication completes it. Raises
    ConfigError where there is no log yet or nothing would change, and what `publish_log` raises.
    """
    with connect(settings.database_dsn, "log") as connection, log_lock(connection):
        installation = read_installation(connection)
        row = read_log(connection, installation.installation_id) if installation else None
        if row is None or not row.keys:
            raise ConfigError("there is no public log yet, so it has no keys to rotate")
        owner = check_ownership(connection, settings)
        texts = tuple(signer.key.text for signer in next_signers(settings, row.origin, row.keys))
        on_step("made new keys")
        plan_entries(connection, owner, texts)
        on_step("rotated")
    publish_log(settings, on_step)
    return texts
