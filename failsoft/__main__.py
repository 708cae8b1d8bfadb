"""`python -m failsoft`: the console script, where its folder is not on the path."""

from failsoft.cli import app

app()
