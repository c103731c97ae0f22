"""The office signs in at its own issuer: what is believed, what is not, and what a session may do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from syncserver.commands import signin
from syncserver.commands.errors import SignInInvalid
from syncserver.store import signins
from tests.integration.service import Service, problem, uid
from tests.integration.signing import Browser, configure, noted
from tests.peers import issuer as peer
from tests.peers.issuer import SECRET, Issuer

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_the_office_signs_in_works_and_signs_out(service: Service, issuer: Issuer, browser: Browser) -> None:
    """A session opens what its role may do, by cookie and by bearer, and nothing once it is over."""
    answer = await browser.sign_in(return_to="/docs")

    assert (answer.status_code, answer.headers["location"]) == (302, "/docs")
    assert answer.headers["cache-control"] == "no-store"
    cookies = answer.headers.get_list("set-cookie")
    assert all("httponly" in each.lower() and "samesite=lax" in each.lower() for each in cookies)
    session = await browser.session()
    assert (session["role"], session["name"], session["kind"]) == ("dispatcher", "Olga Issuer", "session")
    assert (session["tenant"], await noted(service)) == (service.tenant, [(session["person"], "done")])
    made = await browser.client.post("/v1/work_orders", json={"id": uid(1)}, headers=await browser.csrf())
    assert made.status_code == 200
    cookie = browser.client.cookies["fieldsync"]
    assert (await service.client(cookie).get(f"/v1/work_orders/{uid(1)}")).status_code == 200

    over = await browser.client.post("/v1/auth/logout", headers=await browser.csrf())

    assert over.json() == {"signed_out": True}
    assert problem(await service.client(cookie).get("/v1/work_orders")) == (401, "unauthenticated")
    assert problem(await browser.client.get("/v1/auth/session")) == (401, "unauthenticated")
    assert await noted(service, "sign_out") == [(session["person"], "done")]
    assert len(issuer.tokens) == 1


async def test_what_is_asked_of_the_issuer_is_fresh_each_time(browser: Browser) -> None:
    """State, nonce and challenge are never the same, and the secret does not travel with the browser."""
    asked = [parse_qs(urlsplit(await browser.leave()).query) for _ in range(2)]

    for name in ("state", "nonce", "code_challenge"):
        (one,), (other,) = (query[name] for query in asked)
        assert one != other
        assert len(one) >= 32
    assert SECRET not in str(asked)
    assert asked[0]["redirect_uri"] == [f"{browser.service.url}/v1/auth/callback/{browser.service.tenant}"]


LIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another issuer": lambda claims: {**claims, "iss": "https://elsewhere.example"},
    "for somebody else": lambda claims: {**claims, "aud": "another"},
    "for several, not named": lambda claims: {**claims, "aud": ["fieldsync", "another"]},
    "for several, another named": lambda claims: {**claims, "aud": ["fieldsync", "x"], "azp": "x"},
    "another party named": lambda claims: {**claims, "azp": "another"},
    "too old": lambda claims: {**claims, "exp": claims["iat"] - 31},
    "of long ago": lambda claims: {**claims, "iat": claims["iat"] - 3_600},
    "of the future": lambda claims: {**claims, "iat": claims["iat"] + 120},
    "not yet": lambda claims: {**claims, "nbf": claims["iat"] + 120},
    "wrong nonce": lambda claims: {**claims, "nonce": "n" * 32},
    "no nonce": lambda claims: {name: value for name, value in claims.items() if name != "nonce"},
    "no end": lambda claims: {name: value for name, value in claims.items() if name != "exp"},
    "no subject": lambda claims: {**claims, "sub": ""},
    "a subject of another kind": lambda claims: {**claims, "sub": 17},
    "an end in words": lambda claims: {**claims, "exp": "tomorrow"},
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_token_that_is_not_for_this_sign_in_is_not_believed(
    service: Service, issuer: Issuer, browser: Browser, lie: str
) -> None:
    """Each claim is checked: no session, a code that says so, and a row in the audit log."""
    issuer.change = LIES[lie]

    answer = await browser.sign_in()

    assert problem(answer) == (401, "signin_untrusted")
    assert "fieldsync" not in browser.client.cookies
    assert await noted(service) == [(None, "signin_untrusted")]


FORGERIES: dict[str, Callable[[dict[str, Any]], str]] = {
    "no signature": peer.unsigned,
    "the public key as a shared secret": peer.shared_secret,
    "another key under the same name": lambda claims: peer.KEYS[2].sign(claims, kid="k1"),
    "a key that nobody published": peer.KEYS[2].sign,
    "a changed payload": lambda claims: ".".join(
        [(parts := peer.KEYS[0].sign(claims).split("."))[0], parts[1][:-8] + "AAAAAAAA", parts[2]]
    ),
    "demands that nobody understands": lambda claims: peer.KEYS[0].sign(claims, crit=["b64"], b64=True),
    "a key of its own": lambda claims: peer.KEYS[2].sign(claims, kid="k9", jwk=peer.KEYS[2].public()),
    "no token at all": lambda _claims: "not.a.token",
    "one part": lambda _claims: "x",
    "endless": lambda claims: peer.KEYS[0].sign({**claims, "padding": "x" * 20_000}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_is_not_believed(issuer: Issuer, browser: Browser, forgery: str) -> None:
    """Only what the issuer's own published key signed, in an allowed way, counts."""
    issuer.sign = FORGERIES[forgery]

    assert problem(await browser.sign_in()) == (401, "signin_untrusted")


async def test_small_differences_of_clocks_are_borne(issuer: Issuer, browser: Browser) -> None:
    """Half a minute either way is no reason to turn somebody away."""
    issuer.change = lambda claims: {**claims, "iat": claims["iat"] + 20, "nbf": claims["iat"] + 20}
    assert (await browser.sign_in()).status_code == 302

    issuer.change = lambda claims: {**claims, "exp": claims["iat"] - 20}
    assert (await browser.sign_in()).status_code == 302


async def test_keys_that_the_issuer_changed_are_fetched_once(issuer: Issuer, browser: Browser) -> None:
    """A new key is believed at the next sign-in; made-up names of keys do not make us knock each time."""
    assert (await browser.sign_in()).status_code == 302
    issuer.rotate()

    assert (await browser.sign_in()).status_code == 302
    issuer.sign = peer.KEYS[2].sign
    told = {problem(await browser.sign_in()) for _ in range(3)}

    assert told == {(401, "signin_untrusted")}
    assert issuer.asked.count("/jwks") == 2
    assert issuer.asked.count("/.well-known/openid-configuration") == 2  # once when it was set up


async def test_elliptic_curves_are_taken_where_they_are_allowed(issuer: Issuer, browser: Browser) -> None:
    """ES256 works like RS256 for a tenant that allows it."""
    issuer.signer = peer.Signer("e1", "ES256")
    issuer.published = [issuer.signer]

    assert (await browser.sign_in()).status_code == 302


async def test_an_allowed_way_of_signing_is_not_allowed_everywhere(
    service: Service, issuer: Issuer, browser: Browser
) -> None:
    """What another tenant takes is refused where the configuration does not name it."""
    issuer.signer = peer.Signer("e1", "ES256")
    issuer.published = [issuer.signer]
    await configure(service.database, service.tenant, issuer, service.url, algorithms=("RS256",))

    assert problem(await browser.sign_in()) == (401, "signin_untrusted")


@pytest.mark.parametrize(
    "parts", [{"n": 5}, {"n": None}, {"e": []}, {"n": "?" * 400}, {"e": ""}, {"kty": "oct", "k": "AA"}, {"kid": 5}]
)
async def test_keys_that_are_none_are_no_mistake_of_ours(
    issuer: Issuer, browser: Browser, parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an issuer publishes in place of a key, the answer says that nothing could be believed."""
    monkeypatch.setattr(issuer.signer, "public", lambda: {**peer.Signer.public(issuer.signer), **parts})

    assert problem(await browser.sign_in()) == (401, "signin_untrusted")


async def test_a_short_key_is_not_believed(issuer: Issuer, browser: Browser) -> None:
    """An RSA key below 2,048 bits signs nothing here."""
    with pytest.warns(Warning, match="2048"):
        issuer.signer = peer.Signer("short", bits=1_024)
    issuer.published = [issuer.signer]
    issuer.sign = lambda claims: peer.Signer.sign(issuer.signer, claims)

    assert problem(await browser.sign_in()) == (401, "signin_untrusted")


@pytest.mark.parametrize("path", ["/jwks", "/token"])
@pytest.mark.parametrize("status", [500, 404, 302])
async def test_an_issuer_that_fails_is_told_as_that(
    service: Service, issuer: Issuer, browser: Browser, path: str, status: int
) -> None:
    """Its outage is no fault of the person, and a redirect is not followed."""
    issuer.status = {path: status}

    assert problem(await browser.sign_in()) == (502, "signin_issuer_failed")
    assert await noted(service) == [(None, "signin_issuer_failed")]


async def test_an_issuer_that_is_away_is_told_before_anybody_is_sent_there(service: Service) -> None:
    """Who begins to sign in is not sent to an address that nobody answers."""
    async with peer.running() as issuer:
        await configure(service.database, service.tenant, issuer, service.url)

    answer = await service.client().get("/v1/auth/signin", params={"tenant": str(service.tenant)})

    assert problem(answer) == (502, "signin_issuer_failed")


async def test_an_issuer_that_says_no(service: Service, issuer: Issuer, browser: Browser) -> None:
    """A person who is not let in there is not let in here."""
    issuer.denies = True

    assert problem(await browser.sign_in()) == (403, "signin_denied")
    assert await noted(service) == [(None, "signin_denied")]


async def test_the_answer_of_another_issuer_is_not_taken(issuer: Issuer, browser: Browser) -> None:
    """An issuer that names itself in its answer has to be the one that was asked."""
    issuer.iss = "https://elsewhere.example"
    assert problem(await browser.sign_in()) == (401, "signin_untrusted")

    issuer.iss = issuer.url
    assert (await browser.sign_in()).status_code == 302


async def test_an_issuer_that_names_itself_has_to(issuer: Issuer, browser: Browser) -> None:
    """Where its description says so, an answer without a name may be another issuer's."""
    issuer.metadata = {"authorization_response_iss_parameter_supported": True}
    assert problem(await browser.sign_in()) == (401, "signin_untrusted")

    issuer.iss = issuer.url
    assert (await browser.sign_in()).status_code == 302


class Thief(Issuer):
    """An issuer that sends people on to another one, and keeps the codes that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[str] = []

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Keep the code and give nothing for it."""
        self.codes.append(form["code"])
        return super().token(form, authorization)


@pytest.mark.usefixtures("browser")
async def test_an_issuer_cannot_have_a_code_of_another_one_brought_to_it(service: Service, issuer: Issuer) -> None:
    """Somebody who begins at a dishonest tenant's issuer and is sent to the honest one gives nothing away."""
    honest = service.tenant
    async with peer.running(Thief()) as thief:
        assert isinstance(thief, Thief)
        await configure(service.database, await service.add_tenant("Dishonest"), thief, service.url)
        victim = Browser(service)
        sent = _query(await victim.leave())
        thiefs = Browser(service)
        asked = _query(await thiefs.leave(tenant=str(honest)))

        back = issuer.authorize({**asked, "state": sent["state"]})
        told = await victim.come_back(back)

        assert sent["redirect_uri"] != asked["redirect_uri"]
        assert problem(told) == (400, "signin_broken")
        assert thief.codes == []
        assert "fieldsync" not in victim.client.cookies


def _query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.mark.parametrize("tenant", ["x", "-1", "1" * 10])
async def test_the_way_back_is_that_of_a_tenant(service: Service, tenant: str) -> None:
    """What is no number is refused; one that nobody set up has no sign-in."""
    client = service.client()

    assert problem(await client.get(f"/v1/auth/callback/{tenant}")) == (400, "bad_request")
    assert problem(await client.get("/v1/auth/callback/999999999")) == (404, "signin_not_configured")


async def test_an_answer_is_taken_in_the_browser_that_asked_and_only_once(
    service: Service, issuer: Issuer, browser: Browser
) -> None:
    """Another browser, a changed state, no state, and a second time: none of them gets in."""
    there = await browser.let_in(await browser.leave())
    other = Browser(service)
    await other.leave()

    told = {
        "no cookie": problem(await Browser(service).come_back(there)),
        "another's": problem(await other.come_back(there)),
        "no state": problem(await browser.come_back(there.replace("state=", "stat="))),
        "twice named": problem(await browser.come_back(f"{there}&state=x")),
    }
    assert (await browser.come_back(there)).status_code == 302
    told["again"] = problem(await browser.come_back(there))

    broken = (400, "signin_broken")
    assert told.pop("twice named") == (400, "bad_filter")
    assert set(told.values()) == {broken}
    assert len(issuer.tokens) == 1


async def test_a_cookie_that_was_tampered_with_begins_nothing(browser: Browser) -> None:
    """The sealed part of a sign-in opens only as it was made."""
    there = await browser.let_in(await browser.leave())
    kept = browser.client.cookies["fieldsync-signin"]

    for wrong in ("", "x", kept[:-6] + "AAAAA=", kept[:10], "A" * 400):
        browser.client.cookies.clear()
        browser.client.cookies.set("fieldsync-signin", wrong)
        assert problem(await browser.come_back(there)) == (400, "signin_broken")


@pytest.mark.parametrize(
    "return_to", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a b", "/a\tb", "/" + "a" * 500]
)
async def test_nobody_is_sent_to_another_site(browser: Browser, return_to: str) -> None:
    """After a sign-in a browser ends up on this service and nowhere else."""
    asked = {"tenant": str(browser.service.tenant), "return_to": return_to}

    assert problem(await browser.client.get("/v1/auth/signin", params=asked)) == (400, "bad_request")


@pytest.mark.parametrize("tenant", ["", "x", "-1", "1" * 10, "\u0661"])
async def test_a_tenant_is_a_number(service: Service, tenant: str) -> None:
    """What is none is refused; one that nobody set up has no sign-in."""
    client = service.client()

    assert problem(await client.get("/v1/auth/signin", params={"tenant": tenant})) == (400, "bad_request")
    unknown = await client.get("/v1/auth/signin", params={"tenant": "999999999"})
    assert problem(unknown) == (404, "signin_not_configured")


async def test_who_has_no_place_gets_no_session(service: Service, issuer: Issuer, browser: Browser) -> None:
    """No role, a role that a sign-in cannot give, another company's address, one that nobody verified."""
    await configure(service.database, service.tenant, issuer, service.url, domains=("Example.com",))
    strangers = [
        {"roles": []},
        {"roles": ["nobody"]},
        {"roles": "technician"},
        {"roles": {"planner": True}},
        {"email": "olga@example.com.evil.example"},
        {"email": "olga@evil.example"},
        {"email": "example.com"},
        {"email_verified": False},
        {"email_verified": "true"},
    ]

    told = []
    for claims in strangers:
        issuer.change = lambda given, claims=claims: {**given, **claims}
        told.append(problem(await browser.sign_in()))
    issuer.change = lambda given: {**given, "email": "Olga@EXAMPLE.com"}

    assert set(told) == {(403, "signin_not_allowed")}
    assert (await browser.sign_in()).status_code == 302


@pytest.mark.parametrize(
    ("claim", "claims", "role"),
    [
        ("roles", {"roles": "boss"}, "admin"),
        ("roles", {"roles": ["guest", "boss"]}, "admin"),
        ("realm_access.roles", {"realm_access": {"roles": ["guest"]}}, "readonly"),
        ("https://example.com/roles", {"https://example.com/roles": ["planner"]}, "dispatcher"),
    ],
)
async def test_the_first_role_that_fits_counts(
    service: Service, issuer: Issuer, browser: Browser, claim: str, claims: dict[str, Any], role: str
) -> None:
    """The claim may be a text, a list, a way through objects, or a name with dots in it."""
    await configure(service.database, service.tenant, issuer, service.url, role_claim=claim)
    issuer.person = {**peer.PERSON, **claims}

    await browser.sign_in()

    assert (await browser.session())["role"] == role


async def test_a_role_that_was_taken_away_is_gone_at_the_next_sign_in(issuer: Issuer, browser: Browser) -> None:
    """The role is the issuer's to say, each time."""
    await browser.sign_in()
    before = await browser.session()
    issuer.person = {**peer.PERSON, "name": "Olga Renamed", "roles": ["guest"]}

    await browser.sign_in()

    after = await browser.session()
    assert (before["role"], after["role"]) == ("dispatcher", "readonly")
    assert (before["person"], after["name"]) == (after["person"], "Olga Renamed")
    written = await browser.client.post("/v1/work_orders", json={}, headers=await browser.csrf())
    assert problem(written) == (403, "forbidden")


async def test_the_secret_is_sealed_and_taken_by_form_where_the_issuer_wants_it(
    service: Service, issuer: Issuer, browser: Browser
) -> None:
    """What the database holds is no secret; an issuer that takes no basic authentication gets a form."""
    found = await signins.find(service.database, service.tenant)
    assert found is not None
    assert SECRET.encode() not in found.secret
    issuer.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}

    assert (await browser.sign_in()).status_code == 302


@pytest.mark.parametrize(
    ("changed", "option"),
    [
        ({"issuer": "http://issuer.example.com"}, "--issuer"),
        ({"issuer": "ftp://issuer.example.com"}, "--issuer"),
        ({"issuer": "https://user:word@issuer.example.com"}, "--issuer"),
        ({"issuer": "https://issuer.example.com?x=1"}, "--issuer"),
        ({"issuer": "https://"}, "--issuer"),
        ({"public_url": "http://sync.example.com"}, "--public-url"),
        ({"public_url": "https://sync.example.com/deep"}, "--public-url"),
        ({"roles": ("planner",)}, "--role"),
        ({"roles": ("planner=technician",)}, "--role"),
        ({"domains": ("@example",)}, "--domain"),
        ({"algorithms": ("HS256",)}, "--algorithm"),
        ({"algorithms": ("none",)}, "--algorithm"),
        ({"algorithms": ("PS512",)}, "--algorithm"),
        ({"scopes": ("profile",)}, "--scope"),
        ({"client_id": ""}, "--client-id"),
        ({"role_claim": ""}, "--role-claim"),
        ({"secret": ""}, "--secret-file"),
    ],
)
async def test_a_sign_in_that_cannot_be_is_refused_by_the_name_of_its_option(
    service: Service, issuer: Issuer, changed: dict[str, Any], option: str
) -> None:
    """What is wrong is told before anything is kept."""
    with pytest.raises(SignInInvalid, match=f"^{option}: "):
        await configure(service.database, service.tenant, issuer, service.url, **changed)

    assert await signins.find(service.database, service.tenant) is None


async def test_failures_do_not_fill_the_audit_log(
    service: Service, issuer: Issuer, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has sign-ins fail all day leaves a bounded number of rows a minute."""
    monkeypatch.setattr(signin, "FAILURES_NOTED_PER_MINUTE", 2)
    issuer.denies = True
    begun = int(time.time() // 60)

    for _ in range(5):
        await browser.sign_in()

    minutes = int(time.time() // 60) - begun + 1
    assert 2 <= len(await noted(service)) <= 2 * minutes
