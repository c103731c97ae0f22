"""Why a sign-in is not believed, as a family.

OidcError
├── IssuerFailed   the issuer could not be asked, or its answer cannot be meant
└── TokenRefused   the issuer answered, and what it gave us fails a check
"""

from __future__ import annotations


class OidcError(Exception):
    """A sign-in that cannot go on. The message is for people and quotes nothing that the issuer sent."""


class IssuerFailed(OidcError):
    """The issuer is away, slow, forbidden to be asked, or says what nobody can use."""


class TokenRefused(OidcError):
    """The ID token fails a check; the message begins with the name of the claim or part."""
