"""Keys of the API: what a rotation keeps, and which keys have one."""

from datetime import UTC, datetime, timedelta

import pytest

from config import Settings
from ledger.errors import ConfigError
from ledger.identifiers import truncate_ms
from ledger.scopes import Scope
from tasks.admin.keys import create_key, list_keys, revoke_key, rotate_key


def test_a_rotation_keeps_client_scopes_limits_and_length_of_life(settings: Settings) -> None:
    until = truncate_ms(datetime.now(UTC) + timedelta(days=30))
    old = create_key(settings, "acme", [Scope.VAS_READ], until, {"vas": "5/second"}).split("_")[1]
    rotate_key(settings, old, timedelta(days=60))

    first, second = list_keys(settings)
    assert (second.client_id, second.scopes, second.limits) == (first.client_id, first.scopes, first.limits)
    assert first.expires_at == until  # the grace makes nothing last longer
    assert second.expires_at is not None
    assert abs(second.expires_at - until) < timedelta(minutes=1)


def test_a_key_that_expired_or_was_revoked_cannot_be_rotated(settings: Settings) -> None:
    gone = create_key(settings, "acme", [Scope.OPERATIONS]).split("_")[1]
    assert revoke_key(settings, gone)
    spent = create_key(settings, "acme", [Scope.OPERATIONS]).split("_")[1]
    rotate_key(settings, spent, timedelta(0))
    for key_id in (gone, spent):
        with pytest.raises(ConfigError, match="does not exist, or is expired or revoked"):
            rotate_key(settings, key_id, timedelta(hours=1))
