"""What a document says without saying it: how one signs in, how a list is paged, where an id stands.

A guess is put into the manifest as if a person had written it, to be read and changed there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from replication.catalog_sheet import did_you_mean
from upstream import openapi
from upstream.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

IDS: Final = ("id", "uuid", "Id", "ID", "key", "guid", "number")
VERSIONS: Final = ("version", "etag", "revision", "updated_at", "updatedAt", "modified_at", "lastModified")
LISTS: Final = ("data", "items", "results", "records", "value", "entries", "list")
CURSORS: Final = ("cursor", "after", "page_token", "pageToken", "starting_after", "next_token", "continuation")
NEXT_CURSORS: Final = ("next_cursor", "nextCursor", "next_page_token", "nextPageToken", "next_token", "cursor", "after")
NEXT_URLS: Final = ("next", "next_url", "nextUrl", "next_page_url", "@odata.nextLink", "nextLink", "nextRecordsUrl")
WRAPPED: Final = ("", "meta", "paging", "pagination", "links", "paging.next", "meta.pagination")
OFFSETS: Final = ("offset", "skip", "$skip", "start", "start_index")
PAGES: Final = ("page", "page_number", "pageNumber", "pageNo")
SIZES: Final = ("limit", "per_page", "perPage", "page_size", "pageSize", "size", "count", "$top", "max_results", "per")
SINCES: Final = (
    "updated_since",
    "modified_since",
    "changed_since",
    "updated_after",
    "modified_after",
    "since",
    "updatedSince",
)
PAGE_SIZE: Final = 100


def auth(document: Mapping[str, Any], name: str = "", operations: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return how one signs in, as a table of a manifest: by the scheme of this name, or the one that is asked for.

    `operations` are those that are used, that by which a connection is checked first: what they ask for counts.
    """
    known = schemes(document)
    if name and name not in known:
        hint = did_you_mean(name, [*known])
        raise Unreadable(
            f"the document has no way of signing in {name!r}{hint} (there are: {', '.join(known) or 'none'})"
        )
    chosen = name or _asked_for(document, known, operations)
    if not chosen:
        return {"kind": "none"}
    wanted = [scope for each in operations for scope in _scopes(document, each, chosen)]
    return of_scheme(chosen, known[chosen], list(dict.fromkeys(wanted)))


def schemes(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the ways of signing in that a document names."""
    found = openapi.as_table(document.get("components")).get("securitySchemes") or document.get("securityDefinitions")
    return {str(name): openapi.resolved(document, each) for name, each in openapi.as_table(found).items()}


def of_scheme(name: str, found: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
    """Return a way of signing in as a table of a manifest, or raise `Unreadable` if it cannot be spoken."""
    kind, scheme = (str(found.get(key, "")).lower() for key in ("type", "scheme"))
    if kind == "apikey":
        return _api_key(found)
    if kind == "basic" or (kind == "http" and scheme == "basic"):
        return {"kind": "basic"}
    if kind == "http" and scheme == "bearer":
        return {"kind": "bearer"}
    if kind == "oauth2":
        return _oauth2(found, scopes)
    if kind == "mutualtls":
        return {"kind": "mtls"}
    if kind == "openidconnect":
        raise Unreadable(f"{name} leads to an OpenID page; give auth as a table with its authorize_url and token_url")
    said = f"{kind or 'nothing'} {scheme}".strip()
    raise Unreadable(f"{name} is {said}, which is not spoken here; give auth as a table, or the name of another scheme")


def _api_key(found: Mapping[str, Any]) -> dict[str, Any]:
    name, place = str(found.get("name", "")), found.get("in")
    if place == "cookie":
        return {"kind": "api_key", "name": "Cookie", "place": "header", "prefix": f"{name}="}
    return {"kind": "api_key", "name": name, "place": "header" if place == "header" else "query"}


def _asked_for(document: Mapping[str, Any], known: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> str:
    """Return the scheme that the operations ask for; where they ask for none, the first there is."""
    asked = [each for each in (_requirements(document, found) for found in operations) if each]
    alternatives = asked[0] if asked else [[name] for name in known][:1]
    single = next((each[0] for each in alternatives if len(each) == 1 and each[0] in known), "")
    if alternatives and not single and any(alternatives):
        together = " and ".join(alternatives[0])
        raise Unreadable(f"{together} are asked for at once; name in auth the one by which we sign in")
    return single


def _requirements(document: Mapping[str, Any], operation: Mapping[str, Any]) -> list[list[str]]:
    found = operation.get("security", document.get("security"))
    return [list(openapi.as_table(each)) for each in (found if isinstance(found, list) else []) if each]


def _scopes(document: Mapping[str, Any], operation: Mapping[str, Any], scheme: str) -> list[str]:
    found = operation.get("security", document.get("security"))
    asked = [openapi.as_table(each).get(scheme) for each in (found if isinstance(found, list) else [])]
    return [str(scope) for scopes in asked if isinstance(scopes, list) for scope in scopes]


def _oauth2(found: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
    """Return the flow for a person if there is one, else that for a program; all scopes where none is asked for."""
    flows = openapi.as_table(found.get("flows"))
    code = openapi.as_table(flows.get("authorizationCode")) or (
        dict(found) if found.get("flow") == "accessCode" else {}
    )
    program = openapi.as_table(flows.get("clientCredentials")) or (
        dict(found) if found.get("flow") == "application" else {}
    )
    flow = code or program
    if not flow:
        there = ", ".join(map(str, flows)) or found.get("flow") or "none"
        raise Unreadable(f"its OAuth flows are for people at a keyboard ({there}); give auth as a table")
    made: dict[str, Any] = {"kind": "oauth2_code" if code else "client_credentials"}
    if code:
        made["authorize_url"] = _address(code, "authorizationUrl")
    made["token_url"] = _address(flow, "tokenUrl")
    return {**made, "scopes": scopes or [*openapi.as_table(flow.get("scopes"))]}


def _address(flow: Mapping[str, Any], key: str) -> str:
    url = str(flow.get(key, ""))
    if not url.startswith(("https://", "http://")):
        raise Unreadable(f"{key} is {url!r}, no whole address; give auth as a table with the whole one")
    return url


def base_url(document: Mapping[str, Any]) -> str:
    """Return where the system is; empty if the document does not say it whole."""
    servers = document.get("servers")
    if isinstance(servers, list) and servers:
        found = openapi.as_table(servers[0])
        url = str(found.get("url", ""))
        for name, variable in openapi.as_table(found.get("variables")).items():
            url = url.replace(f"{{{name}}}", str(openapi.as_table(variable).get("default", f"{{{name}}}")))
        return url if url.startswith("http") and "{" not in url else ""
    host = document.get("host")
    return f"https://{host}{str(document.get('basePath', '')).rstrip('/')}" if host else ""


def list_path(fields: Iterable[str]) -> str | None:
    """Return where in an answer the list stands; None if there is none."""
    paths = list(fields)
    if any(path.startswith("*.") or path == "*" for path in paths):
        return ""
    tops = [path.removesuffix(".*") for path in paths if path.endswith(".*")]
    tops += [path.partition(".*.")[0] for path in paths if ".*." in path]
    tops = list(dict.fromkeys(top for top in tops if "*" not in top))
    return next((top for name in LISTS for top in tops if top.rpartition(".")[2] == name), tops[0] if tops else None)


def pagination(query: Iterable[str], answer: Iterable[str], headers: Iterable[str]) -> dict[str, Any]:
    """Return how a list is paged, as a table of a manifest."""
    asked, fields = list(query), set(answer)
    size = _first(SIZES, asked)
    places = [(f"{place}.{name}" if place else name) for place in WRAPPED for name in NEXT_CURSORS]
    cursor, following = _first(CURSORS, asked), _first(places, fields)
    if cursor and following:
        return {"kind": "cursor", "param": cursor, "next": following}
    url = _first([(f"{place}.{name}" if place else name) for place in WRAPPED for name in NEXT_URLS], fields)
    if url:
        return {"kind": "next_url", "next": url}
    if any(name.lower() == "link" for name in headers):
        return {"kind": "link"}
    if offset := _first(OFFSETS, asked):
        return {"kind": "offset", "param": offset, "size": PAGE_SIZE, **({"size_param": size} if size else {})}
    if page := _first(PAGES, asked):
        return {"kind": "page", "param": page, "size": PAGE_SIZE, **({"size_param": size} if size else {})}
    return {"kind": "single"}


def field_named(names: Iterable[str], fields: Iterable[str], within: str = "") -> str:
    """Return the first of these names that stands in an object; empty if none does."""
    begins = f"{within}." if within else ""
    there = {path.removeprefix(begins) for path in fields if path.startswith(begins)}
    return _first(names, there)


def since(query: Iterable[str]) -> str:
    """Return the parameter for what has changed since a time; empty if there is none."""
    return _first(SINCES, list(query))


def _first(wanted: Iterable[str], there: Iterable[str]) -> str:
    found = set(there)
    return next((name for name in wanted if name in found), "")
