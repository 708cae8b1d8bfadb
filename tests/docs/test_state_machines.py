import runpy
from pathlib import Path

import pytest

from failsoft.policy.breaker_states import TRANSITIONS
from failsoft.policy.errors import IllegalTransition
from failsoft.policy.request import RecordId
from failsoft.policy.stage.work import MOVES, Standing, Work

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "state_machines.py"))


def a_work(standing: Standing) -> Work:
    work = Work(RecordId("batch", 0, 7), 1, 10, request=None, deadline_at=0.0, lane=("batch", 3))
    work.standing = standing
    return work


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
def test_a_record_moves_by_the_table_or_not_at_all(start, end):
    work = a_work(start)
    if (start, end) in MOVES:
        work.move(end)
        assert work.standing is end
    else:
        with pytest.raises(IllegalTransition, match=f"cannot go from {start.value} to {end.value}"):
            work.move(end)


def test_a_record_ends_once():
    assert not [end for (start, end) in MOVES if start is Standing.PUBLISHING]
