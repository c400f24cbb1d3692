"""An address as a stranger writes it, taken apart once.

Every later step works on the parts found here and none reads the text again, so that no two of them can disagree about
which host it names.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import idna

from pure_detect.errors import shown
from pure_detect.serve.fetch_errors import FetchError

LONGEST_URL, LONGEST_HOST, LONGEST_SHOWN = 8192, 253, 120
DEFAULT_PORTS = {"http": 80, "https": 443}
# Web servers stand at 80, at 443 and above 1023. Source: the "bad port" list above 1023 of the WHATWG's Fetch standard,
# the services that a browser lets no page talk to.
BAD_PORTS = frozenset(
    (1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080)
)

CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]*))?")
NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class Target(NamedTuple):
    """Where a request goes.

    Attributes
    ----------
    scheme : str
        http or https.
    host : str
        A name in ASCII and lower case, or an IP address in its only accepted spelling.
    port : int
    path : str
        With the query, percent-encoded.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def literal(self) -> str:
        """Return the host as an address spells it: IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def origin(self) -> str:
        """Return scheme, host and, where it is another than the scheme's, port."""
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.literal}{port}"

    def __str__(self) -> str:
        """Return the address as messages name it: without the query, which may hold a signature or a key."""
        text = f"{self.origin}{self.path.partition('?')[0]}"
        return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def parse_url(url: str) -> Target:
    """Take an address apart.

    Raises
    ------
    FetchError
        If it is not http or https, names a user, a port that no web server has, or a host in any other spelling than
        a plain name, four decimal numbers, or IPv6 in brackets; and if it cannot be read at all.
    """
    url = url.strip(" ")
    if len(url) > LONGEST_URL:
        raise _malformed(f"at most {LONGEST_URL:,} characters", f"{len(url):,}")
    if CONTROL.search(url):
        raise _malformed("printable characters", shown(url))
    try:
        scheme, authority, path, query, _ = urlsplit(url)
    except ValueError:
        raise _malformed("http://host/path", shown(url)) from None
    if scheme not in DEFAULT_PORTS:
        found = f"{scheme}:" if scheme else "none"
        raise FetchError("url_scheme", f"image address: expected http:// or https://, found {shown(found)}")
    host, port = _authority(scheme, authority)
    return Target(scheme, host, port, _path(path, query))


def follow(target: Target, location: str) -> Target:
    """Return where a redirect leads; from https never to http.

    Raises
    ------
    FetchError
        As :func:`parse_url`.
    """
    try:
        url = urljoin(f"{target.origin}{target.path}", location)
    except ValueError:
        raise _malformed("a redirect to http://host/path", shown(location)) from None
    found = parse_url(url)
    if target.scheme == "https" and found.scheme == "http":
        raise FetchError("url_scheme", f"{target}: expected a redirect to https, found one to http")
    return found


def _malformed(expected: str, found: str) -> FetchError:
    return FetchError("url_malformed", f"image address: expected {expected}, found {found}")


def _authority(scheme: str, authority: str) -> tuple[str, int]:
    if "@" in authority:
        raise FetchError("url_userinfo", "image address: expected no user name or password, found an @ before the host")
    parts = AUTHORITY.fullmatch(authority)
    if parts is None or not parts[1]:
        raise _malformed("http://host/path", shown(f"{scheme}://{authority}"))
    return _host(parts[1]), _port(scheme, parts[2])


def _port(scheme: str, digits: str | None) -> int:
    number = digits.lstrip("0") if digits else str(DEFAULT_PORTS[scheme])
    port = int(number) if 0 < len(number) <= 5 else 0
    if not (port in DEFAULT_PORTS.values() or 1024 <= port <= 65535) or port in BAD_PORTS:
        raise FetchError("url_port", f"image address: expected the port of a web server, found {shown(digits)}")
    return port


def _host(host: str) -> str:
    """Return the host in the one spelling that the rest works with."""
    if host.startswith("["):
        return _ipv6(host)
    name = _ascii(host).lower()
    if len(name) > LONGEST_HOST or not NAME.fullmatch(name):
        raise FetchError("url_host", f"image address: expected a host name or an IP address, found {shown(host)}")
    # What ends in a number is an address to the system's resolver, which also reads 0177.1, 0x7f000001 and 2130706433.
    if NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            message = f"image address: expected an IPv4 address as four decimal numbers, found {shown(host)}"
            raise FetchError("url_host", message) from None
    return name


def _ipv6(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        raise _malformed("an IPv6 address in brackets", shown(host)) from None
    if address.scope_id is not None:
        message = f"image address: expected an IPv6 address without an interface of this machine, found {shown(host)}"
        raise FetchError("url_host", message)
    return str(address)


def _ascii(host: str) -> str:
    """Return an international name as the name system knows it; full-width digits and the like become plain ones."""
    if host.isascii():
        return host
    try:
        if len(host) > LONGEST_HOST:
            raise UnicodeError
        return idna.encode(host, uts46=True).decode("ascii")
    except UnicodeError:
        message = f"image address: expected an international host name, found {shown(host)}"
        raise FetchError("url_host", message) from None


def _path(path: str, query: str) -> str:
    """Percent-encode what may not stand in a request: people paste addresses with spaces and umlauts."""
    encoded = quote(path or "/", safe="%/:@!$&'()*+,;=~")
    return f"{encoded}?{quote(query, safe='%/:@!$&()*+,;=~?[]' + chr(39))}" if query else encoded
