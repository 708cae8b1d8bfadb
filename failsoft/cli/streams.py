"""`failsoft streams`: run one of the apps that add up what workers tell. They are Faust apps, apart from the package.

This process becomes the app, so that signals and exit codes are the app's own and nothing outlives it.
"""

import importlib.util
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import failsoft
from failsoft.catalogue import Catalogue, load
from failsoft.cli.exits import explained_errors
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure


class StreamsApp(StrEnum):
    """An app, and the topic of what it makes."""

    LATENCY = "latency"
    DEGRADATION = "degradation"


def streams(
    app: Annotated[StreamsApp, typer.Argument(help="latency: for workers that start. degradation: for people.")],
    *,
    pipeline: Annotated[str | None, typer.Option(help="Whose roll-ups. Default: the catalogue's only one")] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="HOST:PORT of the cluster; else KAFKA_BOOTSTRAP_SERVERS")
    ] = None,
    catalogue: Annotated[Path | None, typer.Option(help="The topic catalogue. Default: ./topics.yaml")] = None,
    host: Annotated[str, typer.Option(help="Where /metrics and /health listen")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Their port; 0: any free one, printed")] = 0,
    log_format: Annotated[str, typer.Option(help="console or json")] = "console",
) -> None:
    """Add up what workers tell of themselves, until a signal comes.

    Needs the folder streams/ of a checkout or of the image, and the extra `streams`; exits 3 where they are not there. Exit 1
    after an error, 5 if it stood still: start it again, nothing is lost. Workers go on without it.
    """
    with explained_errors():
        folder = _folder()
        known = load(catalogue)
        chosen = _pipeline(known, pipeline)
        if app not in known.topics:
            raise ConfigurationError(f"topics.yaml has no topic of {app}; add it, then run `failsoft topics apply`")
        said = {"--pipeline": chosen, "--host": host, "--port": str(port), "--log-format": log_format}
        if bootstrap is not None:
            said["--bootstrap"] = bootstrap
        _become(app, folder, [part for pair in said.items() for part in pair])


def _pipeline(catalogue: Catalogue, wanted: str | None) -> str:
    known = list(catalogue.pipelines)
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted is None or wanted not in catalogue.pipelines:
        said = "say which with --pipeline" if wanted is None else f"{wanted!r} is not in topics.yaml"
        raise ConfigurationError(f"{said}: there are {', '.join(known)}")
    return wanted


def _folder() -> Path:
    """Where streams/ is: here, or beside the package in a checkout."""
    for folder in (Path.cwd(), Path(failsoft.__file__).parents[1]):
        if (folder / "streams" / "app.py").is_file():
            break
    else:
        raise EnvironmentFailure("no folder streams/ here: run this in a checkout of failsoft or in its image")
    if importlib.util.find_spec("faust") is None:
        raise EnvironmentFailure("Faust is not installed: pip install 'failsoft[streams]'")
    return folder


def _become(app: StreamsApp, folder: Path, arguments: list[str]) -> NoReturn:
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    os.execve(sys.executable, [sys.executable, "-m", f"streams.{app}", *arguments], environment)  # noqa: S606 - no shell is wanted
