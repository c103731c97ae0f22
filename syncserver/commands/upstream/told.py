"""What `upstream` refuses, told as what a command answers: same code, same words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from syncserver.commands import errors
from upstream.errors import UpstreamError
from upstream.sealing import Unopened

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS: Final[dict[str, type[errors.CommandError]]] = {
    kind.code: kind
    for kind in (
        errors.UnknownConnection,
        errors.BadConnection,
        errors.UnknownDelivery,
        errors.NotDead,
        errors.Overtaken,
        errors.StillInDoubt,
        errors.BadPayload,
        errors.BadManifest,
        errors.MappingUnusable,
        errors.UnknownMapping,
        errors.MappingRefused,
        errors.NotReady,
        errors.CodeUnavailable,
        errors.BadEndpoint,
        errors.UnknownEndpoint,
        errors.NotDiscovered,
    )
}
"""Every refusal that a caller can provoke, by its code; any other is a mistake of ours."""


@contextmanager
def told() -> Iterator[None]:
    """Raise what `upstream` refuses as the command's error."""
    try:
        yield
    except UpstreamError as exc:
        kind = KINDS.get(exc.code)
        if kind is None:
            raise
        problems: tuple[str, ...] = getattr(exc, "problems", ())
        raise (kind(str(exc), problems=list(problems)) if problems else kind(str(exc))) from exc
    except Unopened as exc:
        raise errors.KeysMissing(str(exc)) from exc
