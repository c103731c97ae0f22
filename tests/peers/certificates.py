"""A certificate authority for one test, and what it gives out."""

from __future__ import annotations

import datetime
import ipaddress
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

DAY = datetime.timedelta(days=1)


class Authority:
    """An authority; `certificate` is its own, in PEM."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._built(self._name, self._key.public_key(), authority=True).sign(self._key, hashes.SHA256())
        self.certificate = made.public_bytes(Encoding.PEM).decode()

    def give(self, name: str, *, days: int = 30) -> tuple[str, str]:
        """Give a certificate for this machine, and its key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._built(subject, key.public_key(), authority=False, days=days)
        local = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = builder.add_extension(local, critical=False).sign(self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return made.public_bytes(Encoding.PEM).decode(), private.decode()

    def _built(self, subject: x509.Name, key: Any, *, authority: bool, days: int = 30) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        signer = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
        )


def server_options(folder: Path, authority: Authority, trusted: Authority) -> dict[str, Any]:
    """Give what a server needs that shows a certificate and demands one of the trusted authority."""
    certificate, key = authority.give("server")
    for name, text in (("server.pem", certificate), ("server.key", key), ("trusted.pem", trusted.certificate)):
        (folder / name).write_text(text)
    return {
        "ssl_certfile": str(folder / "server.pem"),
        "ssl_keyfile": str(folder / "server.key"),
        "ssl_ca_certs": str(folder / "trusted.pem"),
        "ssl_cert_reqs": 2,  # a client without a good certificate does not get in
    }
