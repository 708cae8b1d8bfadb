"""``failsoft failover plan | drill | execute | resume | rollback | status``: move an endpoint to another region, by hand.

Each step is written down before the next, so a command that ends in the middle is carried on by ``resume`` or taken back by
``rollback``, by whoever is there. Nothing of this happens by itself.
"""

import typer

from failsoft.cli.failover.begin import drill, execute
from failsoft.cli.failover.end import resume, rollback
from failsoft.cli.failover.look import plan, status

app = typer.Typer(no_args_is_help=True, help="Move an endpoint to another region along a runbook that was drilled.")
app.command()(plan)
app.command()(drill)
app.command()(execute)
app.command()(resume)
app.command()(rollback)
app.command()(status)
