"""The one tree of errors. Retry conditions, HTTP statuses and exit codes are read from it, nowhere else."""

from collections.abc import Sequence

from ledger.card_finder import mask_card_numbers
from ledger.masking import mask_keys


def _masked(text: str) -> str:
    return mask_keys(mask_card_numbers(text))


class TreasuryError(Exception):
    """Anything this project raises on purpose. ``exit_code`` is what the `treasury` command ends with.

    Its texts go to logs, alerts, problem documents, Prefect and terminals, and may quote a value, a column or a name of
    a file. Card numbers and API keys in them are masked here, once for all of those.
    """

    exit_code = 1

    def __init__(self, *texts: object) -> None:
        super().__init__(*(_masked(text) if isinstance(text, str) else text for text in texts))


class TransientError(TreasuryError):
    """It may work if tried again: a lock not granted in time, a server away, a store that does not answer."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


class LateRowsError(TransientError):
    """Rows waited longer for their storing than the feed of new rows allows (`sql.errors`). Nothing was stored."""


class DataError(TreasuryError):
    """The data is not what it must be: stop this piece of work, report it, do not try again."""

    exit_code = 65  # EX_DATAERR


class ConfigError(TreasuryError):
    """A setting or a parameter is wrong: fail before anything moves, naming it."""

    exit_code = 78  # EX_CONFIG


class NotFoundError(ConfigError):
    """A parameter names something that is not there: a run, a break, a key, the file of a day."""

    exit_code = 66  # EX_NOINPUT


class GoneError(NotFoundError):
    """What is asked for was deleted at the end of its retention. The text names the certificate; clients may see it."""


class ConflictError(TreasuryError):
    """It is already done, or someone else is doing it."""

    exit_code = 69  # EX_UNAVAILABLE


class RefusalError(ConflictError):
    """A conflict whose text is for whoever asked, a client of the API too. It names what is in the way, in this
    project's own words. What PostgreSQL says of a conflict is never one of these (`sql.errors`).
    """


class OwnershipError(RefusalError):
    """This database may not write to the archive: the archive belongs to another one, or may do so. Nothing was changed
    there. The text says what was found and which `treasury installation` command settles it.
    """


class ForkError(OwnershipError):
    """The public log in the archive and the one in PostgreSQL are two histories, or it is longer than PostgreSQL knows.
    Nothing was signed. The text names both and the command that settles it.
    """


class ClosedDayError(ConflictError):
    """A change of a row whose day is in a closed period of reconciliation, refused by PostgreSQL (`sql.errors`)."""


class ClockError(ConfigError, TransientError):
    """The clock of this machine is not PostgreSQL's: nothing may be stored or archived until it is corrected."""

    exit_code = ConfigError.exit_code


class ReadOnlyError(ConfigError, TransientError):
    """The database takes no writes: it is a standby, or it is set so, as managed services do when a disk is full."""

    exit_code = ConfigError.exit_code


class NotYetError(DataError):
    """What is asked for will be there later; the text says when. It names no row, so every client may see it."""


class DeepTierError(NotYetError):
    """Rows are in a storage class that must be restored before it is read. The text names the months and the command;
    nothing was answered without them.
    """


class MissingRowsError(DataError):
    """Rows are not where the catalogue of months says that they are: an answer without them would look whole."""


class FieldError(DataError):
    """One value of a row breaks a rule. ``field`` is the column's public name, ``rule`` what it must be."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = _masked(field)  # a client may have made it up
        self.rule = _masked(rule)


class EncodingError(DataError):
    """A text has a character that the encoding of the database does not have: nothing of the statement was done."""


class NotStoredError(DataError):
    """PostgreSQL stored fewer rows than were sent, or other ones. None of them may be acknowledged."""


class VerificationError(DataError):
    """A copy is not what it is a copy of, or a proof does not prove what it says. Nothing may be dropped."""


def combined(problems: Sequence[Exception], text: str | None = None) -> TreasuryError:
    """One error for all of ``problems``, of their common kind if they have one, else a DataError.

    So what failed only because servers were away ends as transient, and because settings were wrong as that.
    """
    message = text or "; ".join(str(problem) for problem in problems)
    for kind in (TransientError, ConfigError, ConflictError):
        if all(isinstance(problem, kind) for problem in problems):
            return kind(message)
    return DataError(message)
