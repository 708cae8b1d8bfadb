import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.endpoints.call import Busy, EndpointBroken, EndpointFailed, RequestRefused
from failsoft.endpoints.http_status import MESSAGE_CHARACTERS, error_message, failure

RETRY = {"retry-after": "2"}
VLLM_FULL = b'{"error": {"message": "the request was rejected", "type": "QueueOverflowError", "code": 503}}'
OLLAMA_FULL = b'{"error": "server busy, please try again. maximum pending requests exceeded"}'
LLAMA_LOADING = b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}'


def meaning(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Exception:
    return failure(status, headers or {}, body, remaining_seconds=10.0, now=0.0)


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (429, {}, b"", Busy),
        (529, {}, b"", Busy),
        (503, RETRY, b"", Busy),
        (503, {}, VLLM_FULL, Busy),
        (503, {}, OLLAMA_FULL, Busy),
        (503, {}, b"Too Many Requests", Busy),
        (503, {"x-llm-d-request-dropped-reason": "evicted"}, b"", Busy),
        (503, {}, LLAMA_LOADING, EndpointFailed),
        (503, {}, b"", EndpointFailed),
        (500, RETRY, VLLM_FULL, EndpointFailed),
        (500, {}, b"", EndpointFailed),
        (502, {}, b"<html>Bad gateway</html>", EndpointFailed),
        (504, {}, b"", EndpointFailed),
        (408, {}, b"", EndpointFailed),
        (409, {}, b"", EndpointFailed),
        (424, {}, b"", EndpointFailed),
        (425, {}, b"", EndpointFailed),
        (400, {}, b"", RequestRefused),
        (413, {}, b"", RequestRefused),
        (422, {}, b"", RequestRefused),
        (401, {}, b"", EndpointBroken),
        (402, {}, b"", EndpointBroken),
        (403, {}, b"", EndpointBroken),
        (404, {}, b"", EndpointBroken),
        (405, {}, b"", EndpointBroken),
        (301, {}, b"", EndpointBroken),
        (307, {}, b"", EndpointBroken),
    ],
)
def test_a_status_says_whose_fault_it_is(status, headers, body, expected):
    assert type(meaning(status, headers, body)) is expected


@pytest.mark.parametrize("status", [429, 503, 529])
def test_backpressure_says_when_to_come_back(status):
    busy = meaning(status, RETRY)
    assert isinstance(busy, Busy)
    assert busy.retry_after_seconds == 2.0


def test_a_refusal_repeats_what_the_model_said_and_keeps_its_status():
    refused = meaning(422, body=b'{"error": {"message": "temperature must be\\n at most 2", "type": "x"}}')
    assert isinstance(refused, RequestRefused)
    assert (str(refused), refused.status_code) == ("temperature must be at most 2", 422)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": {"message": "too long", "code": 1}}', "too long"),
        (b'{"error": "too long", "error_type": "validation"}', "too long"),
        (b'{"object": "error", "message": "too long"}', "too long"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"loc": ["body", "messages"]}]}', '{"detail":[{"loc":["body","messages"]}]}'),
        (b'"too long"', "too long"),
        (b"upstream\n  failed", "upstream failed"),
        (b"", ""),
        (b"null", ""),
        (b"\xff\xfe", "��"),
    ],
)
def test_the_message_is_found_in_each_server_s_form(body, expected):
    assert error_message(body) == expected


TEXTS = st.text(st.characters(codec="utf-8")).map(lambda text: text * 50)


@given(st.binary() | TEXTS.map(str.encode) | TEXTS.map(lambda text: orjson.dumps({"error": {"message": text}})))
def test_a_message_is_one_bounded_line_whatever_the_body(body):
    message = error_message(body)
    assert len(message) <= MESSAGE_CHARACTERS
    assert message.splitlines() in ([], [message])
