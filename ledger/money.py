"""Money: exact decimals of at most two places, and ISO 4217 currencies. No float ever becomes money."""

import re
from decimal import Context, Decimal, Inexact

from ledger.errors import FieldError

AMOUNT = re.compile(r"-?\d{1,16}(?:\.\d{1,2})?\Z", re.ASCII)
AMOUNT_RULE = "must be a decimal string with at most 16 digits before the point and 2 after it"
CENT = Decimal("0.01")
# Python rounds to 28 digits unless told otherwise. PostgreSQL's numeric has at most 131,072 digits before the point and
# 16,383 after it; a result that does not fit raises an error and is never rounded.
_EXACT = Context(prec=200_000, traps=[Inexact])

# ISO 4217 list one, active alphabetic codes of currencies (funds, metals and testing codes left out).
CURRENCIES = frozenset(
    """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
    CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG
    HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA
    MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD
    RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX
    USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905  # a list of codes reads as text
)


def add_exactly(one: Decimal, other: Decimal) -> Decimal:
    """The sum of two decimals with every digit, however many there are. NaN with anything is NaN."""
    return _EXACT.add(one, other)


def plain(value: Decimal) -> str:
    """A decimal as digits with every place that it has, never with an exponent."""
    return format(value, "f")


def parse_amount(field: str, text: str) -> Decimal:
    """The exact value of a decimal string, with two places. Raises FieldError for anything else.

    NaN, Infinity, exponents, signs other than ``-``, spaces, separators and further decimal places are refused.
    """
    if not AMOUNT.match(text):
        raise FieldError(field, AMOUNT_RULE)
    return Decimal(text).quantize(CENT) + 0  # + 0: there is no negative zero, and 18 digits are not rounded


def parse_positive(field: str, text: str) -> Decimal:
    """As `parse_amount`, and more than zero."""
    value = parse_amount(field, text)
    if value <= 0:
        raise FieldError(field, "must be more than 0")
    return value


def parse_not_negative(field: str, text: str) -> Decimal:
    """As `parse_amount`, and zero or more."""
    value = parse_amount(field, text)
    if value < 0:
        raise FieldError(field, "must be 0 or more")
    return value


def check_currency(field: str, code: str) -> str:
    """``code`` itself when it is an active ISO 4217 currency. Raises FieldError."""
    if code not in CURRENCIES:
        raise FieldError(field, "must be an ISO 4217 currency code in capitals, like ZAR")
    return code
