"""The load of the demo: handwritten digits as OpenAI batch files, and the answers that are right.

scikit-learn brings 1,797 labelled images. The workers learn from the even rows (workers/digits.py); the odd rows are asked,
so that accuracy is measured on images that no model has seen. Each image is asked in two of the classes, which gives about
1,800 requests, and puts the same questions before a patient and an urgent audience. People do not ask all at once: the most
urgent class comes in many small files one after another, the others in one file each.

Labels stay here: neither the batch files nor the workers know them.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from failsoft.policy.errors import EnvironmentFailure
from failsoft.policy.request import ClassName
from failsoft.wire import Identity, Result
from failsoft.wire.identity import result_id

CLASSES_PER_IMAGE = 2
URGENT_FILES = 20


@dataclass(frozen=True, slots=True)
class Question:
    """One request, and what a good answer says.

    Attributes:
        request_class: urgency.
        custom_id: the sender's name for it; unique in all runs, so that no two runs share a request.
        answer: the digit that the image shows.
        ink: the image, 64 numbers.
    """

    request_class: ClassName
    custom_id: str
    answer: str
    ink: Sequence[float] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Job:
    """Questions of one class, as an OpenAI batch file.

    Attributes:
        path: one line per question.
        source: the first half of the identity of all its requests.
        request_class: urgency of all of them.
        questions: result id -> question.
    """

    path: Path
    source: str
    request_class: ClassName
    questions: dict[str, Question] = field(repr=False)


def digit_questions(run: str, *, classes: Sequence[ClassName], images: int | None, seed: int) -> list[Question]:
    """Draw the questions of one run.

    Args:
        run: its unique name.
        classes: of the catalogue.
        images: how many; None for all there are.
        seed: which images, in which order, in which classes.

    Raises:
        EnvironmentFailure: scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, and only the `demo` extra brings it
    except ImportError as error:
        raise EnvironmentFailure("the demo needs scikit-learn: pip install 'failsoft[demo]'") from error
    ink, labels = load_digits(return_X_y=True)
    rng = random.Random(seed)
    rows = rng.sample(range(1, len(labels), 2), k=min(images or len(labels), len(labels) // 2))
    drawn = [(row, set(rng.sample(classes, k=min(CLASSES_PER_IMAGE, len(classes))))) for row in rows]
    return [
        Question(request_class, f"{run}-{request_class}-{row}", str(labels[row]), ink[row].tolist())
        for request_class in classes
        for row, asked_in in drawn
        if request_class in asked_in
    ]


def write_batch_files(questions: Iterable[Question], folder: Path) -> list[Job]:
    """Write the questions, most urgent class first, as OpenAI batch files: many for that class, one for each other."""
    by_class: dict[ClassName, list[Question]] = {}
    for question in questions:
        by_class.setdefault(question.request_class, []).append(question)
    urgent = next(iter(by_class))
    pieces = [
        (name, piece)
        for name, members in by_class.items()
        for piece in (_pieces(members, URGENT_FILES) if name == urgent else [members])
    ]
    return [_write(folder / f"{number}-{name}.jsonl", name, piece) for number, (name, piece) in enumerate(pieces)]


def _pieces(questions: Sequence[Question], count: int) -> list[Sequence[Question]]:
    """Cut into so many pieces, as equal as can be; fewer where there are fewer questions."""
    return [piece for start in range(count) if (piece := questions[start::count])]


def _write(path: Path, request_class: ClassName, questions: Sequence[Question]) -> Job:
    content = b"".join(orjson.dumps(_line(question), option=orjson.OPT_APPEND_NEWLINE) for question in questions)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    asked = {Identity.of_batch_line(digest, number): question for number, question in enumerate(questions, start=1)}
    source = next(iter(asked)).source
    return Job(path, source, request_class, {result_id(name): question for name, question in asked.items()})


def _line(question: Question) -> dict[str, object]:
    content = " ".join(f"{number:g}" for number in question.ink)
    body = {"model": "digits", "messages": [{"role": "user", "content": content}], "temperature": 0}
    return {"custom_id": question.custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def accuracy(results: Mapping[str, Result], questions: Mapping[str, Question]) -> dict[str, float]:
    """By tier, the share of its answers that say the right digit; both arguments are by result id."""
    answered = [(result.tier, _content(result.body) == questions[id_].answer) for id_, result in results.items()]
    total = Counter(tier for tier, _ in answered if tier is not None)
    right = Counter(tier for tier, is_right in answered if tier is not None and is_right)
    return {tier: right[tier] / total[tier] for tier in total}


def _content(body: object) -> str | None:
    """What a chat completion says; None where it is none."""
    match body:
        case {"choices": [{"message": {"content": str(content)}}, *_]}:
            return content
        case _:
            return None
