"""Certificates for servers at localhost and homeserver.test, and the authority that vouches for them.

    python certificates.py DIRECTORY    writes ca.pem, server.pem and server.key
"""

import datetime
import ipaddress
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(name, key, issuer, issuer_key, extension):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(extension, critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(pem)


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


pem = serialization.Encoding.PEM
into = pathlib.Path(sys.argv[1])
authority = ec.generate_private_key(ec.SECP256R1())
server = ec.generate_private_key(ec.SECP256R1())
is_authority = x509.BasicConstraints(ca=True, path_length=0)
names = ["localhost", "homeserver.test"]
is_localhost = x509.SubjectAlternativeName(
    [x509.DNSName(name) for name in names]
    + [x509.IPAddress(ipaddress.ip_address("::1"))]
)
in_clear = serialization.NoEncryption()
pkcs8 = serialization.PrivateFormat.PKCS8

files = {
    "ca.pem": certificate("live tests", authority, "live tests", authority, is_authority),
    "server.pem": certificate("localhost", server, "live tests", authority, is_localhost),
    "server.key": server.private_bytes(pem, pkcs8, in_clear),
}
for name, content in files.items():
    (into / name).write_bytes(content)
