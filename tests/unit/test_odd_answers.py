"""What vendors say that nobody would mean: it is a reply, a refusal or no word at all, and nothing is raised."""

from __future__ import annotations

import msgspec
import pytest

from tests import manifests
from upstream import bucket, manifest_file, replies, vendors, verify
from upstream.auth import tokens
from upstream.calls import Answer
from upstream.credentials import Granted, NotNow
from upstream.manifest import Manifest

FAR: str = "Mon, 01 Jan 99999999999 00:00:00 GMT"
MANY: str = "1" * 5_000


def nested(levels: int) -> bytes:
    """Give lists that lie so deep within each other."""
    return b"[" * levels + b"]" * levels


def north(told: str = "") -> Manifest:
    """Give the manifest with more said of its budget."""
    return manifest_file.parse(manifests.TEXT.replace("limit = 500\n", f"limit = 500\n{told}\n", 1))


@pytest.mark.parametrize("levels", [replies.DEPTH_MAX + 1, 900, 50_000])
@pytest.mark.parametrize("name", ["make_bill", "find_bill"])
def test_an_answer_of_any_depth_is_a_reply(name, levels):
    """One that goes deeper than anything that is meant is read as the text that it is."""
    manifest = manifests.north()

    found = replies.read(manifest, manifest.operations[name], Answer(200, {}, nested(levels)), 0)

    assert found.body == nested(levels).decode()


def test_an_answer_that_is_as_deep_as_may_be_is_read():
    """What is within the limit is not text."""
    assert replies.decoded(nested(replies.DEPTH_MAX)) == msgspec.json.decode(nested(replies.DEPTH_MAX))


@pytest.mark.parametrize(("name", "kind"), [("create_customer", "unknown"), ("read_customer", "transient")])
def test_a_write_whose_answer_cannot_be_read_is_unknown(name, kind):
    """It may have been done; a look can be asked for again."""
    books = vendors.manifest("quickbooks")

    assert replies.read(books, books.operations[name], Answer(200, {}, nested(50_000)), 0).kind == kind


@pytest.mark.parametrize("said", ["9" * 400, MANY, FAR, "Thu, 01 Jan 0001 00:00:00 +2359"])
@pytest.mark.parametrize("header", ["retry-after", "date"])
def test_any_pause_that_is_asked_for_has_an_end(said, header):
    """However long a number is, and however far off a date."""
    headers = {"retry-after": "Thu, 01 Jan 2026 00:00:00 GMT", header: said}

    assert 0 <= replies.wait_ms(headers, 0) <= replies.WAIT_MS_MAX


@pytest.mark.parametrize("name", ["remaining_header", "limit_header", "reset_header"])
def test_a_number_of_many_digits_in_a_header_is_none(name):
    """It says nothing about the bucket, like a header that is not there."""
    budget = north(f'{name} = "left"').budgets["books"]

    assert bucket.heard(budget, {"left": MANY}, 0, ok=True, hold_ms=None) == bucket.Heard(ok=True)


@pytest.mark.parametrize("said", [f"{MANY}/500", f"500/{MANY}"])
def test_a_use_of_many_digits_is_none(said):
    """Neither what is used nor what there is."""
    budget = north('usage_header = "left"').budgets["books"]

    assert bucket.heard(budget, {"left": said}, 0, ok=True, hold_ms=None) == bucket.Heard(ok=True)


def test_a_window_that_begins_anew_in_years_is_waited_for_a_day():
    """An instant that is taken for a number of seconds holds nothing for ever."""
    budget = north('remaining_header = "left"\nreset_header = "until"').budgets["books"]

    heard = [bucket.heard(budget, {"left": "0", "until": "1772352000"}, 0, ok=True, hold_ms=held) for held in (None, 0)]

    assert [each.hold_ms for each in heard] == [bucket.HOLD_MS_MAX, bucket.HOLD_MS_MAX]


def test_a_call_that_names_a_time_in_a_far_year_names_none():
    """Whoever calls writes what they like where the time stands."""
    assert verify.moment_ms(FAR) is None


@pytest.mark.parametrize("url", ["https://here/hook?" + "a&" * 2_000 + "sig=secret", "https://[/hook?sig=secret"])
def test_a_call_to_an_address_that_is_none_is_not_believed(url):
    """Anybody may call, and is refused like all who are not the vendor."""
    rule = msgspec.structs.replace(manifests.north().webhook, verify="token", header="?sig")

    assert verify.check(rule, verify.Incoming(url=url), ["secret"], 0) is not None
    assert verify.check(rule, verify.Incoming(url="https://here/hook?sig=secret"), ["secret"], 0) is None


@pytest.mark.parametrize("body", [nested(50_000), b'{"error": ' + nested(900) + b"}"])
def test_an_issuers_answer_of_any_depth_is_no_token_for_now(body):
    """What cannot be read says nothing about the credentials, and leaves open whether a token was given away."""
    assert tokens.read(Answer(200, {}, body), 60) == NotNow("the issuer answered with status 200", settled=False)


@pytest.mark.parametrize("said", [b"1" * 300, b'"%s"' % (b"1" * 300), b"1e300"])
def test_a_token_that_is_good_for_longer_than_time_is_stored(said):
    """The pair is not lost because its end cannot be written down."""
    body = b'{"access_token": "t", "refresh_token": "r", "expires_in": %s}' % said

    wanted = Granted(token="t", seconds=tokens.TOKEN_SECONDS_MAX, refresh_token="r")
    assert tokens.read(Answer(200, {}, body), 60) == wanted
