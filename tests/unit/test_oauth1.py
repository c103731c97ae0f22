"""Signatures of OAuth 1 against the examples that RFC 5849 prints."""

from __future__ import annotations

import re
from urllib.parse import unquote

from upstream.auth import oauth1
from upstream.auth.oauth1 import Keys
from upstream.calls import Call

CLIENT, TOKEN = ("dpf43f3p2l4k3l03", "kd94hf93k423kf44"), ("nnch734d00sl2jdk", "pfkkdhi9sl3r4s00")


def test_the_base_string_of_section_3_4_1_1() -> None:
    """Parameters of query, header and body are sorted, escaped and joined as the example shows."""
    params = [("b5", "=%3D"), ("a3", "a"), ("c@", ""), ("a2", "r b"), ("c2", ""), ("a3", "2 q")]
    params += [("oauth_consumer_key", "9djdj82h48djs9d2"), ("oauth_token", "kkk9d7dh3k39sjv7")]
    params += [("oauth_signature_method", "HMAC-SHA1"), ("oauth_timestamp", "137131201"), ("oauth_nonce", "7d8f3e4a")]

    assert oauth1.base_string("post", "http://EXAMPLE.COM:80/request", params) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q"
        "%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_"
        "key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_m"
        "ethod%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk"
        "9d7dh3k39sjv7"
    )


def test_the_signatures_of_section_1_2() -> None:
    """The requests of the example that a token signs come out as printed."""
    common = [("oauth_consumer_key", CLIENT[0]), ("oauth_signature_method", "HMAC-SHA1")]
    photos = [("oauth_token", TOKEN[0]), ("oauth_timestamp", "137131202"), ("oauth_nonce", "chapoH")]
    asked = [("file", "vacation.jpg"), ("size", "original")]
    token = [("oauth_token", "hh5s93j4hdidpola"), ("oauth_timestamp", "137131201"), ("oauth_nonce", "walatlh")]

    base = oauth1.base_string("GET", "http://photos.example.net/photos", [*asked, *common, *photos])
    traded = oauth1.base_string(
        "POST", "https://photos.example.net/token", [*common, *token, ("oauth_verifier", "hfdp7dh39dks9884")]
    )

    assert oauth1.signature(base, CLIENT[1], TOKEN[1], "HMAC-SHA1") == unquote("MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D")
    assert oauth1.signature(traded, CLIENT[1], "hdhd0244k9j7ao03", "HMAC-SHA1") == unquote(
        "gKgrFCywp7rO0OXSjdot%2FIHF7IU%3D"
    )


def test_the_header_signs_what_is_sent() -> None:
    """Query and form parameters are signed with the rest, and the header names all but them."""
    call = Call(method="POST", url="https://1.example/app", query=(("a", "1 2"),), form=(("b", "x"),))

    said = oauth1.header(call, Keys("ck", "cs", "tk", "ts"), "HMAC-SHA256", "123_SB1", nonce="n", now_s=5)

    parts = dict(re.findall(r'(\w+)="([^"]*)"', said))
    signed = [("a", "1 2"), ("b", "x"), *((k, unquote(v)) for k, v in parts.items() if k.startswith("oauth_"))]
    base = oauth1.base_string("POST", call.url, [pair for pair in signed if pair[0] != "oauth_signature"])
    assert said.startswith('OAuth realm="123_SB1", oauth_consumer_key="ck"')
    assert unquote(parts["oauth_signature"]) == oauth1.signature(base, "cs", "ts", "HMAC-SHA256")
