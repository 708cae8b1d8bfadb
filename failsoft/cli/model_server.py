"""`failsoft model-server`: models that fail on demand, in the foreground, for demos and for trying a pipeline out."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from failsoft.cli.exits import explained_errors
from failsoft.policy.errors import ConfigurationError
from failsoft.testing.model_server import DEFAULT_MODELS, ModelServer, ModelSettings, read_models


def model_server(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on; whoever reaches it can switch faults.")
    ] = "127.0.0.1",
    models: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML: name -> slots, queue, median_seconds, sigma, digits. Default: a large and a small model.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the service times, and of which calls a fault hits.")] = 0,
    *,
    digits: Annotated[
        bool | None,
        typer.Option("--digits/--no-digits", help="Read images of digits. Default: if scikit-learn is there."),
    ] = None,
) -> None:
    """Serve OpenAI's API until Ctrl-C or SIGTERM. Standard output gets one line, its address.

    Faults are switched while it runs: curl -X PUT $URL/faults/large -d '{"hang": true}', and GET /stats tells what came of it.
    """
    with explained_errors():
        chosen = DEFAULT_MODELS if models is None else _read(models)
        asyncio.run(_serve(ModelServer(chosen, seed=seed, host=host, port=port, digits=digits)))


def _read(path: Path) -> dict[str, ModelSettings]:
    try:
        return read_models(path.read_text(), source=str(path))
    except OSError as error:
        raise ConfigurationError(f"--models {path}: cannot be read ({error.strerror})") from None


async def _serve(server: ModelServer) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server:
        print(f"OPENAI_BASE_URL={server.url}/v1", flush=True)
        print(f"serving {', '.join(server.models)}; Ctrl-C stops it", file=sys.stderr)
        await stop.wait()
