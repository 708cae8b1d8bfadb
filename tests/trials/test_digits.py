from collections import Counter
from pathlib import Path

import orjson
from sklearn.datasets import load_digits

from failsoft.policy.outcome import Outcome, Reason
from failsoft.trials.digits import Question, accuracy, digit_questions, write_batch_files
from failsoft.wire import Identity, Result
from failsoft.wire.body import decode_request

CLASSES = ["interactive", "standard", "batch"]


def questions(*, run: str = "run", images: int | None = None, seed: int = 0) -> list[Question]:
    return digit_questions(run, classes=CLASSES, images=images, seed=seed)


def test_every_odd_row_is_asked_in_two_of_the_classes():
    asked = questions()
    by_image = Counter(question.custom_id.rpartition("-")[2] for question in asked)
    assert set(by_image) == {str(row) for row in range(1, 1797, 2)}
    assert set(by_image.values()) == {2}
    assert len({question.custom_id for question in asked}) == len(asked) == 1796
    assert {question.request_class for question in asked} == set(CLASSES)


def test_the_answer_that_is_right_is_the_image_s_label():
    ink, labels = load_digits(return_X_y=True)
    for question in questions(images=20):
        row = int(question.custom_id.rpartition("-")[2])
        assert question.answer == str(labels[row])
        assert list(question.ink) == ink[row].tolist()


def test_the_same_seed_asks_the_same_and_another_seed_something_else():
    assert questions(images=50, seed=1) == questions(images=50, seed=1)
    assert questions(images=50, seed=1) != questions(images=50, seed=2)


def test_no_two_runs_share_a_request(tmp_path: Path):
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
    one, two = (write_batch_files(questions(run=run, images=9), tmp_path / run) for run in ("one", "two"))
    ids = [id_ for job in (*one, *two) for id_ in job.questions]
    assert len(set(ids)) == len(ids) == 36


def test_the_files_are_openai_batch_files_and_do_not_tell_the_answer(tmp_path: Path):
    for job in write_batch_files(questions(images=30), tmp_path):
        lines = job.path.read_bytes().splitlines()
        assert len(lines) == len(job.questions)
        for line, question in zip(lines, job.questions.values(), strict=True):
            request = decode_request(line)
            assert (request.custom_id, request.url) == (question.custom_id, "/v1/chat/completions")
            assert [float(number) for number in request.body["messages"][0]["content"].split()] == list(question.ink)
            assert set(orjson.loads(line)) == {"custom_id", "method", "url", "body"}


def result(id_: str, tier: str | None, content: str) -> Result:
    body: dict[str, object] = {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}
    outcome = Outcome.OK if tier else Outcome.EXPIRED
    return Result(id_, Identity("/s", id_), id_, outcome, Reason.NONE, 200, body, b"", tier=tier)


def test_accuracy_is_by_tier_and_leaves_out_what_was_not_answered():
    asked = {id_: Question("batch", id_, "7", ()) for id_ in "abcde"}
    said = [
        result("a", "large", "7"),
        result("b", "large", "1"),
        result("c", "small", "7"),
        result("d", None, ""),
        result("e", "none", "?"),
    ]
    assert accuracy({each.id: each for each in said}, asked) == {"large": 0.5, "small": 1.0, "none": 0.0}


def test_the_most_urgent_class_comes_in_many_small_files_and_each_other_in_one(tmp_path: Path):
    jobs = Counter(job.request_class for job in write_batch_files(questions(images=200), tmp_path))
    assert jobs == {"interactive": 20, "standard": 1, "batch": 1}
    assert len(list(tmp_path.iterdir())) == 22


def test_no_file_is_empty_however_few_images_there_are(tmp_path: Path):
    jobs = write_batch_files(questions(images=2), tmp_path)
    assert sum(len(job.questions) for job in jobs) == 4
    assert all(job.questions for job in jobs)
