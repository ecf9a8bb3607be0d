"""The meaning of Voucherly's words. For any other word the outcome stays unknown."""

from collections.abc import Mapping
from types import MappingProxyType

from suppliers.verdicts import Verdict

CODES: Mapping[str, Verdict] = MappingProxyType(
    {"sold": Verdict.SUCCESS, "refused": Verdict.DECLINED, "unknown-product": Verdict.INVALID, "none": Verdict.ABSENT}
)
