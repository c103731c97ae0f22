"""What the declarations of tables have in common: kinds of columns, and the tenant that comes first."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, ForeignKeyConstraint, Integer, MetaData, Text, func
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID

METADATA: Final = MetaData()
KEY: Final = Text(collation="C")
"""Text that is compared as bytes."""

INSTANT: Final = TIMESTAMP(timezone=True)
ID: Final = UUID(as_uuid=False)


def tenant() -> Column[Any]:
    """Return the column that comes first in every key."""
    return Column("tenant_id", Integer, nullable=False)


def of_tenant() -> ForeignKeyConstraint:
    """Return the constraint that the tenant is one that there is."""
    return ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"])


def now(name: str) -> Column[Any]:
    """Return a column that holds when its row was made."""
    return Column(name, INSTANT, nullable=False, server_default=func.now())
