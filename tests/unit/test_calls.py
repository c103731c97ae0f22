"""Building requests, pages, addresses that may be called, and what people are shown: the parts that need no peer."""

from __future__ import annotations

import ipaddress

import pytest

from upstream import calls, holes, paging, redaction
from upstream.auth import code
from upstream.calls import Call, Unfit
from upstream.manifest import Body, Operation
from upstream.transport import may_call

SOMEWHERE = ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946")
INSIDE = ("10.1.2.3", "192.168.0.1", "172.16.9.9", "fd12::1", "127.0.0.1", "::1", "::ffff:127.0.0.1")
NEVER = (
    "169.254.169.254",
    "fe80::1",
    "0.0.0.0",
    "224.0.0.1",
    "fd00:ec2::254",
    "100.100.100.200",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "64:ff9b:1::a9fe:a9fe",
    "::a9fe:a9fe",
    "::ffff:0:a9fe:a9fe",
    "fec0::1",
    "168.63.129.16",
    "192.0.0.192",
)


@pytest.mark.parametrize(
    ("addresses", "open_", "trial"), [(SOMEWHERE, True, True), (INSIDE, False, True), (NEVER, False, False)]
)
def test_which_addresses_are_called(addresses: tuple[str, ...], open_: bool, trial: bool) -> None:
    """Public ones always, inner ones in trials, and those where machines are told secrets never."""
    for text in addresses:
        address = ipaddress.ip_address(text)
        assert may_call(address, allow_loopback=False) is open_, text
        assert may_call(address, allow_loopback=True) is trial, text


def test_the_challenge_of_rfc_7636() -> None:
    """The example of its appendix B comes out."""
    assert (
        code.challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('<https://a/x?page=2>; rel="next", <https://a/x?page=9>; rel="last"', "https://a/x?page=2"),
        ('<https://a/1>; rel="prev"; title="x", <https://a/3>; title="y"; rel=next', "https://a/3"),
        ('<https://a/1>; rel="first next"', "https://a/1"),
        ('<https://a/1>; rel="prev"', ""),
        ("", ""),
    ],
)
def test_the_link_header(header: str, found: str) -> None:
    """The address of a relation is found whatever stands around it (RFC 8288)."""
    assert paging.linked(header, "next") == found


def test_what_has_no_place_is_said() -> None:
    """A key or an addition that would have to stand in a list, and a table in a form, are refused with words."""
    listed = Operation(method="POST", path="/", effect="write", body=Body(in_list=True, add={"a": 1}))
    form = Operation(method="POST", path="/", effect="write", body=Body(kind="form"))

    with pytest.raises(Unfit, match="`add`"):
        calls.build(listed, "https://a", {"value": {}})
    with pytest.raises(Unfit, match="rows: a form"):
        calls.build(form, "https://a", {"value": {"rows": [1]}})


def test_another_origin_is_another_host() -> None:
    """A port or a scheme that differs is another place; a path alone is not."""
    call = Call(method="GET", url="https://a.example/v1/list")

    assert calls.elsewhere(call, "/v1/list?p=2").url == "https://a.example/v1/list?p=2"
    assert calls.elsewhere(call, "https://A.example:443/x").url == "https://A.example:443/x"
    for url in ("http://a.example/x", "https://a.example:8443/x", "//b.example/x", "https://a.example@b.example/"):
        with pytest.raises(Unfit):
            calls.elsewhere(call, url)


def test_quotes_are_escaped_as_the_vendor_wants() -> None:
    """By a backslash, or doubled; a backslash of the value itself does not undo it."""
    values = {"value": {"x": "O'Neil\\"}}

    assert holes.filled("'${value.x}'", values, quotes="backslash") == r"'O\'Neil\\'"
    assert holes.filled("'${value.x}'", values, quotes="doubled") == "'O''Neil\\'"
    assert holes.filled("'${value.x}'", values) == "'O'Neil\\'"


@pytest.mark.parametrize("written", ["s&cret/1", "s%26cret%2F1", "cyZjcmV0LzE=", 's"q\\"cret'])
def test_a_secret_is_hidden_however_it_is_written(written: str) -> None:
    """Plain, escaped for an address, in base64 or in JSON, a secret is not shown."""
    secrets = ("s&cret/1", 's"q"cret', 's"q\\"cret')

    assert redaction.hidden(f"a {written} b", secrets) == f"a {redaction.HIDDEN} b"


def test_long_things_are_cut() -> None:
    """What is kept of an answer has a greatest size, and says how much there was."""
    kept = redaction.told(b'{"a": "' + b"x" * 100_000 + b'", "b": [' + b"1," * 99 + b"1]}", ())
    plain = redaction.told(b"y" * 100_000, ())

    assert len(kept) < redaction.TEXT_CHARACTERS_MAX
    assert "(100000 characters)" in kept
    assert "80 more" in kept
    assert len(plain) < redaction.TEXT_CHARACTERS_MAX + 40


def test_a_secret_is_not_kept_in_part() -> None:
    """One that a cut would go through is taken out before, so that not even its beginning stays."""
    secret = "s3cret-" + "abcdefgh" * 100
    kept = redaction.told(f'{{"message": "{"x" * 400}{secret}"}}'.encode(), (secret,))

    assert "s3cret" not in kept
    assert redaction.HIDDEN in kept


def test_what_is_kept_can_be_stored() -> None:
    """The one character that the database does not take is replaced, in plain text as in words of an answer."""
    assert redaction.told(b"a\0b", ()) == f"a{redaction.REPLACED}b"
    assert redaction.hidden("a\0b", ()) == f"a{redaction.REPLACED}b"
