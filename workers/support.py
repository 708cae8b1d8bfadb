"""Answers a shop's customers from its own pages: find what concerns the question, then have a model answer from that.

    retrieve   vector-search   the pages whose vectors are nearest
               keywords        those that have most words in common; level 2
               nothing         none; the answer will say so and is no better than level 3
    answer     large, small    a model server; large needs documents, and without them no answer counts as level 1
               apology         what to say when no model can

Everything works offline: the corpus stands below, a page's vector is counted from its letters (so that typing errors and
endings matter little), and ``failsoft model-server`` is a model server for trying out. Another one speaks OpenAI's API where
the environment variable MODEL_SERVER_URL says; where there are several, MODEL_SERVER_URLS names them by region, as in served.py.

    failsoft worker workers.support:pipeline                  # both stages
    failsoft worker workers.support:pipeline --stage answer   # or one of them

A file that SUPPORT_PAGES names, one page a line, takes the corpus's place as soon as it is there, and the index is made anew
when it changes. An empty one is the failure that nobody reports: each search succeeds, and finds nothing.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from failsoft import Call, Constant, Context, OpenAICompatible, Output, Pipeline, RequestRefused, nonempty

CORPUS = (
    "Returns: you may send goods back within 30 days of delivery, unused and in their box, with the label in the parcel.",
    "Refunds: the money comes back to the card or account that paid, within five working days after the parcel has reached us.",
    "Delivery times: parcels within the country arrive in two working days, parcels abroad in five to eight.",
    "Delivery costs: shipping is free above 50 euros; below that it is 4.90 euros, and 12 euros abroad.",
    "Express delivery: orders before noon arrive on the next working day, for 9.90 euros.",
    "Tracking: the message that a parcel has left us has a link that shows where it is.",
    "Lost parcels: a parcel that has not moved for seven days counts as lost; we send the goods again at no cost.",
    "Damaged goods: send us a photo of the damage within 14 days, and we replace the item or pay it back.",
    "Warranty: every device is under warranty for two years from purchase. Batteries are covered for one year.",
    "Repairs: after the warranty our workshop repairs devices; you get an estimate before anything is done.",
    "Sizes: shoes run small, so take one size up. A table of sizes in centimetres stands on each product page.",
    "Exchange: another size or colour is sent at no cost when the first one comes back within 30 days.",
    "Payment: we take cards, bank transfer and payment by invoice. An invoice is due within 14 days.",
    "Vouchers: a gift voucher is valid for three years and may be used in parts. It cannot be paid out.",
    "Account: the password can be set anew with the link on the sign-in page. Deleting an account takes 30 days.",
    "Privacy: order data are kept for ten years because the law says so; marketing data are deleted when you ask.",
    "Newsletter: you can leave it with the link at the end of every letter.",
    "Shops: our shops in Hamburg and Vienna are open from Monday to Saturday, from 10 to 19.",
)
NEAREST = 3
NEAR_ENOUGH = 0.12
"""Cosine below which a page has nothing to do with a question. "What is the capital of France?" reaches .06, a question with two
typing errors .19 and more."""
_WORDS = re.compile(r"\w+")
_COMMON = frozenset(
    "a an and are be by can do does for from how i in is it may my of on or that the this to what when with you".split()  # noqa: SIM905 - a list of forty strings reads worse
)

Vector = Mapping[str, float]


def grams(text: str) -> Counter[str]:
    """The runs of three letters in its words, common words left out."""
    words = [word for word in _WORDS.findall(text.lower()) if word not in _COMMON]
    return Counter(f" {word} "[begin : begin + 3] for word in words for begin in range(len(word)))


class Index:
    """Pages, found by what is near to a question or by its words."""

    def __init__(self, pages: Sequence[str]) -> None:
        self._pages = pages
        counts = Counter(gram for page in pages for gram in set(grams(page)))
        self._rarity = {gram: math.log((1 + len(pages)) / count) for gram, count in counts.items()}
        self._unknown = math.log(1 + len(pages))
        """Rarity of letters that stand in no page: whoever asks for something else is far from all of them."""
        self._vectors = [self._vector(page) for page in pages]

    def nearest(self, question: str) -> list[str]:
        """The pages nearest to a question, the nearest first; none where none is near."""
        asked = self._vector(question)
        scores = [sum(weight * page.get(gram, 0.0) for gram, weight in asked.items()) for page in self._vectors]
        return self._best(scores, least=NEAR_ENOUGH)

    def with_words_of(self, question: str) -> list[str]:
        """The pages that have most words in common with a question."""
        asked = set(_WORDS.findall(question.lower())) - _COMMON
        return self._best([len(asked & set(_WORDS.findall(page.lower()))) for page in self._pages], least=1)

    def _best(self, scores: Sequence[float], *, least: float) -> list[str]:
        best = sorted(zip(scores, self._pages, strict=True), reverse=True)[:NEAREST]
        return [page for score, page in best if score >= least]

    def _vector(self, text: str) -> Vector:
        """Its direction: each run of letters by how often it stands there, and how rare it is in the corpus."""
        weights = {gram: (1 + math.log(n)) * self._rarity.get(gram, self._unknown) for gram, n in grams(text).items()}
        length = math.hypot(*weights.values()) or 1.0
        return {gram: weight / length for gram, weight in weights.items()}


def index() -> Index:
    """The pages as they are now."""
    named = os.environ.get("SUPPORT_PAGES")
    try:
        written = Path(named).stat() if named else None
    except FileNotFoundError:
        written = None
    return CORPUS_INDEX if named is None or written is None else _read(named, written.st_mtime_ns, written.st_size)


@lru_cache(maxsize=1)
def _read(file: str, _written_at: int, _size: int) -> Index:
    return Index([line for line in Path(file).read_text("utf-8").splitlines() if line.strip()])


CORPUS_INDEX = Index(CORPUS)


def question_of(body: Mapping[str, Any]) -> str:
    """What the customer has said last.

    Raises:
        RequestRefused: there is no such thing.
    """
    messages = body.get("messages")
    said = [each.get("content") for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []
    if not said or not isinstance(said[-1], str):
        raise RequestRefused("messages: the last one needs a content, as text")
    return said[-1]


def handed_on(call: Call, pages: list[str]) -> Output:
    """The request with the pages in front, and the pages by themselves."""
    facts = {"role": "system", "content": "Answer from these pages alone:\n" + "\n".join(pages)}
    messages = [facts, *call.body["messages"]] if pages else call.body["messages"]
    return Output({**call.body, "messages": messages}, context={"documents": pages})


pipeline = Pipeline("support")
regions = os.environ.get("MODEL_SERVER_URLS", "")
where: dict[str, Any] = {"url": os.environ.get("MODEL_SERVER_URL", "http://127.0.0.1:8000")}
if regions:
    where = {"urls": dict(pair.split("=", 1) for pair in regions.split(","))}

retrieve = pipeline.stage("retrieve")


@retrieve.tier("vector-search", limit=64, expect="5ms")
async def search(call: Call) -> Output:
    """The nearest pages."""
    return handed_on(call, index().nearest(question_of(call.body)))


@retrieve.tier("keywords", limit=64, expect="5ms")
async def keywords(call: Call) -> Output:
    """The pages with the most words in common."""
    return handed_on(call, index().with_words_of(question_of(call.body)))


retrieve.tier("nothing", Constant({}, context={"documents": []}))

answer = pipeline.stage("answer", after=retrieve, context=Context(required={"documents": nonempty()}))
answer.tier("large", OpenAICompatible("large", **where, limit=8), needs={"documents"}, expect="200ms")
answer.tier("small", OpenAICompatible("small", **where, limit=16), expect="40ms")
answer.tier(
    "apology",
    Constant(
        {
            "object": "chat.completion",
            "model": "support-apology",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "We cannot answer now; somebody will write to you."},
                    "finish_reason": "stop",
                }
            ],
        }
    ),
)
