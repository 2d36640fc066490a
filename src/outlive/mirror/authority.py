"""A certificate authority to throw away: its key is never written, so that it signs nothing more than what is asked for here."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = 2
"""How long a certificate is good: a rehearsal takes less than an hour."""
_PEM = serialization.Encoding.PEM


def make(names: Sequence[str], folder: Path) -> None:
    """Write into `folder` a new authority's certificate, and a certificate of it for the host `names`.

    The files: authority.crt, server.crt (the server's, then the authority's) and server.key, which only its owner may read.
    """
    signer, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "outlive rehearsal, to be thrown away")])
    now = datetime.datetime.now(datetime.UTC)

    def certificate(subject: x509.Name, public: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        # A guest's clock may be behind the host's.
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=_DAYS))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, (x509.BasicConstraints, x509.KeyUsage)))
        return builder.sign(signer, hashes.SHA256()).public_bytes(_PEM)

    authority = certificate(
        issuer,
        signer.public_key(),
        x509.BasicConstraints(ca=True, path_length=0),
        x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        ),
        x509.SubjectKeyIdentifier.from_public_key(signer.public_key()),
    )
    server = certificate(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]),
        key.public_key(),
        x509.BasicConstraints(ca=False, path_length=None),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        x509.SubjectAlternativeName([x509.DNSName(name) for name in names]),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
    )
    (folder / "authority.crt").write_bytes(authority)
    (folder / "server.crt").write_bytes(server + authority)
    secret = folder / "server.key"
    secret.unlink(missing_ok=True)
    secret.touch(0o600)
    secret.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
