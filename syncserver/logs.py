"""Logs are events with fields, one JSON object a line. Never personal data, never tokens."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
CHATTY: Final = ("httpx", "httpcore", "sqlalchemy.engine", "uvicorn.access")
"""Libraries that log addresses, statements or bodies when they are let."""

_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


def configure(level: str) -> None:
    """Send structlog's events, and those of the libraries, to the standard error stream as JSON."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, account, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, account, render],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=LEVELS[level], force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def account(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Tell of an exception what it was and where; its message may quote the row that failed."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else sys.exc_info()[1]
    if given and error is not None:
        event["error"] = type(error).__name__
        event["where"] = traceback.format_tb(error.__traceback__)
    return event


def render(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Return the event as one line; what JSON cannot say is written as text."""
    return _ENCODER.encode(event).decode()
