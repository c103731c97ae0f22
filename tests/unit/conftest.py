"""Devices that are ready to be used by a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.peers.field import Field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest_asyncio.fixture
async def new_field(tmp_path: Path) -> AsyncIterator[Field]:
    """A device that was never enrolled."""
    made = Field(tmp_path)
    yield made
    for device in made.opened:
        await device.close()


@pytest_asyncio.fixture
async def field(new_field: Field) -> Field:
    """Ana's device, enrolled and in sync."""
    await new_field.enrol()
    return new_field
