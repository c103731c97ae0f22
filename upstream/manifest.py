"""What a system is and how it is spoken to, as data: one typed TOML file for each system.

A manifest says how to sign in, where the hosts are, which operations there are, how lists are paged,
how an error is told from another, how much may be asked in which time, and, for each object that is
written, how it is found out whether a write whose answer was lost has happened. One engine carries
all of it out (`upstream.connector`); a hook in Python stands beside a manifest only where a system
is odd.

Texts may have holes: `${config.realm}` is filled from the connection, `${auth.token}` from the
sign-in, `${value.id}` from what an operation is given. `upstream.holes` fills them.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

Grade: TypeAlias = Literal["A", "A-", "B", "B-", "C", "D"]
ReplyKind: TypeAlias = Literal[
    "ok",
    "not_found",
    "throttled",
    "transient",
    "unknown",
    "auth",
    "config",
    "data",
    "conflict",
    "duplicate",
    "gone",
    "locked",
]
WriteClass: TypeAlias = Literal["native", "upsert", "versioned", "search", "none"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: a key that nobody knows is a slip of the pen, and never without effect."""


# Signing in.


class NoAuth(_Table, frozen=True, kw_only=True, tag_field="kind", tag="none"):
    """Nobody is asked who they are."""


class ApiKey(_Table, frozen=True, kw_only=True, tag_field="kind", tag="api_key"):
    """A key in a header or in the query; `prefix` stands before it."""

    name: str
    place: Literal["header", "query"] = "header"
    prefix: str = ""


class Basic(_Table, frozen=True, kw_only=True, tag_field="kind", tag="basic"):
    """User name and password, by default those of the credentials."""

    user: str = "${auth.user}"
    password: str = "${auth.password}"  # noqa: S105  (a hole, no password)


class Bearer(_Table, frozen=True, kw_only=True, tag_field="kind", tag="bearer"):
    """A token that does not change."""


class _OAuth2(_Table, frozen=True, kw_only=True):
    token_url: str
    scopes: tuple[str, ...] = ()
    client: Literal["basic", "body"] = "basic"
    """Whether the client names itself in the header or in the body of a token request."""
    params: dict[str, str] = {}
    """What a token request says besides."""
    token_seconds: int = 3_600
    """How long a token is good where the answer does not say."""
    host_from: str = ""
    """Path in the token answer of the host to be used from then on."""


class OAuth2Code(_OAuth2, frozen=True, kw_only=True, tag_field="kind", tag="oauth2_code"):
    """Authorisation code with PKCE, then a refresh token, which may be good only once."""

    authorize_url: str
    rotates: bool = True
    refresh_days: int = 0
    """How long a refresh token is good; 0: not known."""
    brings: dict[str, str] = {}
    """What a person comes back with beside the code, by its name there, and which setting each of it is."""


class ClientCredentials(_OAuth2, frozen=True, kw_only=True, tag_field="kind", tag="client_credentials"):
    """A token for the program itself."""


class JwtBearer(_OAuth2, frozen=True, kw_only=True, tag_field="kind", tag="jwt_bearer"):
    """A token for a signed statement (RFC 7523)."""

    issuer: str
    subject: str
    audience: str
    algorithm: Literal["RS256", "PS256", "ES256"] = "RS256"
    seconds: int = 180
    as_client: bool = False
    """Whether the statement says which program asks (client assertion), rather than for whom."""


class OAuth1(_Table, frozen=True, kw_only=True, tag_field="kind", tag="oauth1"):
    """Each request signed with two secrets (token-based authentication, RFC 5849)."""

    realm: str = ""
    method: Literal["HMAC-SHA256", "HMAC-SHA1"] = "HMAC-SHA256"


class Session(_Table, frozen=True, kw_only=True, tag_field="kind", tag="session"):
    """A login that answers with something to show at each request."""

    operation: str
    token: str
    name: str
    place: Literal["header", "cookie", "query", "body"] = "header"
    prefix: str = ""
    seconds: int = 3_600


class Mtls(_Table, frozen=True, kw_only=True, tag_field="kind", tag="mtls"):
    """A client certificate, and on top of it a token by client credentials where there is a URL."""

    token_url: str = ""
    scopes: tuple[str, ...] = ()
    token_seconds: int = 3_600


Auth: TypeAlias = (
    NoAuth | ApiKey | Basic | Bearer | OAuth2Code | ClientCredentials | JwtBearer | OAuth1 | Session | Mtls
)

# Operations.


class Single(_Table, frozen=True, kw_only=True, tag_field="kind", tag="single"):
    """There is one page."""


class ByCursor(_Table, frozen=True, kw_only=True, tag_field="kind", tag="cursor"):
    """The answer has a cursor at `next`, which goes into the query, or the body at the path `param`."""

    param: str
    next: str
    place: Literal["query", "body"] = "query"


class ByUrl(_Table, frozen=True, kw_only=True, tag_field="kind", tag="next_url"):
    """The answer has the address of the next page at `next`."""

    next: str


class ByLink(_Table, frozen=True, kw_only=True, tag_field="kind", tag="link"):
    """The header `Link` has the next page (RFC 8288)."""


class ByOffset(_Table, frozen=True, kw_only=True, tag_field="kind", tag="offset"):
    """`param` counts rows from `first`, `size_param` says how many; a short page is the last.

    Where the two stand inside of a text, `param` is empty and the text has `${page.at}` and `${page.size}`.
    """

    param: str = ""
    size_param: str = ""
    size: int
    first: int = 0
    overlap: int = 0
    """So many rows of a page are read again with the next: a row that moves to the end, or goes, while a list is read
    brings those behind it forward, and they would stand on no page."""


class ByPage(_Table, frozen=True, kw_only=True, tag_field="kind", tag="page"):
    """`param` counts pages from `first`; a short page, or the one that a header names, is the last."""

    param: str
    size_param: str = ""
    size: int
    first: int = 1
    last_header: str = ""


Pagination: TypeAlias = Single | ByCursor | ByUrl | ByLink | ByOffset | ByPage


class Handle(_Table, frozen=True, kw_only=True):
    """Where the key goes by which the vendor knows a repeated request."""

    place: Literal["header", "query", "body"]
    name: str


class Body(_Table, frozen=True, kw_only=True):
    """How the fields become a body: the encoding, the path they stand under, what is added.

    `leave_out` names fields that only fill holes; `item_add` is put into the object itself, `add`
    into the whole that it stands in.
    """

    kind: Literal["json", "form", "none"] = "json"
    under: str = ""
    in_list: bool = False
    leave_out: tuple[str, ...] = ()
    item_add: dict[str, Any] = {}
    add: dict[str, Any] = {}


class Answer(_Table, frozen=True, kw_only=True):
    """Where in an answer things stand, as paths with dots; a number is a place in a list."""

    item: str = ""
    items: str = ""
    id: str = ""
    version: str = ""
    version_header: str = ""


class Operation(_Table, frozen=True, kw_only=True):
    """One call. `effect` says whether it changes something there: only then an answer may be missed."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    effect: Literal["read", "write"]
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: Body = Body(kind="none")
    success: tuple[int, ...] = (200, 201, 202, 204)
    answer: Answer = Answer()
    pagination: Pagination = Single()
    handle: Handle | None = None
    budgets: tuple[str, ...] = ()
    cost: int = 1
    seconds: float = 30.0
    quotes: Literal["backslash", "doubled"] = "backslash"
    """How a single quote inside of single quotes is written there, for texts that are a query language."""


class Target(_Table, frozen=True, kw_only=True):
    """An object that is written there, and how it is made sure that it is written once.

    Classes: `native`, the vendor knows a repeated key; `upsert`, it is addressed by our own key;
    `versioned`, a write names the version that it replaces; `search`, it carries a mark by which it
    can be found; `none`, nothing can be found out, so a person decides.
    """

    write: WriteClass
    create: str = ""
    update: str = ""
    read: str = ""
    find: str = ""
    void: str = ""
    marker: str = ""
    """Path in the fields of the mark by which a written object is known again."""
    natural_key: str = ""
    """Path in the fields of what must be unique there: the second guard beside the first."""
    compare: tuple[str, ...] = ()
    """Paths that say whether what stands there is what was sent; none: all that was sent. A change of something else
    makes no late object."""
    clears: Literal["no", "null", "empty"] = "no"
    """How a field that was told is emptied, at a system that keeps what an update does not name: by null, by an empty
    text. `no`: what is not named is gone by that."""
    index_lag_seconds: float = 0.0
    requires: tuple[str, ...] = ()
    """Objects that must be there before, if what is written names them."""
    period: str = ""
    """Path in the fields of the first day of a period: where the vendor says `locked`, all of that period is closed."""


# Errors, budgets, time.


class ErrorRule(_Table, frozen=True, kw_only=True):
    """What an answer means: the first rule that fits decides. Without a status: any."""

    kind: ReplyKind
    status: tuple[int, ...] = ()
    path: str = ""
    equals: tuple[str, ...] = ()
    contains: str = ""
    wait_seconds: float = 0.0


class ErrorPlaces(_Table, frozen=True, kw_only=True):
    """Where an error's code, message and fields stand in the body."""

    code: str = ""
    message: str = ""
    fields: str = ""


class Budget(_Table, frozen=True, kw_only=True):
    """How much may be asked: `limit` units in `window_seconds`, and how many calls at once.

    The headers, where the vendor sends them, correct the own count. `reset` is what its header
    gives: seconds from now, or a time in seconds since 1970. `usage_header` has used/limit in one.
    """

    limit: int = 0
    window_seconds: float = 60.0
    concurrency: int = 0
    scope: Literal["connection", "system"] = "connection"
    remaining_header: str = ""
    limit_header: str = ""
    usage_header: str = ""
    reset_header: str = ""
    reset: Literal["seconds", "epoch"] = "seconds"
    throttled_seconds: float = 60.0
    adapts: bool = False
    """Whether the true limit is not published and has to be felt for."""


class TimeRule(_Table, frozen=True, kw_only=True):
    """How a field says when. `zone` says which one a time without an offset is in."""

    kind: Literal["instant", "local", "date", "duration"]
    format: str = "iso"
    zone: Literal["utc", "config", "site"] = "utc"
    gap: Literal["later", "earlier"] = "later"
    fold: Literal["first", "second"] = "first"


# What comes in.


class Webhook(_Table, frozen=True, kw_only=True):
    """How the vendor's calls are verified, and what is in them.

    The signature is over the raw bytes; `signed` says what is signed, with holes `body`, `timestamp`
    and `url`. `key_form` is how the shared secret is written down.
    """

    verify: Literal["hmac-sha256", "hmac-sha1", "basic", "token", "ecdsa", "standard"]
    header: str = ""
    prefix: str = ""
    encoding: Literal["hex", "base64"] = "hex"
    signed: str = "${body}"
    key_form: Literal["text", "hex", "base64"] = "text"
    timestamp_header: str = ""
    tolerance_seconds: int = 300
    items: str = ""
    """Path of the list of events, a `*` standing for each item on the way; empty: the body is one event."""
    event_id: str = ""
    object: str = ""
    objects: dict[str, str] = {}
    """Which object the vendor's word for a kind of event means; a word that is not here is the object's name."""
    remote_id: str = ""
    version: str = ""
    record: str = ""
    """Path in an event of the whole record, where it brings it along."""
    handshake: Literal["none", "echo", "token"] = "none"
    handshake_path: str = ""
    """Where what is to be given back, or the new secret, stands: `header:Name`, `query:name`, or a path in the body."""
    handshake_answer: str = ""
    """Where it is given back: `header:Name`, a path in a JSON body, or empty for a body of nothing else."""
    confirm: str = ""
    """The operation that tells the vendor the secret of its handshake, and so shows that it was the vendor's."""
    fetch: dict[str, str] = {}
    """Which operation gets the record that a thin event of an object names."""


class Incremental(_Table, frozen=True, kw_only=True):
    """How what changed since a time is asked for, and how much is asked for again each time."""

    operation: str
    since: str
    """The value that the operation is given the time as."""
    format: str = "iso"
    modified: str = ""
    id: str = "id"
    version: str = ""
    overlap_seconds: int = 300
    seconds: int = 60
    """How often it is asked for while nothing else brings changes."""
    calm_seconds: int = 3_600
    """How often while webhooks bring them: to notice when they stop."""


class Discovery(_Table, frozen=True, kw_only=True):
    """How the fields of an object are found out.

    `describe` and `metadata`: a call lists them, and `fields` is where; `sample`: a call gives records,
    and `fields` is where they are; `openapi`: from the request that `describes` sends, as the vendor's
    OpenAPI document has it, which `operation` gets where it is not the connection's own.

    `required` and `writable` are paths of a yes or no, with `!` before them of its opposite; `choices`
    is a path with `*` for each of a list. `types` says what the vendor's names of types mean.
    """

    kind: Literal["describe", "metadata", "sample", "openapi"] = "describe"
    operation: str = ""
    describes: str = ""
    fields: str = ""
    name: str = "name"
    type: str = "type"
    required: str = ""
    writable: str = ""
    choices: str = ""
    types: dict[str, str] = {}


class Config(_Table, frozen=True, kw_only=True):
    """A setting of each connection that the holes may name."""

    title: str
    required: bool = True
    default: str = ""


class Manifest(_Table, frozen=True, kw_only=True):
    """One system."""

    system: str
    title: str
    grade: Grade
    authority: Literal["crm", "erp", "payroll", "telematics", "portal"] = "portal"
    """The class in which its own edits are judged, unless a connection says otherwise."""
    base_url: str
    auth: Auth
    config: dict[str, Config] = {}
    operations: dict[str, Operation]
    targets: dict[str, Target] = {}
    sources: dict[str, Incremental] = {}
    discovery: dict[str, Discovery] = {}
    errors: tuple[ErrorRule, ...] = ()
    error: ErrorPlaces = ErrorPlaces()
    budgets: dict[str, Budget] = {}
    time: dict[str, TimeRule] = {}
    webhook: Webhook | None = None
    verify: str
    """The cheap call by which a connection is checked, and a vendor that was down is asked again."""

    @property
    def is_assumed(self) -> bool:
        """Whether it rests on what is known of the system at second hand."""
        return self.grade in ("C", "D")


NEEDED: Final[dict[WriteClass, tuple[str, ...]]] = {
    "native": ("create", "find"),
    "upsert": ("create",),
    "versioned": ("create", "update", "read"),
    "search": ("create", "find", "marker"),
    "none": ("create",),
}
"""What each class of write cannot do without."""
