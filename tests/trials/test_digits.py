import random

from sklearn.datasets import load_digits

from failsoft.policy.outcome import Outcome, Reason
from failsoft.trials.digits import RECENT_SHEETS, Sheet, Sheets, accuracy
from failsoft.wire import Identity, Result


def drawn(count: int, *, run: str = "run", seed: int = 0) -> list[Sheet]:
    sheets = Sheets(run, random.Random(seed))
    return [sheets.draw() for _ in range(count)]


def heading(sheet: Sheet) -> str:
    return str(sheet.body["messages"][0]["content"])


def image(sheet: Sheet) -> tuple[float, ...]:
    return tuple(float(number) for number in sheet.body["messages"][-1]["content"].split())


def test_the_answer_that_is_right_is_the_label_of_an_image_that_no_model_has_seen():
    ink, labels = load_digits(return_X_y=True)
    unseen = {tuple(image): str(label) for image, label in zip(ink[1::2].tolist(), labels[1::2], strict=True)}
    for sheet in drawn(200):
        assert unseen[image(sheet)] == sheet.answer


def test_a_request_does_not_tell_its_answer():
    for sheet in drawn(50):
        assert set(sheet.body) == {"model", "messages", "temperature"}
        assert heading(sheet).startswith("Sheet ")


def test_about_a_quarter_asks_again_what_was_asked_shortly_before():
    asked = drawn(2_000)
    first_at: dict[str, int] = {}
    repeats = 0
    for position, sheet in enumerate(asked):
        repeats += heading(sheet) in first_at
        first_at.setdefault(heading(sheet), position)
    assert 0.2 < repeats / len(asked) < 0.3
    new = list(first_at)
    for position, sheet in enumerate(asked):
        made = [name for name in new if first_at[name] <= position]
        assert heading(sheet) in made[-RECENT_SHEETS:]


def test_a_sheet_that_is_asked_again_has_the_same_image():
    by_heading: dict[str, Sheet] = {}
    for sheet in drawn(300):
        assert by_heading.setdefault(heading(sheet), sheet) == sheet


def test_the_same_seed_asks_the_same_and_another_seed_something_else():
    assert drawn(50, seed=1) == drawn(50, seed=1)
    assert drawn(50, seed=1) != drawn(50, seed=2)


def test_no_two_runs_ask_the_same():
    assert not {heading(sheet) for sheet in drawn(50, run="one")} & {heading(sheet) for sheet in drawn(50, run="two")}


def result(id_: str, tier: str | None, content: str) -> Result:
    body: dict[str, object] = {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}
    outcome = Outcome.OK if tier else Outcome.EXPIRED
    return Result(id_, Identity("/s", id_), id_, outcome, Reason.NONE, 200, body, b"", tier=tier)


def test_accuracy_is_by_tier_and_leaves_out_what_was_not_answered():
    said = [
        result("a", "large", "7"),
        result("b", "large", "1"),
        result("c", "small", "7"),
        result("d", None, ""),
        result("e", "none", "?"),
    ]
    answers = dict.fromkeys("abcde", "7")
    assert accuracy({each.id: each for each in said}, answers) == {"large": 0.5, "small": 1.0, "none": 0.0}
