"""What pipelines, stages and tiers may be called: names go into topics, metrics and variables of the environment."""

import re

from failsoft.policy.errors import ConfigurationError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)


def checked_name(kind: str, name: str) -> str:
    """Refuse a name that would not do; give back one that does.

    Raises:
        ConfigurationError: says which, and of what a name is made.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{kind} {name!r}: a name is lower-case letters, digits and hyphens, as in topic names"
        )
    return name
