"""The address that a request comes from: the connection's own, or what a trusted proxy says of it.

The rightmost hop that is not a trusted proxy is the client: an untrusted sender wrote every hop further left. An
IPv6 client is known by its /64, the smallest network that one customer is given (RFC 6177). Single addresses in it
cost nothing to change.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from ledger.errors import ConfigError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
UNKNOWN = "unknown"  # a connection without an address, such as a Unix socket's
_MOST_HOPS = 20
_REMEMBERED = 8192
_IPV6_PREFIX = 64
_FOR = re.compile(r'(?:^|[;\s])for="?([^";\s]+)"?', re.IGNORECASE)  # RFC 7239, 4
_PROTO = re.compile(r'(?:^|[;,\s])proto="?https"?(?:[;,\s]|$)', re.IGNORECASE)  # RFC 7239, 5.4
_V4_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+\Z")
_V6_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?\Z")


class Networks:
    """A set of networks. Membership is asked of texts as `subject` writes them, or of addresses."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(ip_network(network) for network in networks)
        self.hold = lru_cache(_REMEMBERED)(self._hold)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def _hold(self, address: str) -> bool:
        """Return whether ``address`` lies in one of the networks, or as a /64 holds one; False for a text that is
        neither.
        """
        try:
            asked = ip_network(address)
        except ValueError:
            return False
        return any(network.version == asked.version and network.overlaps(asked) for network in self._networks)


class Addresses:
    """Finds the client of a request. ``header`` is the one that the proxies in ``trusted`` write."""

    def __init__(self, trusted: Iterable[str], header: str) -> None:
        self._trusted = Networks(trusted)
        self._header = header.encode()
        self._is_forwarded = header == "forwarded"
        self._scheme_header = b"forwarded" if self._is_forwarded else b"x-forwarded-proto"
        self._resolve = lru_cache(_REMEMBERED)(self._through_proxies)

    def client_of(self, scope: Mapping[str, Any]) -> str:
        """The client's address as `subject` writes it; `UNKNOWN` when the connection has none."""
        peer = scope.get("client")
        if not peer:
            return UNKNOWN
        if not self._trusted:
            return subject(peer[0])
        values = [value for name, value in scope["headers"] if name == self._header]
        return self._resolve(peer[0], b",".join(values))

    def is_https(self, scope: Mapping[str, Any]) -> bool:
        """Return whether the client's own connection is HTTPS: this process speaks it, or a trusted proxy says so."""
        if scope.get("scheme") == "https":
            return True
        peer = scope.get("client")
        hop = _parse(peer[0]) if peer else None
        if hop is None or not self._trusted.hold(str(hop)):
            return False
        said = b",".join(value for name, value in scope["headers"] if name == self._scheme_header).decode("latin-1")
        if self._is_forwarded:
            return _PROTO.search(said) is not None
        return any(part.strip().lower() == "https" for part in said.split(","))

    def is_trusted(self, address: str) -> bool:
        """Return whether ``address`` is a trusted proxy itself."""
        return self._trusted.hold(address)

    def _through_proxies(self, peer: str, header: bytes) -> str:
        """Walk from the connection towards the client until a hop is not trusted, or is not an address."""
        hop = _parse(peer)
        if hop is None:
            return UNKNOWN
        for text in self._hops(header.decode("latin-1")):
            if not self._trusted.hold(str(hop)):
                break
            before = _parse(text)
            if before is None:
                break
            hop = before
        return subject(str(hop))

    def _hops(self, header: str) -> list[str]:
        parts = header.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]
        if self._is_forwarded:
            matches = (_FOR.search(part) for part in parts)
            return [match[1] if match else "" for match in matches][::-1]
        return [part.strip() for part in parts][::-1]


@lru_cache(_REMEMBERED)
def subject(address: str) -> str:
    """Return what is counted and refused for ``address``: an IPv4 address itself, an IPv6 address as its /64."""
    parsed = _parse(address)
    if parsed is None:
        return UNKNOWN
    return str(parsed) if parsed.version == 4 else str(ip_network((int(parsed), _IPV6_PREFIX), strict=False))


def given_subject(text: str) -> str:
    """`subject` of an address that a person typed; a /64 is taken as well. Raises ConfigError."""
    address = text.removesuffix(f"/{_IPV6_PREFIX}") if ":" in text else text
    if _parse(address) is None:
        raise ConfigError(f"{text!r} is not an IP address")
    return subject(address)


def _parse(text: str) -> Address | None:
    """An address, with or without a port; IPv4 in IPv6's clothes is IPv4."""
    bare = _V4_PORT.match(text) or _V6_PORT.match(text)
    try:
        address = ip_address((bare[1] if bare else text).partition("%")[0])
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address
