"""``failsoft config show``: what every stage, tier and class of a pipeline runs with here, and who said it."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from failsoft.catalogue import Catalogue, load
from failsoft.catalogue.config import UNIT_BYTES
from failsoft.cli.exits import explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.endpoints import Call, Output
from failsoft.pipeline import Stage, load_pipeline
from failsoft.policy.durations import write_duration
from failsoft.runtime.configuration import DEFAULT, Setting, configure, configured
from failsoft.runtime.knobs import variable

MEBIBYTE = UNIT_BYTES["MiB"]

app = typer.Typer(no_args_is_help=True, help="Look at the settings of stages, tiers and classes.")


@app.callback()
def _config() -> None:
    """Keep `show` a verb of its own: Typer would fold a single command into its parent."""


@app.command()
def show(
    pipeline: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="Whose. Without it: what can be set at all, with the defaults."),
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: ./topics.yaml, else the one that comes with failsoft."),
    ] = None,
    *,
    origin: Annotated[
        bool, typer.Option("--origin", help="Also say where each comes from: a variable, Python, or a default.")
    ] = False,
    json: JsonOption = None,
) -> None:
    """Show every setting, as a worker started here and now would have it.

    A heading ends with the variable that overrides what stands below it, in upper case.
    """
    started_at = time.time()
    with explained_errors():
        known = load(catalogue)
        settings = _any_stage(known) if pipeline is None else _of_pipeline(pipeline, known)
    if json != "-":
        print("\n".join(_lines(settings, origin=origin)))
    if json is not None:
        result = {"settings": [_result(setting) for setting in settings]}
        write_json(json, command="config show", started_at=started_at, result=result)


def _of_pipeline(target: str, catalogue: Catalogue) -> list[Setting]:
    pipeline = load_pipeline(target)
    pipeline.check(catalogue)
    stages = configure(list(pipeline.stages.values()), catalogue, os.environ)
    return [setting for stage in stages for setting in stage.settings]


def _any_stage(catalogue: Catalogue) -> list[Setting]:
    """A stage of which nothing is declared."""
    stage = Stage("<pipeline>", "<stage>", floor={}, patience={})

    @stage.tier("tier")
    async def tier(call: Call) -> Output:
        raise NotImplementedError("nobody calls it")

    settings = stage.settings(catalogue)
    nameless = replace(settings, tiers=tuple(replace(tier, name="<tier>") for tier in settings.tiers))
    return list(configured(stage.pipeline, nameless, {}).settings)


def _lines(settings: Sequence[Setting], *, origin: bool) -> Iterator[str]:
    widths = [max(len(text) for text in column) for column in zip(*map(_cells, settings), strict=True)]
    for (heading, pattern), group in groupby(settings, lambda setting: (_heading(setting), _pattern(setting))):
        yield f"{heading}  {pattern}"
        for setting in group:
            name, value = (text.ljust(width) for text, width in zip(_cells(setting), widths, strict=True))
            yield f"  {name}  {value}  {_origin(setting)}" if origin else f"  {name}  {value.rstrip()}"


def _cells(setting: Setting) -> tuple[str, str]:
    return setting.knob.name, _text(setting)


def _heading(setting: Setting) -> str:
    where = f"stage {setting.pipeline}.{setting.stage}"
    if setting.tier is not None:
        return f"{where}, tier {setting.tier}"
    return where if setting.request_class is None else f"{where}, class {setting.request_class}"


def _pattern(setting: Setting) -> str:
    own = [part for part in (setting.tier, setting.request_class) if part is not None]
    return variable(setting.pipeline, setting.stage, *own, "<NAME>")


def _text(setting: Setting) -> str:
    match setting.value:
        case None:
            return "none"
        case bool():
            return str(setting.value).lower()
        case float() if setting.knob.field.endswith("_seconds"):
            return write_duration(setting.value)
        case float():
            return f"{setting.value:g}"
        case int() if setting.knob.field.startswith("bytes") and setting.value % MEBIBYTE == 0:
            return f"{setting.value // MEBIBYTE}MiB"
        case _:
            return str(setting.value)


def _origin(setting: Setting) -> str:
    if setting.origin == DEFAULT:
        return f"default, see {setting.knob.explained_in.replace('.', '/')}.py"
    return setting.origin


def _result(setting: Setting) -> dict[str, Any]:
    knob = setting.knob
    return {
        "pipeline": setting.pipeline,
        "stage": setting.stage,
        "tier": setting.tier,
        "class": setting.request_class,
        "name": knob.field,
        "value": setting.value,
        "default": knob.default,
        "origin": setting.origin,
        "variable": knob.variable,
        "explained_in": knob.explained_in,
    }
