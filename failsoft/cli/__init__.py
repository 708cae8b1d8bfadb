"""The command line: one module per verb. Exit codes are in :mod:`failsoft.cli.exits`."""

import typer

from failsoft.cli import breakers, config, dlq, failover, topics
from failsoft.cli.broker import broker
from failsoft.cli.check_history import check_history
from failsoft.cli.demo import demo
from failsoft.cli.doctor import doctor
from failsoft.cli.faults import faults
from failsoft.cli.model_server import model_server
from failsoft.cli.predict import predict
from failsoft.cli.results import results
from failsoft.cli.run import run
from failsoft.cli.simulate import simulate
from failsoft.cli.streams import streams
from failsoft.cli.submit import submit
from failsoft.cli.worker import worker

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
"""`failsoft`, the console script."""
app.add_typer(breakers.app, name="breakers")
app.add_typer(config.app, name="config")
app.add_typer(dlq.app, name="dlq")
app.add_typer(failover.app, name="failover")
app.add_typer(topics.app, name="topics")
app.command()(broker)
app.command()(check_history)
app.command()(demo)
app.command()(doctor)
app.command()(faults)
app.command()(model_server)
app.command()(predict)
app.command()(results)
app.command()(run)
app.command()(simulate)
app.command()(streams)
app.command()(submit)
app.command()(worker)
