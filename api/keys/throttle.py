"""Authentication under the policy `auth`: a sender that fails too often is refused before the key is looked up.

Failures are counted twice. By address and key id: an application with an expired key that goes on trying stops itself
and nobody else. By address, once for each key id. A sender that tries many keys stops every key at that address that
this process has not seen succeed.
"""

from collections import OrderedDict

from api.abuse.rate_limits import RateLimiter, RatePolicy
from api.abuse.watch import Sender, Watch
from api.keys.auth import ApiKey, Authenticator, split
from api.routing.problems import UNAUTHORIZED, HttpError
from tasks.admin.keys import PREFIX

_MOST_REMEMBERED = 10_000
_LONGEST_KEY_ID = 16


class KeyThrottle:
    """Authenticates API keys for one process, and throttles failed attempts."""

    def __init__(self, authenticator: Authenticator, limiter: RateLimiter, watch: Watch) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._watch = watch
        self._accepted: OrderedDict[str, None] = OrderedDict()

    async def authenticate(self, header: str | None, sender: Sender) -> ApiKey:
        """The key that ``header`` carries. Raises a 401 problem, or a 429 one after too many of those."""
        key_id, address = _key_id(header), sender.address
        pair = f"{address} {key_id}"
        if key_id not in self._accepted:
            verdict = self._limiter.look(RatePolicy.AUTH, pair) or self._limiter.look(RatePolicy.AUTH, address)
            if verdict is not None:
                self._watch.refused_key(key_id, sender)
                raise verdict.refusal()
        try:
            key = await self._authenticator.authenticate(header)
        except HttpError as error:
            if error.kind is UNAUTHORIZED:
                self._watch.refused_key(key_id, sender)
                await self._count(pair, address)
            raise
        self._remember(key_id)
        return key

    def known(self, header: str) -> ApiKey | None:
        """The key that ``header`` carries, if it was accepted before and needs no look-up. Counts nothing."""
        try:
            key_id, secret = split(header)
        except HttpError:
            return None
        key = self._authenticator.remembered(key_id, secret) if key_id in self._accepted else None
        if key is not None:
            self._remember(key_id)
        return key

    async def _count(self, pair: str, address: str) -> None:
        """Raises a 429 problem in place of the 401 when the pair or the address has failed too often."""
        verdict = await self._limiter.spend(RatePolicy.AUTH, pair)
        if verdict is None:
            return
        verdict.require()
        if verdict.remaining >= verdict.limit.amount - 1:  # the first failure of this key at this address
            (await self._limiter.spend(RatePolicy.AUTH, address) or verdict).require()

    def _remember(self, key_id: str) -> None:
        self._accepted[key_id] = None
        self._accepted.move_to_end(key_id)
        if len(self._accepted) > _MOST_REMEMBERED:
            self._accepted.popitem(last=False)


def _key_id(header: str | None) -> str:
    """The key id that a header claims to carry, not checked; "" for none that could be one."""
    parts = (header or "").rpartition(" ")[2].split("_", 2)
    if len(parts) != 3 or parts[0] != PREFIX or len(parts[1]) > _LONGEST_KEY_ID:
        return ""
    return parts[1] if parts[1].isascii() and parts[1].isalnum() else ""
