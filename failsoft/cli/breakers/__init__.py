"""``failsoft breakers [--follow]``, ``failsoft breakers force``: what workers say of breakers, and operators to them."""

import typer

from failsoft.cli.breakers.force import force
from failsoft.cli.breakers.listing import list_

app = typer.Typer(help="How the breakers of a pipeline stand; force one open or closed.")
app.callback(invoke_without_command=True)(list_)
app.command()(force)
