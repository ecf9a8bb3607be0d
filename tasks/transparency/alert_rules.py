"""The rules about the public log that raise alerts; how old an unpublished event may be is a health check."""

from config import Settings
from ledger.alerts import Alert, AlertRule, Severity

FORKED = "log-forked"
SET_BACK = "log-set-back"


def log_rules(_: Settings) -> list[AlertRule]:
    """The log in the archive is not the one that PostgreSQL knows."""
    return [
        AlertRule(
            FORKED,
            "The public log in the archive and the one in PostgreSQL are two histories",
            Severity.CRITICAL,
            "the first publication that finds it",
        ),
        AlertRule(
            SET_BACK,
            "The log's checkpoint in the archive was removed, or replaced by an older one or other signatures",
            Severity.CRITICAL,
            "the first publication that finds it",
        ),
    ]


def forked_alert(origin: str, title: str) -> Alert:
    """The alert about a log that goes on in two ways."""
    return Alert(
        FORKED,
        origin,
        Severity.CRITICAL,
        title,
        "Nothing was signed. If this database was restored or set back, run `treasury installation continue`: it takes "
        "the missing entries out of the archive. If it is a copy, run `treasury installation separate`.",
    )


def witnessed_alert(origin: str, title: str) -> Alert:
    """The alert about a witness that remembers another history than this log's."""
    return Alert(
        FORKED,
        origin,
        Severity.CRITICAL,
        title,
        "Compare the checkpoint that the witness serves with the archive's: if the log's key signed both, another "
        "database signs with it. Run `treasury installation show` on each; stop the one that is a copy.",
    )


def set_back_alert(origin: str, content: str, published: int) -> Alert:
    """The alert about a checkpoint that somebody took away, set back or changed. The publication put it there again."""
    return Alert(
        SET_BACK,
        origin,
        Severity.CRITICAL,
        f"the archive had {content} where the checkpoint of {published} entries was published; it was written again",
        "Find out who else writes to the archive: look at its access log and at the versions of the object.",
    )
