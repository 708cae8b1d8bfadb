"""`failsoft broker`: a real Apache Kafka in the foreground, for trying things out."""

import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from failsoft.cli.exits import explained_errors
from failsoft.testing import EmbeddedKafka

LOOK_SECONDS = 1.0  # how soon a broker that ended by itself is noticed


def broker(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Keep the records in this folder; temporary if not given.")] = None,
) -> None:
    """Run a Kafka of one's own on 127.0.0.1 until Ctrl-C or SIGTERM. Standard output gets one line, its address."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both are the orderly end, also of a start under way
    with explained_errors():
        try:
            _serve(EmbeddedKafka(data_dir=data, port=port, progress=show_fetch))
        except KeyboardInterrupt:
            return


def _serve(kafka: EmbeddedKafka) -> None:
    with kafka:
        print(f"KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap_servers}", flush=True)
        print("Kafka is running; Ctrl-C stops it", file=sys.stderr)
        while True:
            time.sleep(LOOK_SECONDS)
            kafka.require_running()


def show_fetch(fetched_bytes: int, total_bytes: int) -> None:
    """Keep one line on standard error up to date."""
    end = "\n" if fetched_bytes == total_bytes else "\r"
    print(
        f"fetching Kafka: {fetched_bytes / 1e6:.0f} of {total_bytes / 1e6:.0f} MB", end=end, file=sys.stderr, flush=True
    )
