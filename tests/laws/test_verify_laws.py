"""Laws of believing a vendor's call: what was signed is believed, and nothing that differs in one bit."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from upstream import signing, verify
from upstream.manifest import Webhook
from upstream.verify import Incoming

NOW = 1_790_000_000
SECRET = b"thirty-two bytes of a secret, 32"
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
EDWARDS_PUBLIC = EDWARDS.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
CURVE_PUBLIC = CURVE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

BODIES = st.binary(max_size=200)


def by_hmac(body: bytes, algorithm: str, encoding: Any, key_form: Any) -> tuple[Webhook, Incoming, str]:
    """Give a rule, a call that keeps to it, and the secret as it is written down."""
    verify_by: Any = f"hmac-{algorithm}"
    rule = Webhook(
        verify=verify_by,
        header="X-Sign",
        prefix="v1=",
        encoding=encoding,
        key_form=key_form,
        signed="v1:${timestamp}:${body}",
        timestamp_header="X-Time",
    )
    key = {"text": SECRET.decode(), "hex": SECRET.hex(), "base64": base64.b64encode(SECRET).decode()}[key_form]
    digest = hmac.new(SECRET, b"v1:" + str(NOW).encode() + b":" + body, algorithm).digest()
    written = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    return rule, Incoming(headers={"x-sign": f"v1={written}", "x-time": str(NOW)}, body=body), key


def by_standard(body: bytes) -> tuple[Webhook, Incoming, str]:
    """Give a call as Standard Webhooks has it."""
    headers = signing.headers("msg_1", NOW, body, [SECRET])
    return Webhook(verify="standard"), Incoming(headers=headers, body=body), signing.written(SECRET)


def by_edwards(body: bytes) -> tuple[Webhook, Incoming, str]:
    """Give a call as Standard Webhooks has it, with a public key."""
    signature = base64.b64encode(EDWARDS.sign(signing.content("msg_1", NOW, body))).decode()
    headers = {signing.ID: "msg_1", signing.TIMESTAMP: str(NOW), signing.SIGNATURE: f"v1a,{signature}"}
    secret = verify.KEY_PREFIX + base64.b64encode(EDWARDS_PUBLIC).decode()
    return Webhook(verify="standard"), Incoming(headers=headers, body=body), secret


def by_curve(body: bytes) -> tuple[Webhook, Incoming, str]:
    """Give a call that is signed with an elliptic curve over time and body."""
    rule = Webhook(verify="ecdsa", header="X-Sign", signed="${timestamp}${body}", timestamp_header="X-Time")
    signature = base64.b64encode(CURVE.sign(str(NOW).encode() + body, ec.ECDSA(SHA256()))).decode()
    headers = {"x-sign": signature, "x-time": str(NOW)}
    return rule, Incoming(headers=headers, body=body), base64.b64encode(CURVE_PUBLIC).decode()


CALLS = st.one_of(
    st.builds(
        by_hmac,
        BODIES,
        st.sampled_from(("sha256", "sha1")),
        st.sampled_from(("hex", "base64")),
        st.sampled_from(("text", "hex", "base64")),
    ),
    st.builds(by_standard, BODIES),
    st.builds(by_edwards, BODIES),
    st.builds(by_curve, BODIES),
)


def is_believed(rule: Webhook, request: Incoming, *secrets: str, now: int = NOW) -> bool:
    """Tell whether a call is believed."""
    return verify.check(rule, request, secrets, now * 1_000) is None


@given(CALLS, st.data())
def test_what_was_signed_is_believed_and_what_differs_in_a_bit_is_not(call: Any, data: st.DataObject) -> None:
    """Any one bit flipped, in the body or in any header that matters, and the call is refused."""
    rule, request, secret = call
    places = [("", position) for position in range(len(request.body) * 8)]
    places += [(name, bit) for name, value in request.headers.items() for bit in range(len(value) * 8)]
    name, bit = data.draw(st.sampled_from(places))
    if name:
        flipped = flip(request.headers[name].encode(), bit).decode("latin-1")
        other = msgspec.structs.replace(request, headers={**request.headers, name: flipped})
    else:
        other = msgspec.structs.replace(request, body=flip(request.body, bit))

    assert is_believed(rule, request, secret)
    assert not is_believed(rule, other, secret)


def flip(value: bytes, bit: int) -> bytes:
    """Return bytes with one bit turned round."""
    turned = bytearray(value)
    turned[bit // 8] ^= 1 << bit % 8
    return bytes(turned)


@given(CALLS, st.integers(-2_000, 2_000))
def test_a_call_is_believed_within_the_tolerance_and_at_no_other_time(call: Any, off: int) -> None:
    """Late or early by more than the tolerance, a true signature counts for nothing."""
    rule, request, secret = call

    assert is_believed(rule, request, secret, now=NOW + off) is (abs(off) <= rule.tolerance_seconds)


@given(CALLS, st.integers(0, 3))
def test_any_of_several_secrets_will_do(call: Any, place: int) -> None:
    """While one secret is changed for another, it does not matter at which place the right one stands."""
    rule, request, secret = call
    strange = {"standard": signing.written(b"x" * 32), "ecdsa": secret_of_another_curve()}.get(rule.verify)
    others = [strange or other_secret(rule)] * 3
    others.insert(place, secret)

    assert is_believed(rule, request, *others)
    assert not is_believed(rule, request, *(each for each in others if each != secret))
    assert not is_believed(rule, request)


def other_secret(rule: Webhook) -> str:
    """Return a secret that is written as the rule has it, and is another."""
    wrong = b"another secret that is no good, 2"
    return {"text": wrong.decode(), "hex": wrong.hex(), "base64": base64.b64encode(wrong).decode()}[rule.key_form]


def secret_of_another_curve() -> str:
    """Return the public key of somebody else."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


@given(st.text(min_size=1), st.text(min_size=1))
def test_tokens_and_passwords_are_believed_whole(right: str, wrong: str) -> None:
    """A token in a header or in the address, and user and password, are believed only if they are equal."""
    basic = Webhook(verify="basic")
    token = Webhook(verify="token", header="X-Token", prefix="Key ")
    given_basic = "Basic " + base64.b64encode(wrong.encode(errors="replace")).decode()
    shown = Incoming(headers={"authorization": given_basic, "x-token": f"Key {wrong}"})
    equal = right.encode(errors="replace") == wrong.encode(errors="replace")

    assert is_believed(token, shown, right) is equal
    if right.isascii() and wrong.isascii():
        assert is_believed(basic, shown, right) is (right == wrong)


def test_a_form_is_signed_by_its_sorted_fields() -> None:
    """The address and the fields of a form in order, with SHA-1: what some telephony vendors sign."""
    rule = Webhook(verify="hmac-sha1", header="X-Sign", encoding="base64", signed="${config.hook_url}${form}")
    signed = b"https://here.example/hookBodyHello worldFrom+41"
    digest = base64.b64encode(hmac.new(b"token", signed, hashlib.sha1).digest()).decode()
    request = Incoming(
        headers={"x-sign": digest},
        body=b"From=%2B41&Body=Hello+world",
        config={"hook_url": "https://here.example/hook"},
    )

    assert is_believed(rule, request, "token")


@given(st.sampled_from(["no key", "whsec_short", "whpk_x", "-----BEGIN X-----", "zz"]), BODIES)
def test_a_secret_that_is_none_takes_nothing_from_the_others(wrong: str, body: bytes):
    """One that was pasted wrongly beside one that is right: the vendor's calls are believed, nobody else's are."""
    for rule, request, secret in (
        by_standard(body),
        by_edwards(body),
        by_hmac(body, "sha256", "hex", "hex"),
        by_hmac(body, "sha1", "base64", "base64"),
    ):
        assert (verify.unfit(rule, secret), bool(verify.unfit(rule, wrong))) == ("", True)
        assert is_believed(rule, request, wrong, secret)
        assert not is_believed(rule, request, wrong)
        assert not is_believed(rule, msgspec.structs.replace(request, body=body + b"!"), wrong, secret)
