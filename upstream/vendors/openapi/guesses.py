"""What a document says without saying it: how one signs in, how a list is paged, where an id stands.

A guess is put into the manifest as if a person had written it, to be read and changed there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from upstream import openapi
from upstream.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


def auth(document: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Return how one signs in, as a table of a manifest: by the scheme of this name, or the first there is."""
    schemes = _table(_table(document.get("components")).get("securitySchemes") or document.get("securityDefinitions"))
    if not schemes:
        return {"kind": "none"}
    if name and name not in schemes:
        raise Unreadable(f"the document has no way of signing in {name!r} (there are: {', '.join(schemes)})")
    found = openapi.resolved(document, schemes[name or next(iter(schemes))])
    kind = str(found.get("type", "")).lower()
    if kind == "apikey":
        place = "header" if found.get("in") == "header" else "query"
        return {"kind": "api_key", "name": str(found.get("name", "")), "place": place}
    if kind == "basic" or (kind == "http" and str(found.get("scheme", "")).lower() == "basic"):
        return {"kind": "basic"}
    if kind == "oauth2":
        return _oauth2(found)
    if kind == "mutualtls":
        return {"kind": "mtls"}
    if kind == "openidconnect":
        raise Unreadable("the document leads to an OpenID page; give auth with its authorize_url and token_url")
    return {"kind": "bearer"}


def _oauth2(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flow for a person if there is one, else that for a program."""
    flows = _table(found.get("flows"))
    code = _table(flows.get("authorizationCode"))
    if found.get("flow") == "accessCode":
        code = dict(found)
    if code:
        places = {"authorize_url": code.get("authorizationUrl", ""), "token_url": code.get("tokenUrl", "")}
        return {"kind": "oauth2_code", **places, "scopes": [*_table(code.get("scopes"))]}
    program = _table(flows.get("clientCredentials")) or (dict(found) if found.get("flow") == "application" else {})
    if program.get("tokenUrl"):
        return {
            "kind": "client_credentials",
            "token_url": program["tokenUrl"],
            "scopes": [*_table(program.get("scopes"))],
        }
    raise Unreadable("the document's way of signing in is one that no service can use; give auth")


def base_url(document: Mapping[str, Any]) -> str:
    """Return where the system is; empty if the document does not say it whole."""
    servers = document.get("servers")
    if isinstance(servers, list) and servers:
        found = _table(servers[0])
        url = str(found.get("url", ""))
        for name, variable in _table(found.get("variables")).items():
            url = url.replace(f"{{{name}}}", str(_table(variable).get("default", f"{{{name}}}")))
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


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
