"""Who a request comes from: only trusted proxies are believed, and nobody can write himself another address."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.abuse.addresses import UNKNOWN, Addresses, Networks, given_subject, subject
from ledger.errors import ConfigError

PROXY, CLIENT = "10.0.0.1", "203.0.113.9"
BEHIND = Addresses(("10.0.0.0/8", "fd00::/8"), "x-forwarded-for")
STANDARD = Addresses(("10.0.0.0/8", "fd00::/8"), "forwarded")


def scope(peer: str | None, *values: str, header: str = "x-forwarded-for") -> dict[str, Any]:
    client = None if peer is None else (peer, 40_000)
    return {"client": client, "headers": [(header.encode(), value.encode("latin-1")) for value in values]}


@pytest.mark.parametrize(
    ("peer", "values", "client"),
    [
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"198.51.100.7, {CLIENT}"], CLIENT),  # what the client wrote itself stands left
        (PROXY, [f"198.51.100.7,{CLIENT}, 10.2.3.4"], CLIENT),  # two proxies
        (PROXY, ["198.51.100.7", CLIENT], CLIENT),  # the header twice is one list
        (PROXY, [f"{CLIENT}:51234"], CLIENT),
        (PROXY, ["::ffff:203.0.113.9"], CLIENT),
        (PROXY, ["2001:db8:1:2:aaaa::7"], "2001:db8:1:2::/64"),
        (PROXY, ["[2001:db8:1:2:aaaa::7]:443"], "2001:db8:1:2::/64"),
        (PROXY, ["10.9.9.9"], "10.9.9.9"),  # one of us, behind our own proxy
        (PROXY, [], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, ["unknown"], PROXY),
        (PROXY, [f"{CLIENT}, not an address"], PROXY),
        ("fd00::1", [CLIENT], CLIENT),
        (CLIENT, ["198.51.100.7"], CLIENT),  # not a proxy: not believed
        ("2001:db8:1:2:bbbb::1", [], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        (None, [CLIENT], UNKNOWN),
        ("/run/api.sock", [CLIENT], UNKNOWN),
    ],
)
def test_the_rightmost_hop_that_is_not_trusted_is_the_client(peer: str | None, values: list[str], client: str) -> None:
    assert BEHIND.client_of(scope(peer, *values)) == client


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (f"for={CLIENT};proto=https;by=10.0.0.1", CLIENT),
        (f'for=198.51.100.7, for="{CLIENT}:1234"', CLIENT),
        ('for="[2001:db8:1:2::9]:80"', "2001:db8:1:2::/64"),
        (f"by=10.0.0.2;FOR={CLIENT}", CLIENT),
        ("for=_hidden", PROXY),
        ("by=10.0.0.2", PROXY),
    ],
)
def test_the_standard_header_is_read_where_the_proxies_write_that(value: str, client: str) -> None:
    assert STANDARD.client_of(scope(PROXY, value, header="forwarded")) == client


def test_only_the_header_that_the_proxies_write_is_read() -> None:
    assert BEHIND.client_of(scope(PROXY, "for=198.51.100.7", header="forwarded")) == PROXY
    assert STANDARD.client_of(scope(PROXY, "198.51.100.7")) == PROXY


def test_without_trusted_proxies_no_header_is_believed() -> None:
    assert Addresses((), "x-forwarded-for").client_of(scope(PROXY, CLIENT)) == PROXY


@given(st.text(st.characters(max_codepoint=255), max_size=300))
def test_nothing_that_a_client_writes_changes_who_it_is(forged: str) -> None:
    assert BEHIND.client_of(scope(PROXY, forged, CLIENT)) == CLIENT
    assert BEHIND.client_of(scope(CLIENT, forged)) == CLIENT


@given(st.integers(0, 10_000))
def test_a_long_list_of_hops_is_not_read_to_its_beginning(length: int) -> None:
    hops = ", ".join([CLIENT] + ["10.0.0.7"] * length)
    assert BEHIND.client_of(scope(PROXY, hops)) == (CLIENT if length < 20 else "10.0.0.7")


@given(st.ip_addresses(v=6))
def test_every_address_of_one_64_is_one_subject(address: Any) -> None:
    other = type(address)(int(address) ^ 0xFFFF)
    if address.ipv4_mapped is None and other.ipv4_mapped is None:
        assert subject(str(address)) == subject(str(other))
        assert given_subject(subject(str(address))) == subject(str(address))


def test_a_network_holds_what_lies_in_it_and_a_64_that_it_lies_in() -> None:
    networks = Networks(("10.0.0.0/8", "::1"))
    assert networks.hold("10.255.255.255")
    assert networks.hold(subject("::1"))
    assert not any(map(networks.hold, ("11.0.0.0", CLIENT, "2001:db8::/64", UNKNOWN, "")))


@pytest.mark.parametrize("text", ["", "somewhere", "300.1.1.1", "10.0.0.0/8", "203.0.113.9/64"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an IP address"):
        given_subject(text)


@pytest.mark.parametrize(
    ("peer", "header", "value", "is_https"),
    [
        (PROXY, "x-forwarded-proto", "https", True),
        ("::ffff:10.0.0.1", "x-forwarded-proto", "HTTPS", True),
        (PROXY, "x-forwarded-proto", "https, http", True),
        (PROXY, "x-forwarded-proto", "http", False),
        (PROXY, "x-forwarded-proto", "httpsx", False),
        (PROXY, "forwarded", "proto=https", False),  # not the header of this proxy
        (CLIENT, "x-forwarded-proto", "https", False),  # not a proxy: not believed
        (None, "x-forwarded-proto", "https", False),
    ],
)
def test_a_trusted_proxy_says_whether_the_client_speaks_https(
    peer: str | None, header: str, value: str, is_https: bool
) -> None:
    assert BEHIND.is_https(scope(peer, value, header=header)) == is_https


@pytest.mark.parametrize(
    ("value", "is_https"),
    [
        ("for=192.0.2.1;proto=https", True),
        ('for=192.0.2.1; Proto="https"; by=x', True),
        ("for=192.0.2.1;proto=http, for=10.1.1.1;proto=https", True),
        ("proto=http", False),
        ("proto=httpsx", False),
        ("for=proto=https", False),
        ("xproto=https", False),
    ],
)
def test_the_standard_header_says_it_too(value: str, is_https: bool) -> None:
    assert STANDARD.is_https(scope(PROXY, value, header="forwarded")) == is_https


def test_a_connection_that_is_https_itself_needs_no_proxy() -> None:
    assert BEHIND.is_https(scope(CLIENT) | {"scheme": "https"})
    assert not BEHIND.is_https(scope(CLIENT) | {"scheme": "http"})
