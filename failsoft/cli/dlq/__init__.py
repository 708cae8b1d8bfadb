"""``failsoft dlq list | show | replay | drop``: the dead letters of a pipeline.

A letter is called by the id of its result, so that ``failsoft results --id`` tells the rest of its story. What was done about
letters is kept beside them, so a command that is cut off is given again and goes on.
"""

import typer

from failsoft.cli.dlq.drop import drop
from failsoft.cli.dlq.listing import list_
from failsoft.cli.dlq.replay import replay
from failsoft.cli.dlq.show import show

app = typer.Typer(no_args_is_help=True, help="What was given up: look at it, send it again, or decide that it stays.")
app.command("list")(list_)
app.command()(show)
app.command()(replay)
app.command()(drop)
