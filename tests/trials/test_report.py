import io

from rich.console import Console

from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.trials.demo import DemoOutcome, Played
from failsoft.trials.ledger import Ledger, Verdict
from failsoft.trials.report import verdict_json, verdict_lines, verdict_table
from failsoft.trials.scenario import Phase
from tests.trials.test_ledger import EXPIRED, OK_BELOW, asked, id_of, ledger_of, result, see

SHED = Ending(Outcome.SHED, Reason.QUEUE_LONG)
STATS = {"calls": 3, "cancelled": 1, "busy_seconds": 4.0, "wasted_seconds": 1.0}


def verdict(*, last: Ending = EXPIRED) -> Verdict:
    ledger = ledger_of(1, 2, 3, 4)
    see(
        ledger,
        result(1, at=100.25),
        result(1),
        result(2, at=101.5, ending=OK_BELOW),
        result(3, at=106.0, ending=last),
    )
    return ledger.verdict()


def outcome(shown: Verdict, *, load: float = 0.6) -> DemoOutcome:
    played = [Played(Phase("all", 10.0, load), level_1_per_second=30.0, pause_seconds=2.5)]
    return DemoOutcome(shown, played, {"small": 1.0, "large": 0.5}, {"large": STATS, "small": STATS}, 0.0123)


def printed(shown: Verdict) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(verdict_table(shown))
    return [line.strip() for line in out.getvalue().splitlines() if line.strip()]


def test_the_table_says_how_much_was_in_time_and_at_which_level():
    assert printed(verdict())[-1].split() == ["all", "interactive", "4", "50%", "25%", "25%", "0%", "1", "1.50", "6.00"]


def test_ends_that_are_rare_get_a_column_only_where_there_are_some():
    assert "other" not in printed(verdict())[0]
    lines = printed(verdict(last=SHED))
    assert "other" in lines[0]
    assert lines[-1].split()[-4:-2] == ["0", "1"]


def test_a_phase_is_named_once_and_a_class_that_was_not_asked_has_no_figures():
    ledger = Ledger(asked(1, phase="calm") | asked(2, phase="storm"), classes=["interactive", "batch"])
    ledger.accept(id_of(1), appended_at=100.0)
    see(ledger, result(1))
    rows = [line.split() for line in printed(ledger.verdict())]
    assert [row[0] for row in rows[-4:]] == ["calm", "batch", "storm", "batch"]
    assert rows[-1] == ["batch", "0", "0"]


def test_the_last_line_is_the_verdict():
    ledger = ledger_of(1)
    see(ledger, result(1))
    assert list(verdict_lines(outcome(ledger.verdict())))[-1] == "The promise was kept."
    assert list(verdict_lines(outcome(verdict())))[-1] == "THE PROMISE WAS BROKEN."


def test_accuracy_stands_beside_how_many_answers_it_is_of_best_tier_first():
    lines = list(verdict_lines(outcome(verdict())))
    assert lines[:2] == ["large: 1 answers, 50.0% right", "small: 1 answers, 100.0% right"]


def test_what_an_overloaded_model_gave_is_said_beside_what_it_can_give():
    calm, overloaded = (" ".join(verdict_lines(outcome(verdict(), load=load))) for load in (0.6, 3.0))
    assert "answers/s of level 1" not in calm
    assert "all: 30.0 answers/s of level 1, of 37.6 that the large model can give; 2 s until" in overloaded


def test_the_report_has_the_keys_that_others_rely_on():
    assert verdict_json(outcome(verdict())) == {
        "requests": 4,
        "lost": 1,
        "visible_repeats": 0,
        "repeats_in_log": 1,
        "phantoms": 0,
        "executed": 6,
        "sent_late_seconds_max": 0.012,
        "large_per_second_max": 37.624,
        "phases": [
            {
                "name": "all",
                "seconds": 10.0,
                "load": 0.6,
                "level_1_per_second": 30.0,
                "pause_seconds": 2.5,
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
        "models": {"large": STATS, "small": STATS},
    }


def test_somebody_elses_request_is_not_in_the_report():
    ledger = ledger_of(1)
    see(ledger, result(1), result(2, source="/batch/elsewhere"))
    assert verdict_json(outcome(ledger.verdict()))["requests"] == 1
