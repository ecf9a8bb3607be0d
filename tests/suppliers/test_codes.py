"""What the suppliers' codes mean, and what follows from each meaning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suppliers.flash import codes as flash
from suppliers.mobilemart import codes as mobilemart
from suppliers.peach import codes as peach
from suppliers.verdicts import PurchaseState, Verdict, state_after_doubt, state_of

FLASH = {
    Verdict.SUCCESS: [0],
    Verdict.RESUBMIT: [2210, 2211, 2331, 2378, 2661, 2771],
    Verdict.RETRY_LATER: [2001, 2225, 2228, 2234, 2247, 2250, 2252, 2254, 2255, 2262, 2266],
    Verdict.BUSY: [2220, 2373, 2377],
    Verdict.OUT_OF_FUNDS: [2003, 2321],
    Verdict.DUPLICATE: [2201, 2248, 2256, 2359, 2372],
    Verdict.DECLINED: [2401, 2402, 2403, 2405, 2273, 2277, 2280, 2282],
    Verdict.INVALID: [2304, 2310, 2311, 2313, 2335, 2337, 2355, 2368],
    Verdict.UNCERTAIN: [2229, 2233, 2253, 2267, 2279, 2404, 9999, -1],
}
PEACH = {
    "000.000.000": Verdict.SUCCESS,
    "000.100.110": Verdict.SUCCESS,
    "000.200.000": Verdict.PENDING,
    "000.200.100": Verdict.PENDING,
    "100.396.101": Verdict.CANCELLED,
    "100.396.104": Verdict.UNCERTAIN,
    "800.100.151": Verdict.DECLINED,
    "800.100.159": Verdict.DECLINED,
    "900.100.300": Verdict.UNCERTAIN,
    "123.456.789": Verdict.UNCERTAIN,
    "": Verdict.UNCERTAIN,
}


@pytest.mark.parametrize("verdict", FLASH)
def test_flash_codes_mean_what_is_published(verdict: Verdict) -> None:
    assert {flash.verdict_of(code) for code in FLASH[verdict]} == {verdict}


@pytest.mark.parametrize("code", PEACH)
def test_peach_codes_mean_what_is_published(code: str) -> None:
    assert peach.verdict_of(code) is PEACH[code]


@pytest.mark.parametrize(
    ("code", "status", "verdict"),
    [
        (1001, 400, Verdict.INVALID),
        (1002, 400, Verdict.DECLINED),
        (1010, 400, Verdict.INVALID),
        (1013, 400, Verdict.INVALID),
        (1016, 400, Verdict.DECLINED),
        (1100, 422, Verdict.DECLINED),
        (1100, 503, Verdict.UNCERTAIN),
        (1104, 400, Verdict.UNCERTAIN),
        (None, 400, Verdict.UNCERTAIN),
    ],
)
def test_mobilemart_codes_mean_what_is_published(code: int | None, status: int, verdict: Verdict) -> None:
    assert mobilemart.verdict_of(code, status) is verdict


@given(st.integers(), st.text(max_size=20), st.integers(100, 599))
def test_a_code_that_nobody_knows_never_ends_a_purchase(code: int, text: str, status: int) -> None:
    if code not in flash.CODES:
        assert state_of(flash.verdict_of(code)) is PurchaseState.UNKNOWN
    if not text.startswith(tuple(peach.CODES)):
        assert state_of(peach.verdict_of(text)) is PurchaseState.UNKNOWN
    if not 1000 <= code < 1104:
        assert state_of(mobilemart.verdict_of(code, status)) is PurchaseState.UNKNOWN


@pytest.mark.parametrize("verdict", Verdict)
def test_in_doubt_only_a_conclusive_answer_counts(verdict: Verdict) -> None:
    alone, in_doubt = state_of(verdict), state_after_doubt(verdict)
    if verdict in (Verdict.SUCCESS, Verdict.DECLINED, Verdict.INVALID):
        assert in_doubt is alone
    else:
        assert in_doubt in (PurchaseState.UNKNOWN, PurchaseState.PENDING)
