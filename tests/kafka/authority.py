"""A certificate authority of the tests' own, made by the openssl command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """Where its files are, all PEM."""

    folder: Path

    def __post_init__(self):
        """Make an authority, a certificate for 127.0.0.1 that it has signed, and keys that do not fit."""
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        self._openssl("req", "-x509", *new_key, "-nodes", "-subj", "/CN=tests", "-keyout", "ca.key", "-out", "ca.pem")
        subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        self._openssl("req", *new_key, "-nodes", *subject, "-keyout", "key.pem", "-out", "request.pem")
        signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-copy_extensions", "copyall")
        self._openssl("x509", "-req", "-in", "request.pem", *signed_by, "-out", "cert.pem")
        self._openssl("genpkey", "-algorithm", "EC", *new_key[2:], "-out", "other_key.pem")
        self._openssl("pkcs8", "-topk8", "-in", "key.pem", "-passout", "pass:secret", "-out", "locked_key.pem")

    def __getattr__(self, name: str) -> Path:
        """`ca`, `cert`, `key`, `other_key`, `locked_key`."""
        return self.folder / f"{name}.pem"

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
