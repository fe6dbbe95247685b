"""Certificates of one run: an authority made for it alone, whose key is never kept, and one identity a member."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SLACK = datetime.timedelta(days=1)
"""How far a device's clock may be off."""


@dataclass(frozen=True)
class Certificates:
    """PEM texts: the authority's certificate, and of each member, by rank, its key with its certificate."""

    authority: bytes
    identities: list[bytes]


def make_certificates(run: str, members: int, lifetime_s: float) -> Certificates:
    """New keys and certificates for the members of one run.

    Args:
        run: a name of the run that never comes again, fit for a DNS label.
        lifetime_s: how long they are to be accepted, s; a day either way is added, because devices' clocks are off.
    """
    now = datetime.datetime.now(datetime.UTC)
    span = (now - SLACK, now + SLACK + datetime.timedelta(seconds=lifetime_s))
    authority_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edgecarbon run {run}")])
    authority = (
        _builder(name, name, authority_key.public_key(), span)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    identities = []
    for rank in range(members):
        key = ec.generate_private_key(ec.SECP256R1())
        host = f"rank-{rank}.{run}.edgecarbon.invalid"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"rank {rank}")])
        certificate = (
            _builder(subject, name, key.public_key(), span)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        identities.append(private + certificate.public_bytes(serialization.Encoding.PEM))
    return Certificates(authority.public_bytes(serialization.Encoding.PEM), identities)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    span: tuple[datetime.datetime, datetime.datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(span[0])
        .not_valid_after(span[1])
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
