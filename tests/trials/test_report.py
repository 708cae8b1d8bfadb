import io

from rich.console import Console

from failsoft.policy.outcome import Outcome
from failsoft.trials.ledger import Verdict
from failsoft.trials.report import verdict_json, verdict_lines, verdict_table
from tests.trials.test_ledger import EXPIRED, OK_BELOW, id_of, ledger_of, result, see


def verdict() -> Verdict:
    ledger = ledger_of(1, 2, 3, 4)
    see(
        ledger,
        result(1, at=100.25),
        result(1),
        result(2, at=101.5, ending=OK_BELOW),
        result(3, at=106.0, ending=EXPIRED),
    )
    return ledger.verdict()


def rows(shown: Verdict) -> dict[str, str]:
    printed = io.StringIO()
    Console(file=printed, width=80).print(verdict_table(shown))
    lines = [line.rsplit(maxsplit=1) for line in printed.getvalue().splitlines() if line.strip()]
    return {line[0].strip(): line[1] for line in lines if len(line) == 2}


def test_the_table_says_by_whom_requests_were_answered_and_what_became_of_the_others():
    shown = rows(verdict())
    assert (shown["accepted"], shown["in time"]) == ("4", "2")
    assert (shown["answered by large"], shown["answered by small"]) == ("1", "1")
    assert (shown[Outcome.EXPIRED], shown["lost"], shown["seen twice"]) == ("1", "1", "0")
    assert Outcome.SHED not in shown


def test_the_best_tier_comes_first():
    words = list(rows(verdict()))
    assert words.index("answered by large") < words.index("answered by small")


def test_the_last_line_is_the_verdict():
    ledger = ledger_of(1)
    see(ledger, result(1))
    assert list(verdict_lines(ledger.verdict(), {}))[-1] == "The promise was kept."
    assert list(verdict_lines(verdict(), {}))[-1] == "THE PROMISE WAS BROKEN."


def test_accuracy_stands_beside_how_many_answers_it_is_of():
    lines = list(verdict_lines(verdict(), {"large": 0.973, "small": 0.5}))
    assert lines[:2] == ["large: 1 answers, 97.3% right", "small: 1 answers, 50.0% right"]


def test_the_report_has_the_keys_that_others_rely_on():
    assert verdict_json(verdict(), {"small": 1.0, "large": 0.5}, phase="all") == {
        "requests": 4,
        "lost": 1,
        "visible_repeats": 0,
        "repeats_in_log": 1,
        "phantoms": 0,
        "phases": [
            {
                "name": "all",
                "classes": {
                    "interactive": {
                        "accepted": 4,
                        "in_time": 2,
                        "lost": 1,
                        "visible_repeats": 0,
                        "levels": {"1": 1, "2": 1},
                        "tiers": {"large": 1, "small": 1},
                        "outcomes": {"ok": 2, "expired": 1},
                        "p50_seconds": 1.5,
                        "p99_seconds": 6.0,
                    }
                },
            }
        ],
        "accuracy": {"large": 0.5, "small": 1.0},
    }


def test_somebody_elses_request_is_not_in_the_report():
    ledger = ledger_of(1)
    see(ledger, result(1), result(2, source="/batch/elsewhere"))
    assert set(ledger.verdict().results) == {id_of(1)}
