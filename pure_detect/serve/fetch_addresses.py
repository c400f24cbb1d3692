"""Which machines may be asked for a picture, and the addresses of a name.

A service that fetches what strangers name must not become their way into the network that it stands in: its own host,
its neighbours, the metadata service of its cloud.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswerYet  # another class before Python 3.11
from dataclasses import dataclass
from functools import cached_property

from pure_detect.errors import InputError
from pure_detect.serve.fetch_deadline import Deadline
from pure_detect.serve.fetch_errors import FetchError
from pure_detect.serve.fetch_url import Target

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Source: IANA's registries of special-purpose IPv4 and IPv6 addresses, and of IPv6's global unicast space. Written out
# because what `ipaddress.is_global` answers differs between Python's versions.
NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # behind a carrier's translation; Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host, a public number that never leaves the machine
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Nothing outside of this is global unicast: not ::1, fc00::/7, fe80::/10, ff00::/8, nor IPv4 in other clothes as
# ::ffff:0:0/96 (mapped), ::/96 (compatible) and 64:ff9b::/96 (NAT64).
PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments; Teredo, which holds IPv4 addresses
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which holds IPv4 addresses
        "3fff::/20",  # documentation
    )
)

LOOKUPS = threading.BoundedSemaphore(64)  # the system's resolver cannot be interrupted: so many may hang at once


@dataclass(frozen=True)
class AddressPolicy:
    """Which addresses may be connected to: the public ones, and those of `allowed`.

    Parameters
    ----------
    allowed : sequence of str
        Networks such as `10.0.0.0/8` or `fd00::/8`, or single addresses, for deployments whose pictures lie on private
        servers. An IPv4 network does not open the IPv6 spellings of its addresses.

    Raises
    ------
    InputError
        If one is not a network.
    """

    allowed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Read the networks now, since a service must not start with one it cannot read."""
        object.__setattr__(self, "allowed", tuple(self.allowed))
        assert self.networks is not None

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """Return the allowed networks."""
        return tuple(_network(text) for text in self.allowed)

    def permits(self, address: Address) -> bool:
        """Return whether a connection to the address may be made."""
        return is_public(address) or any(address in network for network in self.networks)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        expected = "expected an address or a network such as 10.0.0.0/8, no bit set after its prefix"
        raise InputError(f"allowed address: {expected}, found {text!r}") from None


def is_public(address: Address) -> bool:
    """Return whether the address belongs to a machine on the internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_V4)
    return address in PUBLIC_V6 and not any(address in network for network in NOT_PUBLIC_V6)


def resolve(target: Target, policy: AddressPolicy, deadline: Deadline) -> list[Address]:
    """Return the addresses of the target's host, every one permitted.

    If a single one is not, none is used: a name that answers with public and private addresses at once is an attack, or
    a fault that must show.

    Raises
    ------
    FetchError
        If the name has no address, one is not permitted, or the answer does not come in time.
    """
    try:
        addresses: list[Address] = [ipaddress.ip_address(target.host)]
    except ValueError:
        addresses = _look_up(target, deadline)
    if not all(policy.permits(address) for address in addresses):
        # Which address it is stays unsaid: strangers need not learn the names of a private network.
        raise FetchError(
            "address_not_public", f"{target}: expected a host on the public internet, found one that is not"
        )
    return addresses


def _look_up(target: Target, deadline: Deadline) -> list[Address]:
    """Ask the system's resolver on a thread of its own, since it takes no time limit."""
    if not LOOKUPS.acquire(timeout=deadline.left(target)):
        raise deadline.error(target)
    answer: Future[list[Address]] = Future()
    threading.Thread(target=_answer, args=(target, answer), name="name look-up", daemon=True).start()
    try:
        addresses = answer.result(deadline.left(target))
    except NoAnswerYet:
        raise deadline.error(target) from None
    except (OSError, ValueError):
        addresses = []
    if not addresses:
        raise FetchError("name_not_found", f"{target}: expected a host with an address, found no such name")
    return addresses


def _answer(target: Target, answer: Future[list[Address]]) -> None:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        # Of IPv6 the first part: a zone follows it where the address is link-local, and those are refused.
        numbers = dict.fromkeys(str(sockaddr[0]).partition("%")[0] for *_, sockaddr in found)
        answer.set_result([ipaddress.ip_address(number) for number in numbers])
    except Exception as error:
        answer.set_exception(error)
    finally:
        LOOKUPS.release()
