"""Where the breakers of one pipeline are, and how they are read: each topic to its end, and on as long as somebody looks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from failsoft.catalogue import Catalogue, load, pipeline_topic
from failsoft.cli.breakers.notice_board import NoticeBoard
from failsoft.kafka import Connection, View, partition_counts
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure
from failsoft.runtime.submission import choose_pipeline

READ_SECONDS = 30.0
"""For both topics, over a slow line; they are small."""

PipelineOption = Annotated[str | None, typer.Option(help="Default: the only one in topics.yaml.")]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the breakers of one pipeline are."""

    catalogue: Catalogue
    pipeline: str
    connection: Connection

    @classmethod
    def of(cls, catalogue: Path | None, pipeline: str | None, bootstrap: str | None) -> "Place":
        """Find it.

        Raises:
            ConfigurationError: there is no such pipeline, no broker is named, or the catalogue has no topics for breakers.
        """
        known = load(catalogue)
        name = choose_pipeline(known, pipeline)
        for kind in ("breakers", "controls"):
            if kind not in known.topics:
                raise ConfigurationError(
                    f"topics.yaml has no topic of {kind}: add it (see docs/breakers.md), run `failsoft topics apply`, "
                    "and start the workers again"
                )
        return cls(known, name, Connection.from_environment(bootstrap))

    def topic(self, kind: str) -> str:
        """Name a topic of the pipeline."""
        return pipeline_topic(self.pipeline, kind)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[NoticeBoard]:
        """All that stands there now, and what comes as long as the block takes.

        Raises:
            ConfigurationError: a topic does not exist.
            EnvironmentFailure: no broker answers.
        """
        board = NoticeBoard()
        await partition_counts(self.connection, [self.topic("breakers"), self.topic("controls")])
        views = [
            View(self.connection, self.topic("breakers"), take=board.registers),
            View(self.connection, self.topic("controls"), take=board.controls),
        ]
        try:
            for view in views:
                await view.start()
            for view in views:
                if not await view.caught_up(READ_SECONDS):
                    raise EnvironmentFailure(f"{self.pipeline}: its breakers could not be read in {READ_SECONDS:g} s")
            yield board
        finally:
            for view in views:
                await view.stop()
