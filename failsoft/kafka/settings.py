"""Where the settings of a Kafka connection are said: variables of the environment, and a YAML file beside them.

========================  =====================================================================
variable                  field of the file that ``FAILSOFT_KAFKA_CONFIG`` names
========================  =====================================================================
KAFKA_BOOTSTRAP_SERVERS   bootstrap_servers
FAILSOFT_KAFKA_<FIELD>    security_protocol, ca_file, cert_file, key_file, sasl_mechanism,
                          username, password, password_file, allow_insecure
========================  =====================================================================

The environment wins, field by field. A password comes from a variable, from the file or from a file of its own, never from the
command line: everybody on the machine can read that. A name that is not known is refused: a misspelt security setting would
otherwise leave a connection without it. Paths in the file are relative to the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from failsoft.catalogue.document import Document, Problem, read_document
from failsoft.kafka.security import SettingRefused
from failsoft.policy.errors import ConfigurationError

BOOTSTRAP_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"
FILE_VARIABLE = "FAILSOFT_KAFKA_CONFIG"
PREFIX = "FAILSOFT_KAFKA_"

FIELDS = (
    "bootstrap_servers",
    "security_protocol",
    "ca_file",
    "cert_file",
    "key_file",
    "sasl_mechanism",
    "username",
    "password",
    "password_file",
    "allow_insecure",
)
_VARIABLES = {name: BOOTSTRAP_VARIABLE if name == FIELDS[0] else PREFIX + name.upper() for name in FIELDS}
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Said:
    """One setting, and where it was said: a variable, or file:line: field."""

    text: str = field(repr=False)
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What was said about the connection, field by field."""

    said: Mapping[str, Said]

    def text(self, name: str) -> str | None:
        """What was said, None if nothing."""
        return self.said[name].text if name in self.said else None

    def path(self, name: str) -> Path | None:
        """A file's path."""
        text = self.text(name)
        return None if text is None else Path(text)

    def switch(self, name: str) -> bool:
        """Yes or no; no where nothing was said."""
        text = self.text(name)
        if text is None:
            return False
        if text.lower() not in _WORDS:
            raise SettingRefused(name, f"{text!r} is not true or false")
        return _WORDS[text.lower()]

    def password(self) -> str | None:
        """The password, from a file of its own if it has one: one line, its end not counted."""
        path = self.path("password_file")
        if path is None:
            return self.text("password")
        if "password" in self.said:
            raise SettingRefused("password_file", "there is a password as well; say it in one place")
        try:
            return path.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise SettingRefused("password_file", f"{path}: {reason}") from None

    def refusal(self, refused: SettingRefused) -> ConfigurationError:
        """The same, naming where the field was said; where it was not, the variable that says it."""
        at = self.said[refused.field].origin if refused.field in self.said else _VARIABLES[refused.field]
        return ConfigurationError(f"{at}: {refused.problem}")


def read_settings(environment: Mapping[str, str], *, bootstrap: str | None = None) -> Settings:
    """Read all that is said; what the command line names as bootstrap goes before all.

    Raises:
        ConfigurationError: a variable or field that is not known, or a file that cannot be read.
    """
    from_environment = _from_environment(environment)
    file = environment.get(FILE_VARIABLE)
    from_file = _from_file(Path(file)) if file else {}
    if from_environment.keys() & {"password", "password_file"}:
        from_file = {name: said for name, said in from_file.items() if name not in {"password", "password_file"}}
    from_arguments = {FIELDS[0]: Said(bootstrap, "--bootstrap")} if bootstrap else {}
    return Settings({**from_file, **from_environment, **from_arguments})


def _from_environment(environment: Mapping[str, str]) -> dict[str, Said]:
    """What the variables say. An empty one says nothing: that is how compose files pass on what is not set."""
    known = {*_VARIABLES.values(), FILE_VARIABLE}
    for name in environment:
        if name.startswith(PREFIX) and name not in known:
            listed = ", ".join(sorted(known))
            raise ConfigurationError(f"{name}: no such setting; the variables are {listed}")
    return {
        name: Said(environment[variable], variable)
        for name, variable in _VARIABLES.items()
        if environment.get(variable)
    }


def _from_file(path: Path) -> dict[str, Said]:
    try:
        document = read_document(path.read_text("utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigurationError(f"{FILE_VARIABLE}: {path}: {reason}") from None
    if not isinstance(document.data, dict):
        raise ConfigurationError(f"{path}:1: it says no fields; write bootstrap_servers: HOST:PORT")
    if problems := [
        Problem((str(name),), text) for name, value in document.data.items() if (text := _wrong(name, value))
    ]:
        raise document.refusal(problems)
    return {name: _said(document, name, value, path.parent) for name, value in document.data.items()}


def _wrong(name: Any, value: Any) -> str | None:
    if name not in FIELDS:
        return f"no such field; the fields are {', '.join(FIELDS)}"
    if name == "allow_insecure":
        return None if isinstance(value, bool) else "should be true or false"
    return None if isinstance(value, str) and value else "should be text; put it in quotes"


def _said(document: Document, name: str, value: str | bool, folder: Path) -> Said:
    text = str(folder / str(value)) if name.endswith("_file") else str(value)
    return Said(text, f"{document.source}:{document.line((name,))}: {name}")
