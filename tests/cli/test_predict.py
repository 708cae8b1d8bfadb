import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from failsoft.cli import app

PIPELINE = """
from failsoft import Call, Constant, Output, Pipeline

pipeline = Pipeline("shop")
answer = pipeline.stage("answer")


@answer.tier("large", limit=8, expect="200ms")
async def large(call: Call) -> Output: ...


@answer.tier("small", limit=16, expect="40ms")
async def small(call: Call) -> Output: ...


answer.tier("apology", Constant("later"))

silent = Pipeline("silent")


@silent.stage("answer").tier("large")
async def unknown(call: Call) -> Output: ...


constant = Pipeline("constant")
constant.stage("answer").tier("apology", Constant("later"))

two = Pipeline("two")
two.stage("first")
two.stage("second")
"""
QUICK = ("--load", "0.5:2", "--steps", "2", "--seconds", "4s")
FIGURES = (
    "offered",
    "in_time",
    "levels",
    "value",
    "wasted_work",
    "calls_per_request",
    "p50_seconds",
    "p95_seconds",
    "p99_seconds",
)
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4000,10
2023-11-16 18:17:04.0319600,400,9
2023-11-16 18:17:04.0781490,400,99
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a pipeline in it; the catalogue is the one that comes with the repository."""
    (tmp_path / "predicted_shop.py").write_text(PIPELINE)
    catalogue = Path(__file__).parents[2] / "topics.yaml"
    (tmp_path / "topics.yaml").write_bytes(catalogue.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def failsoft(*words: str, pipeline: str = "pipeline") -> Result:
    return CliRunner().invoke(app, ["predict", "--pipeline", f"predicted_shop:{pipeline}", *words])


def predicted(*words: str) -> dict[str, Any]:
    done = failsoft(*QUICK, "--json", "-", *words)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_prediction_has_the_figures_of_each_class_and_of_all_at_each_load():
    found = predicted()
    assert (found["command"], found["seed"], found["stage"]) == ("predict", 1, "answer")
    assert found["capacity_per_second"] == pytest.approx(8 / (0.2 * 1.0632), rel=1e-4)
    assert [each["load"] for each in found["loads"]] == [0.5, 2.0]
    for each in found["loads"]:
        assert list(each["classes"]) == ["interactive", "standard", "batch"]
        for figures in (*each["classes"].values(), each["total"]):
            assert set(FIGURES) <= set(figures)
        assert each["total"]["offered"] == sum(figures["offered"] for figures in each["classes"].values())
    assert found["invariants_broken"] == 0


def test_the_same_seed_writes_the_same_json_and_another_does_not():
    first, again, other = (predicted("--seed", seed) for seed in ("3", "3", "4"))
    for found in (first, again):
        del found["started_at"], found["seconds"]
    assert first == again
    assert first["loads"] != other["loads"]


def test_tables_a_picture_and_words_say_what_degrades(shop: Path):
    done = failsoft(*QUICK, "--plot", "levels.svg", "--mix", "interactive=0.9,batch=0.1")
    assert done.exit_code == 0
    assert "load 1 is 37.6 requests/s, what large serves with 8 calls at once" in done.stdout
    assert "interactive: less than 99% at level 1 from load 2" in done.stdout
    assert "batch: its deadline of 1d outlasts the 4 s of each load" in done.stdout
    assert "standard" not in done.stdout
    assert "load 0.5: 75 requests" in done.stderr
    assert (shop / "levels.svg").read_text().startswith("<svg")


def test_it_counts_how_many_workers_share_the_permits():
    one, four = predicted(), predicted("--workers", "4")
    assert (one["workers"], four["workers"]) == (1, 4)
    assert one["loads"] != four["loads"]
    assert one["capacity_per_second"] == four["capacity_per_second"]


def test_the_environments_settings_hold_here_as_for_a_worker(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAILSOFT_SHOP__ANSWER__LARGE__LIMIT", "4")
    assert predicted()["capacity_per_second"] == pytest.approx(4 / (0.2 * 1.0632), rel=1e-4)


def test_what_was_measured_outdoes_what_the_author_expects(shop: Path):
    (shop / "latency.json").write_text('{"large": [0.1, 0.1, 0.4], "small": {"median_seconds": 0.02, "sigma": 0.8}}')
    found = predicted("--latency", "latency.json")
    assert found["capacity_per_second"] == pytest.approx(8 / 0.2)
    assert found["laws"]["small"] == {"kind": "lognormal", "median_seconds": 0.02, "sigma": 0.8}


@pytest.mark.parametrize("pack", [str.encode, lambda text: gzip.compress(text.encode())], ids=["csv", "csv.gz"])
def test_a_trace_with_tokens_gives_arrivals_and_durations(shop: Path, pack):
    (shop / "trace.csv").write_bytes(pack(AZURE))
    found = predicted("--trace", "trace.csv")
    work = [10 + 4000 / 400, 9 + 400 / 400, 99 + 400 / 400]
    assert found["arrivals"] == "recorded"
    assert found["laws"]["large"]["mean_seconds"] == pytest.approx(0.2 * sum(work) / 3 / 20)
    assert [each["total"]["offered"] for each in found["loads"]] == [
        round(found["capacity_per_second"] * load * 4) for load in (0.5, 2)
    ]


def test_a_damaged_trace_is_refused_as_one_that_cannot_be_read(shop: Path):
    packed = bytearray(gzip.compress(AZURE.encode()))
    packed[10] ^= 0xFF  # the first byte of the compressed data
    (shop / "trace.gz").write_bytes(packed)
    done = failsoft("--trace", "trace.gz")
    assert done.exit_code == 2
    assert "--trace trace.gz: cannot be read" in done.stderr


def test_the_tables_fit_into_eighty_columns(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = failsoft(*QUICK).stdout
    assert "…" not in shown
    assert shown.count("level 1 level 2 level 3") == 4


def test_a_trace_of_plain_instants_leaves_durations_as_expected(shop: Path):
    (shop / "trace.txt").write_text("3.5\n1\n\n2\n")
    assert predicted("--trace", "trace.txt")["laws"]["large"]["kind"] == "lognormal"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--load", "3:1"], "--load 3:1: write LOW:HIGH"),
        (["--load", "0"], "above zero"),
        (["--load", "nan:2"], "--load nan:2"),
        (["--seconds", "0s"], "--seconds 0: nothing would arrive"),
        (["--seconds", "soon"], "--seconds"),
        (["--mix", "urgent=1"], "class 'urgent' is not in topics.yaml; it has interactive"),
        (["--mix", "batch"], "not CLASS=SHARE, such as interactive=0.3"),
        (["--mix", "batch=0"], "give one class a share above zero"),
        (["--stage", "nope"], "has no stage 'nope'; it has answer"),
        (["--trace", "nope.csv"], "--trace nope.csv: cannot be read"),
        (["--latency", "nope.json"], "--latency nope.json: cannot be read"),
    ],
)
def test_a_bad_option_is_named_with_its_fix(words, says):
    done = failsoft(*words)
    assert done.exit_code == 2
    assert says in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1\nlater\n", "trace, line 2: 'later' is not an arrival in seconds"),
        ("1\n", "two arrivals at least"),
        ("1\n1\n", "at different instants"),
        ("", "two arrivals at least"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nsoon,1,1\n", "line 2, TIMESTAMP: 'soon' is not a date"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n1,1,\n", "line 2, GeneratedTokens: '' is not a count"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n1,0,0\n", "takes no time"),
    ],
)
def test_a_bad_trace_is_named_with_its_line(shop: Path, text, says):
    (shop / "trace").write_text(text)
    done = failsoft("--trace", "trace")
    assert done.exit_code == 2
    assert says in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "this is not JSON"),
        ("[]", "these are large, small"),
        ('{"apology": [1]}', "no tier 'apology' takes calls here; these do: large, small"),
        ('{"large": []}', "tier large: write"),
        ('{"large": [1, 0]}', "all above zero"),
        ('{"large": {"median_seconds": 1}}', '"sigma": 0.35'),
    ],
)
def test_bad_latencies_are_named_with_their_tier(shop: Path, text, says):
    (shop / "latency.json").write_text(text)
    done = failsoft("--latency", "latency.json")
    assert done.exit_code == 2
    assert says in done.stderr


@pytest.mark.parametrize(
    ("pipeline", "says"),
    [
        ("silent", 'tier large: nobody says how long a call takes; declare it (expect="800ms")'),
        ("constant", "none of its tiers takes a call"),
        ("two", "has the stages first, second; choose one with --stage NAME"),
        ("nope", "is not a failsoft.Pipeline"),
    ],
)
def test_a_pipeline_that_cannot_be_predicted_says_why(pipeline, says):
    done = failsoft(pipeline=pipeline)
    assert done.exit_code == 2
    assert says in done.stderr
