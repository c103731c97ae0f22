"""Asking a PostgreSQL whether it is ours, while it may be ending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import asyncpg
import pytest

from syncserver.services import database
from syncserver.store import db

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionResetError(),
        asyncpg.CannotConnectNowError("the database system is shutting down"),
        asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress"),
    ],
)
def test_a_server_that_ends_while_it_is_asked_is_not_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failure: Exception
) -> None:
    """Whatever the client makes of a server that goes away, the answer is no and not a mistake of ours."""

    async def connect(*_: Any, **__: Any) -> NoReturn:
        raise failure

    monkeypatch.setattr(asyncpg, "connect", connect)

    assert not database.serves("postgresql://nobody@127.0.0.1:1/none", tmp_path)


def test_such_an_end_is_tried_again() -> None:
    """A group whose connection ended like that is settled again, and is no fault of what was asked."""
    assert issubclass(asyncpg.InternalClientError, db.TRANSIENT)
