"""The real machine, which tests otherwise replace."""

from __future__ import annotations

from pathlib import Path

from clients.machine import this_machine, zone_of


def test_zone_is_read_off_the_system() -> None:
    """The zone is the name under which the system's own clock setting lies."""
    assert zone_of(Path("/usr/share/zoneinfo/Europe/Zurich")) == "Europe/Zurich"
    assert zone_of(Path("/etc/localtime")) == "UTC"


def test_this_machine_has_clocks_and_ids() -> None:
    """The real machine gives a time, a steady clock, chance and fresh ids."""
    real = this_machine()

    assert real.now_ms() > 1_700_000_000_000
    assert real.mono_ms() <= real.mono_ms()
    assert 0 <= real.jitter() < 1
    assert real.new_id() != real.new_id()
