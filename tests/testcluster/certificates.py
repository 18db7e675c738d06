"""An authority of the cluster's own, and what it signs."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

_VALID = dt.timedelta(days=365)
_CA_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """Signs certificates; everything lies in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("testcluster", "")
        self._certificate = self._sign(
            self._name, self._key, [x509.BasicConstraints(ca=True, path_length=None), _CA_USAGE]
        )
        _write(folder / "ca.crt", self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, file: str, common_name: str, organization: str = "", names: tuple[str, ...] = ()) -> None:
        """Write a key and a certificate: for a server if there are *names*, else for a client of a group."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        extensions: list[x509.ExtensionType] = [x509.ExtendedKeyUsage([usage])]
        if names:
            extensions.append(x509.SubjectAlternativeName([_alternative(each) for each in names]))
        certificate = self._sign(_name(common_name, organization), key, extensions)
        _write(self.folder / f"{file}.crt", certificate.public_bytes(serialization.Encoding.PEM))
        _write(self.folder / f"{file}.key", _pem(key))

    def key_pair(self, file: str) -> None:
        """Write a key that signs tokens, and its public half."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        _write(self.folder / f"{file}.key", _pem(key))
        _write(self.folder / f"{file}.pub", key.public_key().public_bytes(serialization.Encoding.PEM, public))

    def kubeconfig(self, file: str, server: str, namespace: str = "default") -> None:
        """Write a kubeconfig file that holds all it needs, for the certificate called *file*."""
        user = {
            f"client-{kind}-data": _data(self.folder / f"{file}.{end}")
            for kind, end in (("certificate", "crt"), ("key", "key"))
        }
        target = {"server": server, "certificate-authority-data": _data(self.folder / "ca.crt")}
        _write(self.folder / f"{file}.kubeconfig", kubeconfig_of(target, user, namespace).encode())

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, extensions: list[x509.ExtensionType]
    ) -> x509.Certificate:
        # Python's strict verification wants both identifiers.
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        extensions = [*extensions, x509.SubjectKeyIdentifier.from_public_key(key.public_key()), identifier]
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(issuer_name=self._name, subject_name=name, public_key=key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + _VALID)
        for extension in extensions:
            critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256())


def kubeconfig_of(target: dict[str, Any], user: dict[str, str], namespace: str) -> str:
    """Return the text of a kubeconfig file, as JSON, which is YAML too."""
    context = {"cluster": "testcluster", "user": "user", "namespace": namespace}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testcluster", "cluster": target}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "testcluster", "context": context}],
        "current-context": "testcluster",
    }
    return json.dumps(content, indent=1)


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _name(common_name: str, organization: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(data)
