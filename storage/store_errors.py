"""The errors of an object store, as the project's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from ledger.errors import ConfigError, DataError, DeepTierError, TransientError
from storage.unreadable import unreadable_text

_DENIED = frozenset({"403", "401", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket"})
_TAKEN = frozenset({"PreconditionFailed", "412"})
# No upload in parts was ever begun (the embedded server), or the server has none.
_NO_UPLOADS = frozenset({"NoSuchUpload", "NotImplemented", "501", "MethodNotAllowed", "405"})
_MUST_BE_RESTORED = frozenset({"InvalidObjectState"})
_UNKNOWN_CONDITION = frozenset({"NotImplemented", "501"})


def _bucket_is_missing(error: FileNotFoundError) -> bool:
    return _is_code(error, frozenset({"NoSuchBucket"}))


def _is_code(error: OSError, codes: frozenset[str]) -> bool:
    """Whether the store itself answered with one of ``codes``."""
    return error_code(error) in codes


def error_code(error: BaseException) -> str:
    """The code with which the store itself answered, by an error that came of it; empty where it did not."""
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # noqa: PLC0415  # see `_client_errors`

    cause = error if isinstance(error, ClientError) else error.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, ClientError) else ""


@contextmanager
def translated(action: str, key: str = "") -> Iterator[None]:
    """The project's errors for those of s3fs, botocore and the file system. ``key`` is the object that is read."""
    try:
        yield
    except FileNotFoundError as error:
        if _bucket_is_missing(error):
            raise ConfigError(
                f"object store: cannot {action}: TREASURY_ARCHIVE_URL names no bucket that is there"
            ) from error
        raise DataError(f"object store: cannot {action}: it is not there: {error}") from error
    except PermissionError as error:
        if key and _is_code(error, _MUST_BE_RESTORED):
            raise DeepTierError(unreadable_text([key])) from error
        raise ConfigError(f"object store: not allowed to {action}: {error}") from error
    except _client_errors() as error:
        code = "" if isinstance(error, OSError) else error_code(error)
        kind = ConfigError if code in _DENIED else TransientError
        raise kind(f"object store: cannot {action}: {code or str(error) or type(error).__name__}") from error


def _client_errors() -> tuple[type[Exception], ...]:
    """The errors of the store's clients. Their packages take longer to import than most commands run, and are imported
    when an error must be judged: a client that raised one has imported them.
    """
    from aiohttp import ClientError as AiohttpError  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    return (ClientError, OSError, BotoCoreError, AiohttpError)
