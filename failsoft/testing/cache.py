"""Where this machine keeps its Kafka: a folder per user, changed by one process at a time.

`$FAILSOFT_CACHE`, else `$XDG_CACHE_HOME/failsoft`, else `~/.cache/failsoft`. Everything in it can be fetched or made
again.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from failsoft.policy.errors import EnvironmentFailure


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Name the cache folder of this user. An empty variable counts as unset, as the XDG specification says."""
    if own := environment.get("FAILSOFT_CACHE"):
        return Path(own).expanduser().absolute()
    shared = environment.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "failsoft"


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, waiting for whoever has it. The kernel frees it when its holder dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise EnvironmentFailure(
            f"{error.filename or folder}: {error.strerror}; set FAILSOFT_CACHE to a writable folder with 200 MB free"
        ) from error
