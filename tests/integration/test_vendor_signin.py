"""Every way of signing in, against real peers: what arrives there, and how a token is come by."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.integration.connectors import HEAD, Trial, clock, database, http, odd, trial
from tests.peers import certificates, oauth2_oracle, token_house
from tests.peers.certificates import Authority
from tests.peers.odd_vendor import Odd, Says
from upstream import manifest_file
from upstream.auth import code, signing, tokens
from upstream.credentials import Granted, Refused
from upstream.errors import BadConnection
from upstream.manifest import JwtBearer, OAuth2Code
from upstream.transport import Http

__all__ = ["clock", "database", "http", "odd", "trial"]  # fixtures for the tests of this file

_RSA = rsa.generate_private_key(65_537, 2_048)
PRIVATE = _RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC = _RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
async def oracle() -> AsyncIterator[str]:
    """Give the address of an issuer that others wrote."""
    async with oauth2_oracle.running(PUBLIC) as url:
        yield url


def signing_in(table: str) -> str:
    """Return a manifest that signs in so."""
    return f"{HEAD}[auth]\n{table}\n"


KEYS = {"consumer_key": "ck", "consumer_secret": "cs", "token_id": "ti", "token_secret": "ts"}
STATIC = [
    ('kind = "none"', {"nothing": "here"}, "authorization", ""),
    ('kind = "api_key"\nname = "X-Key"\nprefix = "k "', {"key": "abcd"}, "x-key", "k abcd"),
    ('kind = "basic"', {"user": "ü", "password": "p:1"}, "authorization", "Basic w7w6cDox"),
    (
        'kind = "basic"\nuser = "${auth.key}"\npassword = "X"',
        {"key": "abcd"},
        "authorization",
        "Basic " + base64.b64encode(b"abcd:X").decode(),
    ),
    ('kind = "bearer"', {"token": "abcd"}, "authorization", "Bearer abcd"),
    ('kind = "oauth1"\nrealm = "R1"', KEYS, "authorization", 'OAuth realm="R1", oauth_consumer_key="ck"'),
]


@pytest.mark.parametrize(("table", "given", "header", "begins"), STATIC)
async def test_what_does_not_change_is_shown_with_each_request(
    trial: Trial, odd: Odd, table: str, given: dict[str, str], header: str, begins: str
) -> None:
    """Keys, passwords, tokens and signatures arrive where and how the vendor looks for them."""
    calling = await trial.connector(signing_in(table), odd.url, **given)

    reply = await calling.verify()

    assert reply.kind == "ok"
    assert odd.seen[0].headers.get(header, "").startswith(begins)
    assert bool(odd.seen[0].headers.get(header)) is bool(begins)


async def test_a_key_in_the_query_is_not_kept_for_people(trial: Trial, odd: Odd) -> None:
    """Where a vendor wants its key in the address, it is hidden in what people are shown."""
    calling = await trial.connector(signing_in('kind = "api_key"\nname = "auth_code"\nplace = "query"'), odd.url)

    reply = await calling.verify()

    assert odd.seen[0].query == {"auth_code": "key-9c41"}
    assert "key-9c41" not in reply.request


SESSION = """kind = "session"
operation = "login"
token = "{token}"
name = "{name}"
place = "{place}"

[operations.login]
method = "POST"
path = "/login"
effect = "read"
body = {{ kind = "json", add = {{ user = "${{auth.user}}", password = "${{auth.password}}" }} }}

[operations.write]
method = "POST"
path = "/write"
effect = "write"
body = {{ kind = "json" }}
"""


@pytest.mark.parametrize(
    ("token", "place", "answer"),
    [
        ("credentials.id", "header", Says(200, {"credentials": {"id": "s-1"}})),
        ("header.x-session", "header", Says(200, {}, {"X-Session": "s-1"})),
        ("cookie.B1", "cookie", Says(200, {}, {"set-cookie": "B1=s-1; Path=/; HttpOnly"})),
        ("credentials.id", "query", Says(200, {"credentials": {"id": "s-1"}})),
        ("credentials.id", "body", Says(200, {"credentials": {"id": "s-1"}})),
    ],
)
async def test_a_session_is_logged_into_once(trial: Trial, odd: Odd, token: str, place: str, answer: Says) -> None:
    """The login happens once, what it answers is shown with each call, and a session that ended is renewed."""
    table = SESSION.format(token=token, name="B1", place=place)
    calling = await trial.connector(signing_in(table), odd.url, user="u1", password="pw-11")
    odd.usual = {"/login": answer}
    for _ in range(3):
        assert (await calling.call("write", {"a": 1})).kind == "ok"
    odd.answers = [Says(401, {})]
    again = await calling.call("write", {"a": 1})

    logins = [seen for seen in odd.seen if seen.path == "/login"]
    write = odd.seen[1]
    shown = {
        "header": write.headers.get("b1"),
        "cookie": write.headers.get("cookie", "").removeprefix("B1="),
        "query": write.query.get("B1"),
        "body": write.json.get("B1"),
    }
    assert again.kind == "ok"
    assert [seen.json for seen in logins] == [{"user": "u1", "password": "pw-11"}] * 2
    assert shown[place] == "s-1"


async def test_a_login_that_is_refused_is_latched(trial: Trial, odd: Odd) -> None:
    """A wrong password is tried once, so that no account is locked by us."""
    table = SESSION.format(token="id", name="B1", place="header")
    calling = await trial.connector(signing_in(table), odd.url, user="u1", password="wrong")
    odd.reacts = lambda _seen: Says(401, {})

    found = [await calling.call("write", {}) for _ in range(4)]

    assert {(reply.kind, reply.code) for reply in found} == {("auth", "reauthorise")}
    assert len(odd.seen) == 1


CODE = """kind = "oauth2_code"
token_url = "{oracle}/token"
authorize_url = "{oracle}/authorize"
scopes = ["jobs", "hours"]
"""


async def test_a_person_signs_in_with_a_code(trial: Trial, odd: Odd, oracle: str, http: Http) -> None:
    """Code and verifier become a pair of tokens, the pair is used, and is renewed by its refresh token."""
    text = signing_in(CODE.format(oracle=oracle))
    calling = await trial.connector(text, odd.url, client_id="c-1", client_secret="cs-1")
    auth = manifest_file.parse(text).auth
    assert isinstance(auth, OAuth2Code)
    names: dict[str, Any] = {"config": {}, "auth": {"client_id": "c-1", "client_secret": "cs-1"}}
    back = "http://127.0.0.1:9/callback"
    begun = code.begun(auth, names, back, state="s-1", verifier="v" * 64)

    async with httpx.AsyncClient() as browser:
        sent = await browser.get(begun.url)
    query = parse_qs(urlsplit(sent.headers["location"]).query)
    wrong = await tokens.with_code(auth, names, http, code=query["code"][0], verifier="w" * 64, redirect_uri=back)
    async with httpx.AsyncClient() as browser:
        sent = await browser.get(begun.url)
    query = parse_qs(urlsplit(sent.headers["location"]).query)
    granted = await tokens.with_code(
        auth, names, http, code=query["code"][0], verifier=begun.verifier, redirect_uri=back
    )

    assert query["state"] == ["s-1"]
    assert not isinstance(wrong, Granted)
    assert isinstance(granted, Granted)
    assert granted.refresh_token
    assert trial.connection is not None
    place = (trial.connection.tenant_id, trial.connection.connection)
    await trial.keeper.put(*place, names["auth"], granted)
    first = await calling.verify()
    odd.answers = [Says(401, {})]
    second = await calling.verify()
    shown = [seen.headers["authorization"] for seen in odd.seen]
    assert (first.kind, second.kind) == ("ok", "ok")
    assert shown[0] == shown[1] == f"Bearer {granted.token}"
    kept = await trial.keeper.read(*place)
    assert kept is not None
    assert kept.refresh_token != granted.refresh_token
    assert shown[2] == f"Bearer {kept.token}"


async def test_a_program_signs_in_for_itself(trial: Trial, odd: Odd, oracle: str) -> None:
    """Client credentials are traded for a token at the first call, once for many."""
    table = f'kind = "client_credentials"\ntoken_url = "{oracle}/token"\nscopes = ["all"]'
    calling = await trial.connector(signing_in(table), odd.url, client_id="c 1", client_secret="s&1")

    found = [await calling.verify() for _ in range(3)]

    assert {reply.kind for reply in found} == {"ok"}
    assert len({seen.headers["authorization"] for seen in odd.seen}) == 1


JWT = """kind = "jwt_bearer"
token_url = "{oracle}/token"
issuer = "${{auth.client_id}}"
subject = "${{config.url}}"
audience = "{oracle}"
"""


async def test_a_signed_statement_is_traded_for_a_token(trial: Trial, odd: Odd, oracle: str, http: Http) -> None:
    """The statement bears the right claims and a signature that another library finds good."""
    text = signing_in(JWT.format(oracle=oracle))
    calling = await trial.connector(text, odd.url, client_id="c-1", private_key=PRIVATE)
    auth = manifest_file.parse(text).auth
    assert isinstance(auth, JwtBearer)

    reply = await calling.verify()
    stranger = rsa.generate_private_key(65_537, 2_048)
    pem = stranger.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    names = {"config": {"url": odd.url}, "auth": {"client_id": "c-1", "private_key": pem}}
    refused = await tokens.with_statement(auth, names, http, now_s=1_795_000_000, statement_id="j")
    names["auth"]["private_key"] = "no key"
    useless = await tokens.with_statement(auth, names, http, now_s=1_795_000_000, statement_id="j")

    assert reply.kind == "ok"
    assert isinstance(refused, Refused)
    assert refused.message == "the signature is not good"
    assert isinstance(useless, Refused)
    assert useless.code == "bad_private_key"


async def test_the_host_is_taken_from_the_token_answer(trial: Trial, odd: Odd) -> None:
    """Where a vendor says with the token which host to use, that one is used from then on."""
    text = signing_in(
        f'kind = "client_credentials"\ntoken_url = "{odd.url}/token"\nhost_from = "instance_url"'
    ).replace('base_url = "${config.url}"', 'base_url = "${auth.host}/v1"')
    odd.usual = {"/token": Says(200, {"access_token": "t-1", "instance_url": odd.url})}
    calling = await trial.connector(text, "http://127.0.0.1:9", client_id="c", client_secret="s")

    reply = await calling.verify()

    assert reply.kind == "ok"
    assert [seen.path for seen in odd.seen] == ["/token", "/v1/ping"]


@pytest.mark.parametrize("place", ["basic", "body"])
async def test_how_the_program_names_itself(trial: Trial, odd: Odd, place: str) -> None:
    """In the header or in the body, as the issuer wants it; escaped as forms are."""
    table = f'kind = "client_credentials"\ntoken_url = "{odd.url}/token"\nclient = "{place}"'
    odd.usual = {"/token": Says(200, {"access_token": "t-1"})}
    calling = await trial.connector(signing_in(table), odd.url, client_id="c 1", client_secret="s:1")

    await calling.verify()

    asked = odd.seen[0]
    named = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
    basic = base64.b64encode(b"c+1:s%3A1").decode()
    assert asked.headers.get("authorization") == (f"Basic {basic}" if place == "basic" else None)
    assert named.get("client_secret") == (None if place == "basic" else "s:1")


async def test_a_certificate_shows_who_we_are(trial: Trial, tmp_path: Path) -> None:
    """With the certificate we are let in; without one, or with a stranger's, or at a strange server, we are not."""
    ours, strangers, vendor = Authority("ours"), Authority("strangers"), Odd()
    certificate, key = ours.give("fieldsync")
    foreign = strangers.give("fieldsync")
    options = certificates.server_options(tmp_path, ours, ours)
    async with token_house.serving(vendor, **options) as url:
        good = {"certificate": certificate, "private_key": key, "authority": ours.certificate}
        text = signing_in('kind = "mtls"')
        let_in = await (await trial.connector(text, url, **good)).verify()
        shut_out = [
            await (await trial.connector(text, url, **{**good, **bad})).verify()
            for bad in (
                {"certificate": foreign[0], "private_key": foreign[1]},
                {"authority": strangers.certificate},
                {"private_key": foreign[1]},
            )
        ]
        nobody = await (await trial.connector(signing_in('kind = "none"'), url, authority=ours.certificate)).verify()

    assert let_in.kind == "ok"
    assert [reply.kind for reply in shut_out] == ["transient", "transient", "config"]
    assert nobody.kind == "transient"
    assert len(vendor.seen) == 1


async def test_a_certificate_tells_when_it_ends(trial: Trial, odd: Odd) -> None:
    """The end of a client certificate is known as soon as it is given."""
    certificate, key = Authority("ours").give("fieldsync", days=12)
    await trial.connector(signing_in('kind = "mtls"'), odd.url, certificate=certificate, private_key=key)
    assert trial.connection is not None

    (found,) = await trial.keeper.expiries([trial.connection.tenant_id])

    assert found.kind == "certificate"
    assert 11 * 86_400 < found.seconds <= 12 * 86_400


def test_what_has_to_be_given_is_named() -> None:
    """What is missing for a way of signing in is named before anything is sent."""
    auth = manifest_file.parse(signing_in('kind = "oauth1"')).auth

    with pytest.raises(BadConnection, match="consumer_secret, token_secret"):
        signing.require(auth, {"consumer_key": "a", "token_id": "b"})
    assert signing.missing(auth, KEYS) == ()
