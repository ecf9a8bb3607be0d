"""Flash's response codes and what they mean here. 0 is success; a code that is not in the table is uncertain."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from suppliers.verdicts import Verdict

SUCCESS = 0

_RESUBMIT = (2210, 2211, 2331, 2378, 2661, 2771)
_RETRY_LATER = (2001, *range(2225, 2229), *range(2234, 2248), *range(2250, 2253), 2254, 2255, *range(2262, 2267))
_BUSY = (2220, 2373, 2377)  # the last two: rate exceeded
_OUT_OF_FUNDS = (2003, 2321)
_DUPLICATE = (2201, 2248, 2256, 2359, 2372)  # 2256: the same reference with another body
_VOUCHER = (2401, 2402, 2403, 2405)  # used, unknown, cancelled, expired
_METER = (2304, 2310, 2311, 2313)
_PHONE = (2335, 2337, 2355, 2368)
_REVERSAL = (*range(2273, 2278), *range(2280, 2283))


def _table(*groups: tuple[Verdict, Iterable[int]]) -> Mapping[int, Verdict]:
    return MappingProxyType({code: verdict for verdict, codes in groups for code in codes})


CODES = _table(
    (Verdict.SUCCESS, [SUCCESS]),
    (Verdict.RESUBMIT, _RESUBMIT),
    (Verdict.RETRY_LATER, _RETRY_LATER),
    (Verdict.BUSY, _BUSY),
    (Verdict.OUT_OF_FUNDS, _OUT_OF_FUNDS),
    (Verdict.DUPLICATE, _DUPLICATE),
    (Verdict.DECLINED, (*_VOUCHER, *_REVERSAL)),
    (Verdict.INVALID, (*_METER, *_PHONE)),
)


def verdict_of(code: int) -> Verdict:
    """Return the verdict that ``code`` means."""
    return CODES.get(code, Verdict.UNCERTAIN)
