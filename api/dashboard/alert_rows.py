"""The way from an alert of the watch over transactions to the rows of its subject. Pure."""

from datetime import timedelta
from urllib.parse import urlencode

from api.dashboard.find import FIND
from api.dashboard.readable_tables import readable
from api.dashboard.search import By
from api.keys.auth import ApiKey
from api.monitoring.alert_page import AlertItem
from ledger.scopes import Scope

_WATCH = "transaction-"
_OF_WALLETS = frozenset({"transaction-in-and-out"})  # the subject of all others is a user
_MANY = "many subjects of "  # so many that the finding names none
_BEFORE = timedelta(days=1)  # what the first finding was about may be of the day before


def rows_of(alert: AlertItem, key: ApiKey) -> str:
    """The address in Find of the rows that an alert is about; empty where it names nobody, or the key may not see."""
    if not alert.rule.startswith(_WATCH) or alert.subject.startswith(_MANY):
        return ""
    if Scope.READ_ALL not in key.scopes or not readable(key):
        return ""
    by = By.WALLET if alert.rule in _OF_WALLETS else By.USER
    first = (alert.first_seen - _BEFORE).date()
    return f"{FIND}?{urlencode({'by': by.value, 'value': alert.subject, 'from': first.isoformat()})}"
