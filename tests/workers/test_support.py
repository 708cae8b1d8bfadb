"""The pipeline of a shop's support: what each of its stages does, without a broker and without a model server."""

from pathlib import Path

import pytest

from failsoft.catalogue import load
from failsoft.policy.outcome import Outcome, Reason
from failsoft.testing import Answers, Fails, run_stage
from workers.support import CORPUS, answer, index, pipeline, retrieve

CATALOGUE = load(Path(__file__).parents[2] / "topics.yaml")
LARGE, SMALL = Answers({"by": "large"}, after="200ms"), Answers({"by": "small"}, after="40ms")


def asked(question: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}]}


def test_the_catalogue_has_its_stages():
    pipeline.check(CATALOGUE)


@pytest.mark.parametrize(
    ("question", "page"),
    [
        ("Can I send it back if I do not like it?", "Returns"),
        ("May I send back my shoes?", "Returns"),
        ("Where is my parcel?", "Tracking"),
        ("How long does delivery abroad take?", "Delivery times"),
        ("I forgot my pasword", "Account"),
        ("my devise is brokn, is there a waranty?", "Warranty"),
        ("can I pay by invoice", "Payment"),
    ],
)
def test_the_page_that_a_question_is_about_is_among_the_nearest_typing_errors_or_not(question, page):
    assert any(found.startswith(page) for found in index().nearest(question))


@pytest.mark.parametrize("question", ["what is the capital of France", "quantum chromodynamics", "", "?!"])
def test_what_no_page_is_about_finds_none(question):
    assert index().nearest(question) == []


@pytest.mark.parametrize("page", CORPUS)
def test_every_page_is_found_by_its_own_words(page):
    assert index().nearest(page)[0] == index().with_words_of(page)[0] == page


async def test_an_index_that_becomes_empty_finds_nothing_without_an_error_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pages, question = tmp_path / "pages.txt", "can I pay by invoice"
    monkeypatch.setenv("SUPPORT_PAGES", str(pages))
    async with run_stage(retrieve) as stage:
        assert len((await stage.send(asked(question), request_class="interactive")).body["messages"]) == 2
        pages.write_text("")
        emptied = await stage.send(asked(question), request_class="interactive")
        assert (emptied.outcome, emptied.tier, emptied.level) == (Outcome.OK, "vector-search", 1)
        assert emptied.body["messages"] == asked(question)["messages"]
        pages.write_text("Cheques: we take none.\nInvoices: you can pay by invoice.\n")
        facts, _ = (await stage.send(asked(question), request_class="interactive")).body["messages"]
        assert "Invoices" in facts["content"]
        assert "Payment" not in facts["content"]
        pages.unlink()
        facts, _ = (await stage.send(asked(question), request_class="interactive")).body["messages"]
        assert "Payment" in facts["content"]


async def test_a_page_goes_before_the_question_and_where_the_search_fails_words_find_it():
    async with run_stage(retrieve) as stage:
        result = await stage.send(asked("can I pay by invoice"), request_class="interactive")
        assert (result.tier, result.level) == ("vector-search", 1)
        facts, question = result.body["messages"]
        assert "Payment" in facts["content"]
        assert question["content"] == "can I pay by invoice"
        stage.replace("vector-search", Fails(500))
        result = await stage.send(asked("can I pay by invoice?"), request_class="interactive")
        assert (result.tier, result.level, result.reason) == ("keywords", 2, Reason.ENDPOINT_ERROR)


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"messages": "x"}, {"messages": [{"content": [1]}]}])
async def test_a_request_without_a_question_is_invalid(body):
    async with run_stage(retrieve) as stage:
        result = await stage.send(body, request_class="interactive")
    assert (result.outcome, result.reason) == (Outcome.INVALID, Reason.REQUEST_REFUSED)


@pytest.mark.parametrize(
    ("documents", "tier", "level", "reason"),
    [
        (["Payment: …"], "large", 1, Reason.NONE),
        ([], "small", 2, Reason.CONTEXT_INCOMPLETE),
        ([""], "small", 2, Reason.CONTEXT_INCOMPLETE),
        (None, "small", 2, Reason.CONTEXT_INCOMPLETE),
    ],
)
async def test_without_pages_no_answer_is_of_level_1(documents, tier, level, reason):
    async with run_stage(answer, endpoints={"large": LARGE, "small": SMALL}) as stage:
        context = {"documents": documents}
        result = await stage.send(asked("can I pay by invoice"), context=context, request_class="interactive")
    assert (result.tier, result.level, result.reason) == (tier, level, reason)


async def test_with_no_model_left_it_says_sorry():
    async with run_stage(answer, endpoints={"large": Fails(500), "small": Fails(500)}) as stage:
        result = await stage.send(asked("?"), context={"documents": ["x"]}, request_class="interactive")
    assert (result.tier, result.level) == ("apology", 3)


def test_the_stages_say_what_follows():
    later = retrieve.settings(CATALOGUE).later
    assert [(stage.name, stage.expected_seconds) for stage in later] == [("answer", 0.2)]
    assert later[0].at_once is not None
    assert later[0].at_once.name == "apology"
