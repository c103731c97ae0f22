"""What every test shares: how hard Hypothesis looks, how logs look, what random histories tell at the end."""

from __future__ import annotations

import os

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings

# On a shared machine the time of one example says nothing, and building a history is slow by nature.
settings.register_profile(
    "quick", settings(), deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", settings.get_profile("quick"), max_examples=5_000, derandomize=False)
settings.register_profile("planted", settings.get_profile("quick"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("quick")

# By default each exception that is logged is drawn with the variables of all its frames, which takes seconds.
_PLAIN = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[structlog.processors.add_log_level, _PLAIN])


def pytest_configure(config: pytest.Config) -> None:
    """Put in the mistake that this run has to notice, if it was started to notice one."""
    if "FIELDSYNC_PLANTED" in os.environ:
        from tests.planted import plant  # noqa: PLC0415  (no other run has to know of it)

        patch = pytest.MonkeyPatch()
        config.add_cleanup(patch.undo)
        plant.plant(patch)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the random histories held, also where worker processes ran them."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    for report in reports:
        shares = [text for name, text in getattr(report, "user_properties", ()) if name == "shares"]
        if shares and report.when == "call":
            terminalreporter.write_sep("-", report.nodeid.rpartition("::")[2])
            terminalreporter.write_line(str(shares[0]))
