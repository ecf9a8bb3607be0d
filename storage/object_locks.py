"""S3 Object Lock: whether the bucket has it, the retention of a version, and its legal hold.

A version under a retention cannot be deleted until its end. In the mode GOVERNANCE a login with a permission of its own
can bypass that, in COMPLIANCE nobody can. A legal hold has no end, and is taken off by whoever may.
"""

from datetime import UTC, datetime
from enum import StrEnum

from config import Settings
from ledger.errors import ConfigError
from storage.store import ObjectStore
from storage.store_errors import error_code, translated

_NONE = frozenset(
    {
        "ObjectLockConfigurationNotFoundError",
        "NotImplemented",
        "501",
        "XNotImplemented",
        "MethodNotAllowed",
        "405",
        "404",
        "NoSuchKey",
        "NoSuchObjectLockConfiguration",
    }
)


class LockMode(StrEnum):
    """The mode of a retention, the weaker one first."""

    GOVERNANCE = "GOVERNANCE"
    COMPLIANCE = "COMPLIANCE"

    @classmethod
    def stronger(cls, mode: str, other: str) -> "LockMode":
        """The stronger of two modes; an empty text is none."""
        return cls.COMPLIANCE if cls.COMPLIANCE in (mode, other) else cls.GOVERNANCE


class ObjectLocks:
    """The locks of the archive's objects. Every call asks the store afresh."""

    def __init__(self, settings: Settings) -> None:
        self._store = ObjectStore(settings)

    def are_offered(self) -> bool:
        """Whether the bucket has Object Lock. A folder has none.

        Raises ConfigError where the login may not ask: what it may not see, it must not take for absent.
        """
        if self._store.is_folder:
            return False
        bucket, _ = self._store.place("")
        try:
            with translated(f"read the Object Lock configuration of the bucket {bucket}"):
                answer = self._store.call("get_object_lock_configuration", Bucket=bucket)
        except ConfigError as error:
            if _is_none(error):
                return False
            raise ConfigError(
                f"{error}. Allow s3:GetBucketObjectLockConfiguration, or set TREASURY_WRITE_ONCE=off for a bucket "
                "without Object Lock"
            ) from error
        except Exception as error:
            if _is_none(error):
                return False
            raise
        return (answer.get("ObjectLockConfiguration") or {}).get("ObjectLockEnabled") == "Enabled"

    def retain(self, key: str, version: str, mode: LockMode, until: datetime) -> None:
        """Keep a version until an aware instant. The store refuses to shorten a retention. Safe to run again."""
        bucket, rest = self._store.place(key)
        retention = {"Mode": str(mode), "RetainUntilDate": until.astimezone(UTC)}
        with translated(f"lock version {version} of {key}"):
            self._store.call("put_object_retention", Bucket=bucket, Key=rest, VersionId=version, Retention=retention)

    def hold(self, key: str, version: str, *, on: bool) -> None:
        """Place the store's legal hold on a version, or take it off. Safe to run again."""
        bucket, rest = self._store.place(key)
        status = {"Status": "ON" if on else "OFF"}
        with translated(f"{'place' if on else 'take off'} the legal hold of version {version} of {key}"):
            self._store.call("put_object_legal_hold", Bucket=bucket, Key=rest, VersionId=version, LegalHold=status)


def _is_none(error: BaseException) -> bool:
    """Whether the store answered that the bucket has no Object Lock, or that it does not know what that is."""
    cause = error.__cause__
    return cause is not None and (error_code(cause) in _NONE or error_code(error) in _NONE)
