"""The currencies of ISO 4217: which there are, how many decimal places each has, and when those that ended were valid.

Sources: active codes and minor units are list one of ISO 4217, published by SIX Group on 2026-01-01 (funds, metals and
testing codes left out). Ended codes are list three. Their months are the months in which the money was legal tender by
the Unicode CLDR 48. They are extended to the month in which list three withdraws the code where that is later. List
three has no minor units: those of ended codes are the ones that the Java platform keeps.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from ledger.errors import FieldError
from ledger.months import Month

# Decimal places other than two: of active codes, and of codes that ended.
_PLACES: Mapping[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
    " ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE TPE TRL",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
_USUAL_PLACES = 2

CURRENCIES = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
    CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG
    HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA
    MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD
    RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX
    USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905  # a list of codes reads as text
)

# First and last month, both included. Nothing before 1970 is kept, so no first month is earlier.
_ENDED = """
    ADP 1970-01 2001-12; AFA 1970-01 2003-01; ANG 1970-01 2025-07; AOK 1977-01 1991-03; AON 1990-09 2000-02;
    AOR 1995-07 2000-02; ARA 1985-06 1992-01; ARL 1970-01 1983-06; ARP 1983-06 1985-06; ATS 1970-01 2002-02;
    AZM 1993-11 2006-12; BAD 1992-07 1994-08; BAN 1994-08 1997-07; BEF 1970-01 2002-02; BGL 1970-01 1999-07;
    BGN 1999-07 2026-01; BOP 1970-01 1986-12; BRB 1970-01 1986-02; BRC 1986-02 1989-01; BRE 1990-03 1993-08;
    BRN 1989-01 1990-03; BRR 1993-08 1994-07; BUK 1970-01 1989-06; BYB 1994-08 2000-12; BYR 2000-01 2017-01;
    CLE 1970-01 1975-09; CSD 2002-05 2006-10; CSK 1970-01 1993-03; CUC 1994-01 2021-06; CYP 1970-01 2008-01;
    DDM 1970-01 1990-10; DEM 1970-01 2002-05; ECS 1970-01 2000-10; EEK 1992-06 2011-01; ESP 1970-01 2002-02;
    FIM 1970-01 2002-02; FRF 1970-01 2002-02; GEK 1993-04 1995-09; GHC 1979-03 2008-01; GNS 1972-10 1986-01;
    GQE 1975-07 1986-06; GRD 1970-01 2002-02; GWE 1970-01 1976-02; GWP 1976-02 1997-03; HRD 1991-12 1995-01;
    HRK 1994-05 2023-01; IEP 1970-01 2002-02; ILP 1970-01 1980-02; ILR 1980-02 1985-09; ISJ 1970-01 1981-01;
    ITL 1970-01 2002-02; LTL 1993-06 2015-01; LTT 1992-10 1993-06; LUF 1970-01 2002-02; LVL 1993-06 2014-01;
    LVR 1992-05 1993-10; MCF 1970-01 2002-02; MDC 1992-06 1993-11; MGF 1970-01 2004-12; MKN 1992-04 1993-05;
    MLF 1970-01 1984-08; MRO 1973-06 2018-06; MTL 1970-01 2008-01; MVP 1970-01 1981-07; MXP 1970-01 1992-12;
    MZE 1975-06 1980-06; MZM 1980-06 2006-12; NIC 1988-02 1991-04; NLG 1970-01 2002-02; PEI 1985-02 1991-07;
    PES 1970-01 1985-02; PLZ 1970-01 1994-12; PTE 1970-01 2002-02; RHD 1970-02 1980-04; ROL 1970-01 2006-12;
    RUR 1991-12 1998-12; SDD 1992-06 2007-07; SDP 1970-01 1998-06; SIT 1992-10 2007-01; SKK 1992-12 2009-01;
    SLL 1970-01 2023-12; SRG 1970-01 2003-12; STD 1977-09 2018-01; SUR 1970-01 1992-10; TJR 1995-05 2000-10;
    TMM 1993-11 2009-01; TPE 1970-01 2002-05; TRL 1970-01 2005-12; UAK 1992-11 1996-09; UGS 1970-01 1987-05;
    UYP 1975-07 1993-03; VEB 1970-01 2008-06; VEF 2008-01 2018-08; VNN 1978-05 1985-09; YDD 1970-01 1996-01;
    YUD 1970-01 1990-01; YUM 1994-01 2003-07; YUN 1990-01 1995-11; YUR 1992-07 1993-10; ZMK 1970-01 2013-01;
    ZRN 1993-11 1998-07; ZRZ 1971-10 1993-11; ZWD 1980-04 2008-08; ZWL 2009-02 2024-09; ZWR 2008-08 2009-06
"""


class Validity(NamedTuple):
    """The months in which a currency that ended was in use, both included."""

    first: Month
    last: Month


def _read_ended(text: str) -> dict[str, Validity]:
    entries = (entry.split() for entry in text.split(";"))
    return {code: Validity(Month.parse(first), Month.parse(last)) for code, first, last in entries}


ENDED_CURRENCIES: Mapping[str, Validity] = _read_ended(_ENDED)
_PLACES_OF: Mapping[str, int] = {code: places for places, codes in _PLACES.items() for code in codes.split()}
# Currencies whose amounts are whole numbers, those that ended among them.
WITHOUT_CENTS = frozenset(code for code, places in _PLACES_OF.items() if places == 0)


def decimal_places(code: str) -> int:
    """The minor units of a currency as decimal places by ISO 4217: 2 for ZAR, 0 for JPY, 3 for KWD."""
    return _PLACES_OF.get(code, _USUAL_PLACES)


def check_currency(field: str, code: str, at: datetime | None = None) -> str:
    """``code`` itself when it is an ISO 4217 currency that is active, or that was in use ``at`` an instant (aware).

    Raises FieldError.
    """
    if code in CURRENCIES:
        return code
    ended = ENDED_CURRENCIES.get(code)
    if ended is None:
        raise FieldError(field, "must be an ISO 4217 currency code in capitals, like ZAR")
    if at is None or not ended.first.lower <= at < ended.last.upper:
        raise FieldError(
            field, f"must be an ISO 4217 currency in use at the time: {code} was so from {ended.first} to {ended.last}"
        )
    return code
