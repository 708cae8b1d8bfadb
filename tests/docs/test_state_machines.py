import runpy
from pathlib import Path

import pytest

from failsoft.policy.breaker_states import TRANSITIONS
from failsoft.policy.errors import IllegalTransition
from failsoft.policy.request import RecordId, Request
from failsoft.policy.stage.work import MOVES, Errand, Standing, Work

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "state_machines.py"))


RECORD = RecordId("batch", 0, 7)


def an_errand(standing: Standing) -> Errand:
    request = Request(RECORD, 1, deadline_at=60.0, waits_until=60.0, budget_seconds=60.0, floor=3, size_bytes=10)
    errand = Errand(Work(request))
    errand.standing = standing
    return errand


def test_the_page_is_drawn_from_the_tables_that_the_code_runs_by():
    text = (DOCS / "state-machines.md").read_text()
    assert text == SCRIPT["page"](), "run `python docs/state_machines.py --write`"
    for (start, trigger), end in TRANSITIONS.items():
        assert f"    {start} --> {end}: {trigger}\n" in text
    assert text.count(" --> ") == len(TRANSITIONS) + len(MOVES) + 3


def test_a_page_that_differs_is_found_out(tmp_path, capsys):
    main = SCRIPT["main"]
    page = tmp_path / "state-machines.md"
    main.__globals__["PAGE"] = page
    assert main(["--check"]) == 1
    assert main(["--write"]) == 0
    assert main(["--check"]) == 0
    page.write_text(page.read_text() + "drifted")
    assert main(["--check"]) == 1
    assert "state-machines.md: not what the tables say" in capsys.readouterr().err


@pytest.mark.parametrize("start", Standing)
@pytest.mark.parametrize("end", Standing)
def test_an_errand_moves_by_the_table_or_not_at_all(start, end):
    errand = an_errand(start)
    if (start, end) in MOVES:
        errand.move(end)
        assert errand.standing is end
    else:
        with pytest.raises(IllegalTransition, match=f"cannot go from {start.value} to {end.value}"):
            errand.move(end)


def test_a_record_ends_once():
    work = an_errand(Standing.CALLING).work
    work.end()
    with pytest.raises(IllegalTransition, match="ended already"):
        work.end()
    assert not [end for (start, end) in MOVES if start is Standing.OVER]
