"""`EmbeddedKafka`: a real Apache Kafka on 127.0.0.1, as a context manager.

One node, broker and controller in one process, with its own data folder and its own free port, so that any number run
side by side. It never outlives the process that started it (:mod:`failsoft.testing.guarded`). `kill` and `restart`
are there for tests of what a crash of the broker costs: acknowledged records survive it, and the address stays.
"""

import fcntl
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.archive import Recording
from failsoft.testing.artifacts import Progress
from failsoft.testing.guarded import GuardedProcess
from failsoft.testing.installation import Installation, installed_kafka
from failsoft.testing.readiness import await_ready, require_running
from failsoft.testing.storage import fill_from_template, write_settings

READY_TIMEOUT_SECONDS = 60.0  # 2 to 5 s is usual; a loaded machine takes three times that
STOP_GRACE_SECONDS = 10.0  # 0.3 to 0.9 s is usual
RECORDING_GRACE_SECONDS = 90.0  # 4 to 12 s is usual
ENDED_BY_SIGTERM = 143  # Java's exit code of an orderly end


class EmbeddedKafka:
    """A Kafka of one's own. It has one owner: start, kill and stop it from one thread at a time.

    Args:
        data_dir: where its records live, kept after `stop`; by default a temporary folder that `stop` removes.
        port: of the broker; 0 takes a free one at the first start and keeps it.
        properties: further broker settings, as in `server.properties`.
        ready_timeout_seconds: how long a start may take.
        records_classes: whether to make later starts faster at the price of one slow stop; see `failsoft.testing.archive`.
        progress: told how far the first fetch is.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        port: int = 0,
        properties: Mapping[str, str] | None = None,
        ready_timeout_seconds: float = READY_TIMEOUT_SECONDS,
        records_classes: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._port = port
        self._properties = dict(properties or {})
        self._ready_timeout_seconds = ready_timeout_seconds
        self._records_classes = records_classes
        self._progress = progress
        self._installation: Installation | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._process: GuardedProcess | None = None
        self._recording: Recording | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect, as `host:port`; the same after a restart."""
        if not self._port:
            raise RuntimeError("this Kafka has no address before its first start()")
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id of the broker, None while it does not run."""
        return self._process.pid if self._process and self._process.exit_code is None else None

    def start(self) -> None:
        """Start it and return when it answers.

        Raises:
            ConfigurationError: `properties` sets what only the launcher can.
            EnvironmentFailure: it cannot be fetched, started or reached; says which, and the fix.
        """
        if self._process:
            raise RuntimeError("this Kafka was started already: stop it, or restart() it")
        if not self._installation:
            self._installation = installed_kafka(progress=self._progress)
        folder = self._folder()
        claim = _claim(folder)
        try:
            self._launch(self._installation, folder, claim)
        except OSError as error:
            raise EnvironmentFailure(f"Kafka's data folder {folder}: {error.strerror}") from error
        finally:
            os.close(claim)  # the broker inherited it and holds the claim for as long as it lives

    def require_running(self) -> None:
        """Do nothing while it runs.

        Raises:
            EnvironmentFailure: it is not running; says why, if it ended by itself.
        """
        if not self._process:
            raise EnvironmentFailure("this Kafka is not running: start() it")
        require_running(self._process, self._folder() / "broker.log")

    def stop(self) -> None:
        """Stop it in order and remove its temporary folder. Stopping twice is no error."""
        self._end()
        if self._temporary:
            self._temporary.cleanup()
            self._temporary = None

    def kill(self) -> None:
        """Kill it as a crash would (SIGKILL) and keep its data."""
        if self._process:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """Start it again on the same data and the same port, stopping it in order first if it still runs.

        After a kill this takes about 3 s longer: the registration of the killed broker has to expire.
        """
        self._end()
        self.start()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()  # `with` calls __exit__ only after a start that succeeded
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _folder(self) -> Path:
        if self._data_dir is None:
            self._temporary = self._temporary or tempfile.TemporaryDirectory(prefix="failsoft-kafka-")
            return Path(self._temporary.name)
        return self._data_dir.absolute()

    def _launch(self, kafka: Installation, folder: Path, claim: int) -> None:
        write_settings(folder, port=self._port, own=self._properties)
        fill_from_template(folder, kafka.template)
        options = self._archive_options(kafka)
        log = folder / "broker.log"
        log.unlink(missing_ok=True)
        self._process = GuardedProcess(kafka.command(folder, options=options), log=log, keep_open=[claim])
        try:
            self._port = await_ready(self._process, log, port=self._port, timeout_seconds=self._ready_timeout_seconds)
        except BaseException:  # Ctrl-C too: nothing half-started stays
            self.kill()
            raise

    def _archive_options(self, kafka: Installation) -> list[str]:
        """Use the class archive if there is one, else record it if asked to; a first start need not be slower still."""
        self._recording = None
        if recorded := kafka.archive.find():
            return [kafka.archive.option(recorded)]
        if kafka.is_new or not self._records_classes:
            return []
        self._recording = kafka.archive.recording()
        return [self._recording.option]

    def _end(self) -> None:
        if not self._process:
            return
        exit_code = self._process.end(grace_seconds=RECORDING_GRACE_SECONDS if self._recording else STOP_GRACE_SECONDS)
        self._process = None
        if self._recording:
            self._recording.finish(is_complete=exit_code == ENDED_BY_SIGTERM)


def _claim(folder: Path) -> int:
    """Take the data folder for one broker and return the descriptor that holds the claim."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        claim = os.open(folder / "in-use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentFailure(f"Kafka's data folder {folder}: {error.strerror}") from error
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(claim)
        raise EnvironmentFailure(f"another Kafka uses the data folder {folder}: stop it, or choose another") from None
    return claim
