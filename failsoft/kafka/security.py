"""How a client knows whom it talks to, and proves who it is: TLS and SASL, as Kafka names them.

Host names are always checked against the certificate. SCRAM is preferred to PLAIN, which hands the broker the password itself.
aiokafka checks the server's signature but accepts any iteration count (research/reliability.md §7), so SASL without TLS is
for machines that trust their network: :class:`~failsoft.kafka.connection.Connection` asks for a word before it does that.

Files are read whenever a client is made, so a certificate that was renewed is used from the next connection on. A session
ends when the broker's ``connections.max.reauth.ms`` does, since aiokafka cannot authenticate again (A32): leave it at 0.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from failsoft.policy.errors import ConfigurationError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT")
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")

T = TypeVar("T")


class SettingRefused(ConfigurationError):  # noqa: N818 - the setting is refused
    """One setting cannot be right.

    Attributes:
        field: which.
        problem: what is wrong with it and the fix; never a secret.
    """

    def __init__(self, field: str, problem: str) -> None:
        """Name the field first: whoever read it from somewhere says instead from where."""
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Security:
    """What a connection needs beyond an address.

    Attributes:
        security_protocol: PLAINTEXT, SSL, SASL_SSL or SASL_PLAINTEXT.
        ca_file: PEM; whom to trust. The system's authorities where not said.
        cert_file: PEM; our own certificate, where the broker asks for one.
        key_file: PEM; its key, where it is not in the same file. Without a passphrase: nobody is there to type it.
        sasl_mechanism: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN; the first where SASL is used and nothing said.
        username: for SASL.
        password: for SASL; never shown.
    """

    security_protocol: str = "PLAINTEXT"
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    sasl_mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what contradicts itself: a setting without effect is one that somebody relies on."""
        _one_of("security_protocol", self.security_protocol, PROTOCOLS)
        if self.sasl_mechanism is not None:
            _one_of("sasl_mechanism", self.sasl_mechanism, MECHANISMS)
        self._only_with("SSL or SASL_SSL", self.is_encrypted, "ca_file", "cert_file", "key_file")
        self._only_with("SASL_SSL or SASL_PLAINTEXT", self.has_sasl, "sasl_mechanism", "username", "password")
        if self.key_file is not None and self.cert_file is None:
            raise SettingRefused("cert_file", "there is a key_file without its certificate; name that too")
        for name in ("username", "password") if self.has_sasl else ():
            if not getattr(self, name):
                raise SettingRefused(name, f"{self.security_protocol} needs one, and there is none")

    @property
    def is_encrypted(self) -> bool:
        """Whether it uses TLS."""
        return self.security_protocol in {"SSL", "SASL_SSL"}

    @property
    def has_sasl(self) -> bool:
        """Whether it gives a name and a password."""
        return self.security_protocol in {"SASL_SSL", "SASL_PLAINTEXT"}

    def client_options(self) -> dict[str, Any]:
        """The part of aiokafka's keyword arguments; reads the files.

        Raises:
            SettingRefused: a file cannot be read, or is not what it should be.
        """
        options: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.is_encrypted:
            options["ssl_context"] = self._context()
        if self.has_sasl:
            options["sasl_mechanism"] = self.sasl_mechanism or MECHANISMS[0]
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options

    def _context(self) -> ssl.SSLContext:
        for name in ("ca_file", "cert_file", "key_file"):
            _require_readable(name, getattr(self, name))
        context = _pem("ca_file", self.ca_file, lambda: ssl.create_default_context(cafile=self.ca_file))
        if cert := self.cert_file:
            key = self.key_file or cert
            _pem(
                "key_file" if self.key_file else "cert_file",
                key,
                lambda: context.load_cert_chain(cert, key, lambda: ""),
            )
        return context

    def _only_with(self, protocols: str, applies: bool, *names: str) -> None:
        for name in names:
            if getattr(self, name) is not None and not applies:
                raise SettingRefused(
                    name,
                    f"has no effect with {self.security_protocol}; set security_protocol to {protocols}, or drop it",
                )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingRefused(name, f"{value!r} is not known; it is one of {', '.join(known)}")


def _require_readable(name: str, path: Path | None) -> None:
    """OpenSSL does not say which of its files is missing."""
    try:
        if path is not None:
            path.open("rb").close()
    except OSError as error:
        raise SettingRefused(name, f"{path}: {error.strerror}") from None


def _pem(name: str, path: Path | None, load: Callable[[], T]) -> T:
    try:
        return load()
    except ssl.SSLError as error:
        reason = (error.reason or "not PEM").replace("_", " ").lower()
        raise SettingRefused(
            name, f"{path}: {reason}; it takes PEM, a key that fits its certificate, and no passphrase"
        ) from None
