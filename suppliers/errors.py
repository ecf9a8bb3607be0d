"""The errors on the way to a supplier, as branches of the project's one tree of errors."""

from ledger.errors import ConfigError, DataError, TransientError, TreasuryError


class SupplierAwayError(TransientError):
    """It could not be reached, or its circuit is open. Nothing was sent."""


class SupplierBusyError(TransientError):
    """It turned the request away unseen. ``retry_after_s`` when it said for how long."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SupplierFailingError(TransientError):
    """It answered a question with a failure of its own, or not at all. Only questions end so, never purchases."""


class UnknownOutcomeError(TreasuryError):
    """The request was sent and no usable answer came: it may have been carried out. Never retried blindly."""


class DeclinedError(DataError):
    """The supplier refused for good: nothing was carried out, and the same request will be refused again."""


class BadCredentialsError(ConfigError):
    """The supplier does not accept our credentials."""


class WrongAddressError(ConfigError):
    """The server at the configured address is not the supplier's API."""
