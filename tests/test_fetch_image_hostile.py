"""Addresses by which a stranger would reach what is not public: each is refused before any connection."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from pure_detect.errors import InputError
from pure_detect.serve.fetch_addresses import is_public
from pure_detect.serve.fetch_errors import STATUS
from pure_detect.serve.fetch_image import AddressPolicy, FetchError, FetchLimits, fetch_image
from tests.loopback import Loopback, file, status
from tests.strangers import PUBLIC, Connections, Names, has_visitor, listening

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
LIMITS = FetchLimits(bytes=1000, seconds=2.0, redirects=3)
LOOPBACK = AddressPolicy(("127.0.0.0/8",))

NAMES = {
    "localhost": "127.0.0.1 ::1",
    "loopback.example": "127.0.0.1",
    "loopback6.example": "::1",
    "127.0.0.1.wildcard.example": "127.0.0.1",
    "0x7f.example": "127.0.0.1",
    "private.example": "10.1.2.3",
    "private172.example": "172.31.255.255",
    "private192.example": "192.168.0.1",
    "metadata.example": "169.254.169.254",
    "metadata6.example": "fd00:ec2::254",
    "alibaba.example": "100.100.100.200",
    "azure.example": "168.63.129.16",
    "mapped.example": "::ffff:127.0.0.1",
    "nat64.example": "64:ff9b::7f00:1",
    "linklocal.example": "fe80::1%eth0",
    "mixed.example": f"{PUBLIC} 127.0.0.1",
    "mixed6.example": f"{PUBLIC} ::1",
    "empty.example": "",
    "xn--strae-oqa.example": "127.0.0.1",
}

HOSTILE = [
    # Loopback and private addresses, as they are.
    ("http://127.0.0.1:{port}/", "address_not_public"),
    ("http://127.255.255.254:{port}/", "address_not_public"),
    ("http://0.0.0.0:{port}/", "address_not_public"),
    ("http://0.1.2.3:{port}/", "address_not_public"),
    ("http://10.0.0.1/", "address_not_public"),
    ("http://172.16.0.1/", "address_not_public"),
    ("http://192.168.1.1/", "address_not_public"),
    ("http://100.64.0.1/", "address_not_public"),
    ("http://169.254.169.254/latest/meta-data/iam/security-credentials/", "address_not_public"),
    ("http://192.0.0.192/opc/v2/", "address_not_public"),
    ("http://168.63.129.16/machine?comp=goalstate", "address_not_public"),
    ("http://198.18.0.1/", "address_not_public"),
    ("http://192.0.2.1/", "address_not_public"),
    ("http://224.0.0.251/", "address_not_public"),
    ("http://240.0.0.1/", "address_not_public"),
    ("http://255.255.255.255/", "address_not_public"),
    # IPv6, and IPv4 inside of it.
    ("http://[::1]:{port}/", "address_not_public"),
    ("http://[0:0:0:0:0:0:0:1]:{port}/", "address_not_public"),
    ("http://[::]:{port}/", "address_not_public"),
    ("http://[::ffff:127.0.0.1]:{port}/", "address_not_public"),
    ("http://[::ffff:7f00:1]:{port}/", "address_not_public"),
    ("http://[::127.0.0.1]:{port}/", "address_not_public"),
    ("http://[64:ff9b::127.0.0.1]:{port}/", "address_not_public"),
    ("http://[64:ff9b:1::a9fe:a9fe]/", "address_not_public"),
    ("http://[2002:7f00:1::]:{port}/", "address_not_public"),
    ("http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/", "address_not_public"),
    ("http://[fd00:ec2::254]/latest/meta-data/", "address_not_public"),
    ("http://[fe80::1]/", "address_not_public"),
    ("http://[fec0::1]/", "address_not_public"),
    ("http://[ff02::1]/", "address_not_public"),
    ("http://[2001:db8::1]/", "address_not_public"),
    ("http://[100::1]/", "address_not_public"),
    ("http://[5f00::1]/", "address_not_public"),
    ("http://[fe80::1%25eth0]/", "url_host"),
    ("http://[::1%lo]:{port}/", "url_host"),
    ("http://[v1.x]/", "url_malformed"),
    ("http://[127.0.0.1]:{port}/", "url_malformed"),
    # Other spellings of IPv4, which the system's resolver would understand.
    ("http://2130706433:{port}/", "url_host"),
    ("http://0x7f000001:{port}/", "url_host"),
    ("http://017700000001:{port}/", "url_host"),
    ("http://0177.0.0.1:{port}/", "url_host"),
    ("http://0x7f.0.0.1:{port}/", "url_host"),
    ("http://127.1:{port}/", "url_host"),
    ("http://127.0.1:{port}/", "url_host"),
    ("http://0:{port}/", "url_host"),
    ("http://127.000.000.001:{port}/", "url_host"),
    ("http://127.0.0.256:{port}/", "url_host"),
    ("http://4294967297:{port}/", "url_host"),
    ("http://127.0.0.0x1:{port}/", "url_host"),
    ("http://0X7F000001:{port}/", "url_host"),
    # Dots, percent signs, backslashes, digits of other scripts.
    ("http://127.0.0.1.:{port}/", "url_host"),
    ("http://localhost.:{port}/", "url_host"),
    ("http://.localhost:{port}/", "url_host"),
    ("http://127..0.0.1:{port}/", "url_host"),
    ("http://%31%32%37.0.0.1:{port}/", "url_host"),
    ("http://127.0.0.1%00.example:{port}/", "url_host"),
    ("http://127.0.0.1%2f.example:{port}/", "url_host"),
    ("http://public.example\\.127.0.0.1:{port}/", "url_host"),
    ("http://localhost\\:{port}/", "url_host"),
    ("http://127。0。0。1:{port}/", "address_not_public"),
    ("http://①②⑦.⓪.⓪.①:{port}/", "address_not_public"),
    ("http://１２７.０.０.１:{port}/", "address_not_public"),
    ("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/", "address_not_public"),
    ("http://ｌｏｃａｌｈｏｓｔ:{port}/", "address_not_public"),
    ("http://straße.example:{port}/", "address_not_public"),
    ("http://０ｘ７ｆ.１:{port}/", "url_host"),
    ("http://localhost\u00ad:{port}/", "address_not_public"),
    ("http://local\u200bhost:{port}/", "address_not_public"),
    ("http://\u202elocalhost:{port}/", "url_host"),
    ("http://a\u2100.example/", "url_malformed"),  # becomes a/c under compatibility mapping
    # Whom the address is for, said twice.
    ("http://public.example@127.0.0.1:{port}/", "url_userinfo"),
    ("http://127.0.0.1:{port}@public.example/", "url_userinfo"),
    ("http://public.example:80@127.0.0.1:{port}/", "url_userinfo"),
    ("http://127.0.0.1:{port}\\@public.example/", "url_userinfo"),
    ("http://public.example&@127.0.0.1:{port}#@public.example/", "url_userinfo"),
    ("http://user:password@public.example/", "url_userinfo"),
    ("http://127.0.0.1:{port}#@public.example/", "address_not_public"),
    ("http://127.0.0.1:{port}?@public.example/", "address_not_public"),
    ("http://127.0.0.1:{port}/@public.example/", "address_not_public"),
    ("http:/\\127.0.0.1:{port}/", "url_malformed"),
    ("http:127.0.0.1:{port}/", "url_malformed"),
    ("http:///127.0.0.1:{port}/", "url_malformed"),
    ("http://:{port}/", "url_malformed"),
    ("http://::1:{port}/", "url_malformed"),
    ("http://[::1:{port}/", "url_malformed"),
    ("http://[::1]x:{port}/", "url_malformed"),
    ("http://127.0.0.1:{port}:80/", "url_malformed"),
    ("http://127.0.0.1:{port}\t/", "url_malformed"),
    ("http://public.example\r\nHost: localhost/", "url_malformed"),
    ("http://public.example/\r\n\r\nGET / HTTP/1.1", "url_malformed"),
    ("http://public.example/\x00", "url_malformed"),
    ("http://public.example/\ud800", "url_malformed"),
    ("http://public.example/" + "a" * 9000, "url_malformed"),
    ("http://" + "a" * 254 + "/", "url_host"),
    ("http://" + "ä" * 254 + "/", "url_host"),
    ("http://" + "a" * 64 + ".example/", "url_host"),
    # Other schemes.
    ("", "url_scheme"),
    ("//127.0.0.1:{port}/", "url_scheme"),
    ("127.0.0.1:{port}/", "url_scheme"),
    ("/etc/passwd", "url_scheme"),
    ("file:///etc/passwd", "url_scheme"),
    ("file://127.0.0.1/etc/passwd", "url_scheme"),
    ("ftp://127.0.0.1:{port}/", "url_scheme"),
    ("gopher://127.0.0.1:{port}/_x", "url_scheme"),
    ("dict://127.0.0.1:{port}/x", "url_scheme"),
    ("ws://127.0.0.1:{port}/", "url_scheme"),
    ("data:image/png;base64,iVBORw0KGgo=", "url_scheme"),
    ("javascript:alert(1)", "url_scheme"),
    ("url:http://127.0.0.1:{port}/", "url_scheme"),
    ("\\\\127.0.0.1\\share", "url_scheme"),
    # Ports of other services.
    ("http://public.example:22/", "url_port"),
    ("http://public.example:25/", "url_port"),
    ("http://public.example:0/", "url_port"),
    ("http://public.example:6667/", "url_port"),
    ("http://public.example:65536/", "url_port"),
    ("http://public.example:999999999999999999999999/", "url_port"),
    ("http://public.example:-80/", "url_malformed"),
    ("http://public.example:８０/", "url_malformed"),
    ("http://public.example:+80/", "url_malformed"),
    # Names.
    *[(f"http://{name}:{{port}}/", "address_not_public") for name in NAMES if name not in ("empty.example",)],
    ("http://LOCALHOST:{port}/", "address_not_public"),
    ("https://localhost:{port}/", "address_not_public"),
    ("HTTP://localhost:{port}/", "address_not_public"),
    ("  http://localhost:{port}/  ", "address_not_public"),
    ("http://empty.example/", "name_not_found"),
    ("http://nowhere.example/", "name_not_found"),
]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names(NAMES)
    monkeypatch.setattr(socket, "getaddrinfo", names)
    return names


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    return Connections(monkeypatch)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(("url", "code"), HOSTILE, ids=[ascii(url)[1:61] for url, _ in HOSTILE])
def test_a_hostile_address_is_refused_by_its_own_code_and_nobody_is_connected_to(
    url: str, code: str, connections: Connections
) -> None:
    hosts = ["127.0.0.1", "::1"] if socket.has_dualstack_ipv6() else ["127.0.0.1"]
    with listening(*hosts) as listeners:
        port = listeners[0].getsockname()[1]
        with pytest.raises(FetchError) as caught:
            fetch_image(url.replace("{port}", str(port)), AddressPolicy(), LIMITS)
        assert not any(has_visitor(listener) for listener in listeners)
    assert not connections.made
    assert caught.value.code == code
    assert caught.value.status == STATUS[code]
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_the_listening_sockets_would_see_a_connection(connections: Connections) -> None:
    with listening("127.0.0.1") as [listener]:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(FetchError, match=r"within 0\.2 s") as caught:
            fetch_image(url, LOOPBACK, LIMITS._replace(seconds=0.2))
        assert has_visitor(listener)
    assert caught.value.code == "timed_out"
    assert connections.made == ["127.0.0.1"]


# ---- between check and use


def test_a_name_that_turns_private_after_the_check_is_connected_to_where_it_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both servers are real: the one that was checked answers, the other one sees nobody."""
    names = Names({"rebinding.example": "127.0.0.2|127.0.0.1"})
    monkeypatch.setattr(socket, "getaddrinfo", names)
    with listening("127.0.0.1") as [private]:
        port = private.getsockname()[1]
        with Loopback(file(PNG), host="127.0.0.2", port=port) as server:
            url = f"http://rebinding.example:{port}/"
            assert fetch_image(url, AddressPolicy(("127.0.0.2",)), LIMITS) == PNG
            assert server.requests[0].headers["Host"] == f"rebinding.example:{port}"
        assert not has_visitor(private)
    assert names.asked == ["rebinding.example"]


def test_a_name_that_turns_private_is_asked_once_and_only_its_public_address_is_tried(
    monkeypatch: pytest.MonkeyPatch, connections: Connections
) -> None:
    names = Names({"rebinding.example": f"{PUBLIC}|127.0.0.1"})
    monkeypatch.setattr(socket, "getaddrinfo", names)
    with pytest.raises(FetchError, match="connection refused") as caught:
        fetch_image("http://rebinding.example/", AddressPolicy(), LIMITS)
    assert caught.value.code == "connection_failed"
    assert connections.made == [PUBLIC]
    assert names.asked == ["rebinding.example"]


def test_a_name_that_turns_private_between_two_redirects_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names({"rebinding.example": "127.0.0.2|127.0.0.1"})
    monkeypatch.setattr(socket, "getaddrinfo", names)
    with listening("127.0.0.1") as [private]:
        port = private.getsockname()[1]
        with Loopback(status(302, Location="/again"), host="127.0.0.2", port=port) as server:
            with pytest.raises(FetchError) as caught:
                fetch_image(f"http://rebinding.example:{port}/", AddressPolicy(("127.0.0.2",)), LIMITS)
            assert len(server.requests) == 1
        assert not has_visitor(private)
    assert caught.value.code == "address_not_public"
    assert len(names.asked) == 2


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://127.0.0.1:{port}/", "address_not_public"),
        ("//127.0.0.1:{port}/", "address_not_public"),
        ("http://localhost:{port}/", "address_not_public"),
        ("http://[::ffff:127.0.0.1]:{port}/", "address_not_public"),
        ("http://169.254.169.254/latest/meta-data/", "address_not_public"),
        ("http://2130706433:{port}/", "url_host"),
        ("http://public.example@127.0.0.1:{port}/", "url_userinfo"),
        ("file:///etc/passwd", "url_scheme"),
        ("gopher://127.0.0.1:{port}/", "url_scheme"),
        ("http://[/", "url_malformed"),
        ("http://public.example:25/", "url_port"),
    ],
)
@pytest.mark.usefixtures("names")
def test_a_redirect_is_checked_like_the_address_itself(location: str, code: str, connections: Connections) -> None:
    with listening("127.0.0.1") as [private]:
        location = location.replace("{port}", str(private.getsockname()[1]))
        with Loopback(status(302, Location=location), host="127.0.0.2") as server, pytest.raises(FetchError) as caught:
            fetch_image(server.url, AddressPolicy(("127.0.0.2",)), LIMITS)
        assert not has_visitor(private)
    assert caught.value.code == code
    assert connections.made == ["127.0.0.2"]


# ---- the policy

# One address of each of IANA's special-purpose blocks, and the first and last around some.
PRIVATE = """
    0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 168.63.129.16 169.254.0.0
    169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.8 192.0.0.170 192.0.2.255 192.88.99.1 192.168.0.0 192.168.255.255
    198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.0 255.255.255.255
    :: ::1 ::ffff:8.8.8.8 ::8.8.8.8 64:ff9b::8.8.8.8 64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:10::1 2001:20::1
    2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff 2001:db8::1 2002:808:808:: 3fff::1 4000::1 5f00::1 fc00::1
    fdff::1 fe80::1 fec0::1 ff0e::1
""".split()
INTERNET = """
    1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15 168.63.129.17
    169.253.255.255 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
    203.0.114.0 223.255.255.255 2001:200:: 2001:4860:4860::8888 2003::1 2606:4700:4700::1111 3ffe::1
""".split()


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_of_a_special_block_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", INTERNET)
def test_an_address_beside_a_special_block_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_what_python_itself_calls_private_is_never_public() -> None:
    """A second opinion, on the first and last address of every block of 2 to the 16th."""
    for high in range(0, 1 << 16, 7):
        for low in (0, 0xFFFF):
            address = ipaddress.IPv4Address(high << 16 | low)
            assert address.is_global or not is_public(address)


def test_an_allowed_network_opens_its_own_addresses_and_no_others() -> None:
    policy = AddressPolicy(("10.0.0.0/8", "fd00::/8", "127.0.0.1"))
    permitted = [
        policy.permits(ipaddress.ip_address(text))
        for text in (
            "10.1.2.3",
            "fd00::1",
            "127.0.0.1",
            "8.8.8.8",
            "127.0.0.2",
            "11.0.0.1",
            "::ffff:10.1.2.3",
            "fc00::1",
        )
    ]
    assert permitted == [True, True, True, True, False, True, False, False]


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "localhost", "", "10.0.0.0/8,11.0.0.0/8"])
def test_an_allowed_network_that_is_none_is_refused_at_once(network: str) -> None:
    with pytest.raises(InputError, match="allowed address: expected an address or a network"):
        AddressPolicy((network,))


def test_an_error_names_neither_the_query_nor_the_address_of_a_private_name(
    names: Names, connections: Connections
) -> None:
    with pytest.raises(FetchError) as caught:
        fetch_image("https://private.example/a.png?signature=secret#part", AddressPolicy(), LIMITS)
    assert str(caught.value) == (
        "https://private.example/a.png: expected a host on the public internet, found one that is not"
    )
