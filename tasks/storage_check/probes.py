"""The tries, one function a promise. Each makes canaries of its own, changes nothing else, and says what it found."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from config import Settings
from ledger.counts import counted
from ledger.errors import ConflictError, TreasuryError
from storage.clock import store_ahead_s
from storage.layout import CANARIES
from storage.object_locks import LockMode, ObjectLocks
from storage.storage_classes import COPY_PART_BYTES, StorageClasses
from storage.store_errors import error_code
from tasks.archiving.to_deep import prove_class, wanted_class
from tasks.storage_check.canaries import Canaries
from tasks.storage_check.findings import Finding, PromiseState

_LOCK_S = 8  # the shortest that outlasts the tries; a later run removes what it keeps
_PART_BYTES = 5 << 20  # the least that S3 takes as a part that is not the last
_UNKNOWN = frozenset({"NotImplemented", "501", "MethodNotAllowed", "405", "XNotImplemented"})


@dataclass(frozen=True, slots=True)
class Tried:
    """What a probe needs: the canaries, the settings, whether the bucket has Object Lock, and PostgreSQL's time."""

    canaries: Canaries
    settings: Settings
    has_locks: bool
    database_now: Callable[[], datetime]

    @property
    def locks(self) -> ObjectLocks:
        """The locks of the store."""
        return ObjectLocks(self.settings)

    @property
    def mode(self) -> LockMode:
        """The mode that the settings lock in."""
        return LockMode.COMPLIANCE if self.settings.write_once == "compliance" else LockMode.GOVERNANCE

    @property
    def relies_on_locks(self) -> bool:
        """Whether the settings lock objects here."""
        required = self.settings.write_once in ("governance", "compliance")
        return required or (self.settings.write_once == "offered" and self.has_locks)


def reading(tried: Tried) -> Finding:
    """What was written is read back, at once."""
    content = hashlib.sha256(tried.canaries.folder.encode()).digest()
    key = tried.canaries.put("reading", content)
    is_same = tried.canaries.store.read_bytes(key) == content
    result = "the same bytes" if is_same else "other bytes than were written"
    follows = "the archive can be used" if is_same else "nothing may be archived here"
    return Finding("an object is read as it was written", _verdict(is_same), result, follows, relied_on=True)


def listing(tried: Tried) -> Finding:
    """A new object is in the list at once, and a deleted one is not."""
    key = tried.canaries.put("listing")
    is_listed = key in tried.canaries.store.keys(tried.canaries.folder)
    tried.canaries.store.remove(key)
    is_gone = key not in tried.canaries.store.keys(tried.canaries.folder)
    holds = is_listed and is_gone
    result = f"after the write {'listed' if is_listed else 'missing'}, then {'absent' if is_gone else 'still listed'}"
    follows = "verification sees what is there" if holds else "verification and deletion would report what is not so"
    return Finding("a list shows what was just written and deleted", _verdict(holds), result, follows, relied_on=True)


def deleting(tried: Tried) -> Finding:
    """An object that is deleted with all its versions is gone."""
    key = tried.canaries.put("deleting")
    tried.canaries.versions.remove(key)
    is_gone = not tried.canaries.store.exists(key)
    result = "absent" if is_gone else "still there"
    follows = "a deletion ends with its certificate" if is_gone else "no deletion gets a certificate"
    return Finding("an object whose versions are deleted is gone", _verdict(is_gone), result, follows, relied_on=True)


def replacing(tried: Tried) -> Finding:
    """Treasury itself never replaces an object that is there."""
    key = tried.canaries.put("replacing", b"first")
    try:
        tried.canaries.store.put_bytes(b"second", key)
    except ConflictError:
        is_kept = tried.canaries.store.read_bytes(key) == b"first"
    else:
        is_kept = False
    result = "refused" if is_kept else "replaced"
    follows = "keys are used once" if is_kept else "an object could be replaced by a second run"
    return Finding("Treasury does not replace an object", _verdict(is_kept), result, follows, relied_on=True)


def condition(tried: Tried) -> Finding:
    """``If-None-Match: *``: the store itself refuses to replace an object."""
    key = tried.canaries.put("condition", b"first")
    code = tried.canaries.refused("put_object", **tried.canaries.place(key), Body=b"second", IfNoneMatch="*")
    content = tried.canaries.store.read_bytes(key)
    promise = "a conditional put (If-None-Match: *) replaces nothing"
    unguarded = "Treasury asks before it writes; two writers at once are not kept apart"
    if code in _UNKNOWN:
        return Finding(promise, PromiseState.ABSENT, code, unguarded)
    if code and content == b"first":
        guarded = "two writers at once cannot replace each other's object"
        return Finding(promise, PromiseState.HOLDS, f"refused: {code}", guarded)
    return Finding(promise, PromiseState.BROKEN, "replaced", unguarded)


def versioning(tried: Tried) -> Finding:
    """A replaced object, and one deleted without a version, keep their former versions."""
    promise = "a replaced or deleted object keeps its former version"
    try:
        state = str(tried.canaries.call("get_bucket_versioning", Bucket=_bucket(tried)).get("Status") or "off")
    except TreasuryError as error:
        state = f"cannot be asked: {error}"
    key = tried.canaries.put("versioning", b"first")
    tried.canaries.store.replace_bytes(b"second", key)
    tried.canaries.store.remove(key)
    kept = [version for version in tried.canaries.versions.versions(key) if not version.is_marker]
    if len(kept) == 2:
        follows = "what somebody replaces or deletes can be brought back; a deletion removes every version"
        return Finding(promise, PromiseState.HOLDS, f"versioning {state}: 2 versions kept", follows)
    follows = "what somebody replaces or deletes is lost: turn versioning on, or copy the bucket elsewhere"
    verdict = PromiseState.BROKEN if state == "Enabled" else PromiseState.ABSENT
    return Finding(promise, verdict, f"versioning {state}: {len(kept)} versions kept", follows)


def retention(tried: Tried) -> Iterator[Finding]:
    """A version under a retention is not deleted, and the retention is not shortened or bypassed."""
    if not tried.has_locks:
        yield from _unlocked(tried)
        return
    canaries, until = tried.canaries, tried.canaries.soon(_LOCK_S)
    key = canaries.put("retention")
    version = canaries.versions.versions(key)[0].version
    tried.locks.retain(key, version, tried.mode, until)
    locked = _Locked(key, version, until, canaries.place(key) | {"VersionId": version})
    yield _shortening(tried, locked)
    yield _deleting_locked(tried, locked)
    yield _bypassing(tried, locked)


_KEPT = "a locked version cannot be deleted"
_SHORT = "a retention cannot be shortened"
_BYPASSED = "this login cannot bypass a retention"


@dataclass(frozen=True, slots=True)
class _Locked:
    """A canary under a retention. ``named`` are the parameters of S3 that name its version."""

    key: str
    version: str
    until: datetime
    named: dict[str, str]


def _unlocked(tried: Tried) -> Iterator[Finding]:
    follows = "nothing in the store keeps objects: anybody with the credentials can delete them"
    for promise in (_KEPT, _SHORT, _BYPASSED):
        is_relied_on = tried.relies_on_locks and promise != _BYPASSED
        yield Finding(promise, PromiseState.ABSENT, "the bucket has no Object Lock", follows, relied_on=is_relied_on)


def _sooner(tried: Tried) -> dict[str, Any]:
    return {"Mode": str(tried.mode), "RetainUntilDate": tried.canaries.soon(_LOCK_S / 2)}


def _shortening(tried: Tried, locked: _Locked) -> Finding:
    code = tried.canaries.refused("put_object_retention", **locked.named, Retention=_sooner(tried))
    is_kept = bool(code) and _is_locked(tried, locked.key, locked.version, locked.until)
    follows = "a policy that is made shorter does not reach locked objects" if is_kept else "a lock promises nothing"
    return Finding(_SHORT, _verdict(is_kept), _said(code, "shortened"), follows, relied_on=tried.relies_on_locks)


def _deleting_locked(tried: Tried, locked: _Locked) -> Finding:
    code = tried.canaries.refused("delete_object", **locked.named)
    is_there = any(version.version == locked.version for version in tried.canaries.versions.versions(locked.key))
    follows = "archived objects stay until their date" if is_there else "nothing keeps archived objects"
    return Finding(_KEPT, _verdict(is_there), _said(code, "deleted"), follows, relied_on=tried.relies_on_locks)


def _bypassing(tried: Tried, locked: _Locked) -> Finding:
    bypass = {"Retention": _sooner(tried), "BypassGovernanceRetention": True}
    code = tried.canaries.refused("put_object_retention", **locked.named, **bypass)
    is_strict = bool(code) and _is_locked(tried, locked.key, locked.version, locked.until)
    advice = "take s3:BypassGovernanceRetention from this login, or set TREASURY_WRITE_ONCE=compliance"
    follows = "nobody with this login shortens a lock" if is_strict else advice
    result, is_relied_on = f"{tried.mode}: {_said(code, 'bypassed')}", tried.settings.write_once == "compliance"
    return Finding(_BYPASSED, _verdict(is_strict), result, follows, relied_on=is_relied_on)


def _is_locked(tried: Tried, key: str, version: str, until: datetime) -> bool:
    versions = [
        stored_version for stored_version in tried.canaries.versions.versions(key) if stored_version.version == version
    ]
    wanted = until.replace(microsecond=0)
    return bool(versions) and versions[0].locked_until is not None and versions[0].locked_until >= wanted


def legal_hold(tried: Tried) -> Finding:
    """A version under a legal hold is not deleted until the hold is taken off."""
    promise = "a version under a legal hold cannot be deleted"
    if not tried.has_locks:
        follows = "legal holds are kept by Treasury alone: anybody with the credentials can delete held objects"
        return Finding(promise, PromiseState.ABSENT, "the bucket has no Object Lock", follows, tried.relies_on_locks)
    canaries = tried.canaries
    key = canaries.put("hold")
    version = canaries.versions.versions(key)[0].version
    tried.locks.hold(key, version, on=True)
    code = canaries.refused("delete_object", **canaries.place(key), VersionId=version)
    is_there = any(stored_version.version == version for stored_version in canaries.versions.versions(key))
    if is_there:
        tried.locks.hold(key, version, on=False)
    follows = "a legal hold of Treasury is one of the store too" if is_there else "the store does not keep what is held"
    return Finding(promise, _verdict(is_there), _said(code, "deleted"), follows, relied_on=tried.relies_on_locks)


def checksum(tried: Tried) -> Finding:
    """A put whose SHA-256 is not that of its content is refused."""
    key = f"{tried.canaries.folder}/checksum"
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    code = tried.canaries.refused("put_object", **tried.canaries.place(key), Body=b"content", ChecksumSHA256=wrong)
    promise = "a put with a wrong x-amz-checksum-sha256 is refused"
    follows = "Treasury reads every object back and compares its SHA-256 in any case"
    if code in _UNKNOWN:
        return Finding(promise, PromiseState.ABSENT, code, follows)
    is_absent = bool(code) and not tried.canaries.store.exists(key)
    return Finding(promise, _verdict(is_absent), _said(code, "stored"), follows)


def multipart(tried: Tried) -> Finding:
    """An upload in parts is whole, and one that did not end is listed and can be aborted."""
    canaries = tried.canaries
    named = canaries.place(f"{canaries.folder}/multipart")
    promise = "an upload in parts is whole, and an unfinished one can be removed"
    upload = named | {"UploadId": canaries.call("create_multipart_upload", **named)["UploadId"]}
    first = canaries.call("upload_part", **upload, PartNumber=1, Body=b"a" * _PART_BYTES)
    listed = canaries.call("list_multipart_uploads", Bucket=named["Bucket"], Prefix=named["Key"])
    is_listed = any(listed_upload["UploadId"] == upload["UploadId"] for listed_upload in listed.get("Uploads", ()))
    second = canaries.call("upload_part", **upload, PartNumber=2, Body=b"b")
    parts = [{"PartNumber": number, "ETag": part["ETag"]} for number, part in enumerate((first, second), 1)]
    canaries.call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
    size = canaries.call("head_object", **named)["ContentLength"]
    holds = size == _PART_BYTES + 1 and is_listed
    result = f"{size} of {_PART_BYTES + 1} bytes; while it was under way {'listed' if is_listed else 'not listed'}"
    follows = "large months can be archived" if size == _PART_BYTES + 1 else "months above 32 MB cannot be archived"
    if not is_listed:
        follows += "; parts of killed uploads stay and are billed: give the bucket a rule that aborts them"
    return Finding(promise, _verdict(holds), result, follows, relied_on=size != _PART_BYTES + 1)


def clock(tried: Tried) -> Iterator[Finding]:
    """The clocks of the store, of this machine and of PostgreSQL are the same."""
    tolerance_s = tried.settings.clock_tolerance_s
    follows = "locks end, and objects are dated, by the clock that everything else goes by"
    wrong = "locks end at another time than PostgreSQL and the certificates say: correct the clock that is wrong"
    own = datetime.now(UTC)
    database_s = (tried.database_now() - own).total_seconds()
    holds = abs(database_s) <= tolerance_s
    promise = "PostgreSQL's clock is this machine's"
    yield Finding(promise, _verdict(holds), f"{database_s:+.1f} s", follows if holds else wrong, relied_on=True)
    promise = "the store's clock is PostgreSQL's"
    if tried.canaries.store.is_folder:
        yield Finding(promise, PromiseState.ABSENT, "a folder has this machine's clock", follows)
        return
    store_s = store_offset_s(tried.canaries)
    if store_s is None:
        yield Finding(promise, PromiseState.ABSENT, "the store's answers have no Date", "its clock is not known")
        return
    difference_s = store_s - database_s
    holds = abs(difference_s) <= tolerance_s
    result = f"{difference_s:+.1f} s; from this machine's {store_s:+.1f} s"
    yield Finding(promise, _verdict(holds), result, follows if holds else wrong, relied_on=True)


def store_offset_s(canaries: Canaries) -> float | None:
    """How many seconds the store's clock is ahead of this machine's, at least; None where it says no time."""
    return store_ahead_s(canaries.store, canaries.put(f"clock-{time.monotonic_ns()}"))


def storage_class(tried: Tried) -> Iterator[Finding]:
    """An object goes into the storage class of the settings, stays whole there, and comes back."""
    promise, back = "an object can go into the deep storage class", "a deep object can be restored"
    wanted = wanted_class(tried.settings)
    if wanted is None:
        follows = "deep months are recorded, and their objects stay as they are"
        for promise_text in (promise, back):
            yield Finding(promise_text, PromiseState.UNTRIED, "TREASURY_DEEP_STORAGE_CLASS is not set", follows)
        return
    try:
        prove_class(tried.settings, wanted)
    except TreasuryError as error:
        yield Finding(promise, PromiseState.BROKEN, str(error), "no month goes deep", relied_on=True)
        yield Finding(back, PromiseState.UNTRIED, "no object is there", "no month goes deep")
        return
    yield Finding(
        promise, PromiseState.HOLDS, f"{wanted}, with the same bytes by the store's checksum", "months go deep"
    )
    yield _restoring(tried, wanted, back)


def _restoring(tried: Tried, wanted: str, promise: str) -> Finding:
    canaries, classes = tried.canaries, StorageClasses(tried.settings)
    key = canaries.put("deep")
    before = classes.state(key)
    classes.copy(key, before.version, before.etag, wanted, COPY_PART_BYTES)
    if canaries.store.is_readable(key):
        return Finding(
            promise, PromiseState.HOLDS, f"objects in {wanted} are readable at once", "nothing is to be restored"
        )
    try:
        classes.restore(key, 1, "Standard")
    except TreasuryError as error:
        follows = "deep months cannot be read here: choose a class that can be restored"
        return Finding(promise, PromiseState.BROKEN, str(error), follows, relied_on=True)
    state = classes.state(key)
    result = "restored" if state.readable_until else "being restored" if state.restoring else "accepted"
    return Finding(
        promise, PromiseState.HOLDS, result, "`treasury restore-request` makes deep months readable", relied_on=True
    )


_AT_ONCE = frozenset({"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"})
_NO_RULES = frozenset({"NoSuchLifecycleConfiguration"})


def lifecycle(tried: Tried) -> Finding:
    """No rule of the bucket moves metadata or the log into a class that must be restored first, or expires anything."""
    promise, bucket = "no lifecycle rule moves or expires what must stay", _bucket(tried)
    try:
        rules = tried.canaries.store.call("get_bucket_lifecycle_configuration", Bucket=bucket).get("Rules", ())
    except Exception as error:
        code = error_code(error)
        if not code:
            raise
        if code not in _NO_RULES:
            return Finding(promise, PromiseState.UNTRIED, code, "look at the rules of the bucket in its console")
        rules = ()
    wrong = [said for rule in rules if rule.get("Status") == "Enabled" for said in _breaks(tried, rule)]
    harmful = (
        "what it moves cannot be verified, and what it expires is lost: limit it to a folder of rows, or remove it"
    )
    follows = harmful if wrong else "what must be readable stays readable"
    result = "; ".join(wrong) or counted(len(rules), "rule")
    return Finding(promise, _verdict(not wrong), result, follows, relied_on=bool(wrong))


def _breaks(tried: Tried, rule: Mapping[str, Any]) -> Iterator[str]:
    """What a rule does that it must not, in words. Objects of the archive have no tags."""
    place = tried.canaries.store.place
    chosen = rule.get("Filter", {})
    both = chosen.get("And", {})
    prefix = str(chosen.get("Prefix") or both.get("Prefix") or rule.get("Prefix") or "")
    if "Tag" in chosen or "Tags" in both or prefix.startswith(place(CANARIES)[1]):
        return
    named, root = f"the rule {rule.get('ID', '')!r}", place("")[1]
    classes = {transition.get("StorageClass") for transition in rule.get("Transitions", ())} - _AT_ONCE
    for folder in ("_treasury/", "log/"):
        kept = place(folder)[1]
        if classes and (kept.startswith(prefix) or prefix.startswith(kept)):
            yield f"{named} moves {folder} to {', '.join(sorted(classes))}"
    expires = {"Days", "Date"} & rule.get("Expiration", {}).keys()
    if expires and root.startswith(prefix):
        yield f"{named} expires the whole archive"
    elif expires and prefix.startswith(root):
        yield f"{named} expires {prefix.removeprefix(root)}"


def _bucket(tried: Tried) -> str:
    return tried.canaries.store.place("")[0]


def _verdict(holds: bool) -> PromiseState:
    return PromiseState.HOLDS if holds else PromiseState.BROKEN


def _said(code: str, otherwise: str) -> str:
    return f"refused: {code}" if code else otherwise


COMMON: tuple[tuple[str, Callable[[Tried], Finding | Iterator[Finding]]], ...] = (
    ("an object is read as it was written", reading),
    ("a list shows what was just written and deleted", listing),
    ("an object whose versions are deleted is gone", deleting),
    ("Treasury does not replace an object", replacing),
    ("the clocks are the same", clock),
)
OF_BUCKETS: tuple[tuple[str, Callable[[Tried], Finding | Iterator[Finding]]], ...] = (
    ("a conditional put (If-None-Match: *) replaces nothing", condition),
    ("a replaced or deleted object keeps its former version", versioning),
    ("a locked version cannot be deleted", retention),
    ("a version under a legal hold cannot be deleted", legal_hold),
    ("a put with a wrong x-amz-checksum-sha256 is refused", checksum),
    ("an upload in parts is whole, and an unfinished one can be removed", multipart),
    ("an object can go into the deep storage class", storage_class),
    ("no lifecycle rule moves or expires what must stay", lifecycle),
)
