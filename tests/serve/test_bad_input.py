import json
import re
from typing import Annotated
from urllib.parse import quote

import pytest
from pydantic import FiniteFloat, TypeAdapter
from wire_client import WireClient, error_of

from serendip.errors import DataError
from serendip.serve.api import types


@pytest.fixture(scope="module")
def client() -> WireClient:
    return WireClient()


BAD_COUNTS = ["0", "-1", "1001", str(2**31), str(2**63), str(10**18), "1" * 5000, "NaN", "1e3"]
BAD_COUNTS += ["1.5", "true", "", " 1", "٣", "0x10", "1_0"]


class Parameters(types.RequestModel):
    x: Annotated[FiniteFloat, types.FromText] = 0.0
    n: Annotated[int, types.FromText] = 0


@pytest.mark.parametrize(("text", "number"), [("30", 30.0), ("-1.5", -1.5), ("2.5e-3", 0.0025)])
def test_a_parameter_of_number_type_is_read_from_a_query(text, number):
    query = types.read(TypeAdapter(Parameters), {"x": text, "n": "30"})
    assert (query.x, query.n) == (number, 30)
    assert type(query.x) is float and type(query.n) is int


@pytest.mark.parametrize("text", ["nan", "1e999", "", " 1", "1_0", "true", "٣", "9" * 5000])
def test_a_text_that_is_no_number_is_refused(text):
    for name in ("x", "n"):
        with pytest.raises(DataError, match=f"^{name} = "):
            types.read(TypeAdapter(Parameters), {name: text})


@pytest.mark.parametrize("k", BAD_COUNTS)
def test_a_count_that_is_no_whole_number_from_1_to_1000_is_refused(client, k):
    response = client.get("/v1/search", params={"q": "film", "limit": k})
    assert response.status_code == 422
    message = error_of(response)["message"]
    assert message.startswith("limit = ")
    assert re.search("valid integer|than or equal to 1", message)


EVENT = '{"user_id": "u", "item_id": "f1", %s}'
BROKEN_BODIES = {
    "nothing": b"",
    "blanks": b"  \n",
    "no JSON": b"hello",
    "cut": b'{"user_id": "u"',
    "two values": b"{} {}",
    "not UTF-8": b'{"user_id": "\xff", "item_id": "f1"}',
    "byte order mark": b'\xef\xbb\xbf{"user_id": "u", "item_id": "f1"}',
    "null": b"null",
    "a number": b"1",
    "a text": b'"x"',
    "a list of numbers": b"[1]",
    "NaN": (EVENT % '"value": NaN').encode(),
    "Infinity": (EVENT % '"value": Infinity').encode(),
    "-Infinity": (EVENT % '"value": -Infinity').encode(),
    "1e400": (EVENT % '"value": 1e400').encode(),
    "nan as text": (EVENT % '"value": "nan"').encode(),
    "true as a number": (EVENT % '"value": true').encode(),
    "integer of 64 bits and more": (EVENT % f'"position": {2**63}').encode(),
    "integer of 5,000 digits": (EVENT % ('"position": 1' + "0" * 5000)).encode(),
    "an unknown key": (EVENT % '"itemid": "f2"').encode(),
    "lone surrogate": (EVENT % '"query": "\\ud800"').encode(),
    "lone surrogate in a key": (EVENT % '"\\udfff": 1').encode(),
    "NUL": (EVENT % '"query": "a\\u0000b"').encode(),
    "too deep": (EVENT % ('"query": ' + "[" * 40 + "]" * 40)).encode(),
    "far too deep": b"[" * 100_000,
    "an empty id": b'{"user_id": "", "item_id": "f1"}',
    "no user": b'{"item_id": "f1"}',
    "neither item nor query": b'{"user_id": "u"}',
    "an id of 513 bytes": (EVENT % '"session_id": "%s"').encode() % (b"x" * 513),
    "an id of 171 wide signs": (EVENT % '"session_id": "%s"').encode() % ("한" * 171).encode(),
    "time before 1970": (EVENT % '"timestamp": -1').encode(),
    "time in milliseconds": (EVENT % '"timestamp": 1700000000000').encode(),
    "time after 9999": (EVENT % '"timestamp": 1e300').encode(),
    "a negative place": (EVENT % '"position": -1').encode(),
    "a propensity of 0": (EVENT % '"propensity": 0').encode(),
    "a propensity above 1": (EVENT % '"propensity": 1.5').encode(),
    "a propensity as text": (EVENT % '"propensity": "0.5"').encode(),
    "a country of two lines": (EVENT % '"country": "a\\nb"').encode(),
    "a device of two lines": (EVENT % '"device": "a\\nb"').encode(),
    "an unknown surface": (EVENT % '"surface": "nowhere"').encode(),
    "events beside others": b'{"events": [], "more": 1}',
}


@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_a_broken_event_is_refused_and_nothing_is_stored(client, name):
    response = client.post("/v1/events", content=BROKEN_BODIES[name])
    assert response.status_code == 422
    assert error_of(response)["message"]
    assert client.engine.stats()["events"] == 0


def test_one_bad_event_or_unknown_parameter_is_refused_by_name(client):
    rows = [{"user_id": "u", "item_id": "f1"}, {"user_id": "u", "item_id": "f1", "value": "x"}]
    response = client.post("/v1/events", json=rows)
    assert error_of(response)["message"].startswith("events[1].value = 'x'")
    assert client.engine.stats()["events"] == 0

    response = client.get("/v1/search", params={"query": "film"})
    assert response.status_code == 422
    assert error_of(response)["message"] == "query is not known here."
    assert "q" in error_of(response)["hint"]


@pytest.mark.parametrize(
    "attributes", [{"a": True}, {"a": None}, {"a": {"b": 1}}, {"a": [1]}, {"": "x"}]
)
def test_a_broken_item_is_refused(client, attributes):
    response = client.post("/v1/items", json={"item_id": "new", "attributes": attributes})
    assert response.status_code == 422
    assert "attributes" in error_of(response)["message"]
    assert client.get("/v1/items/new").status_code == 404


@pytest.mark.parametrize("name", ["q", "user_id", "cursor"])
def test_nul_in_a_parameter_is_refused(client, name):
    response = client.get(f"/v1/search?q=film&{name}=a%00b".replace("q=film&q", "q"))
    assert response.status_code == 422
    assert "NUL" in error_of(response)["message"]


WORDS = ['"', "*", "a AND", "NEAR(", "col:x", "(((", "-", "^", 'a"b', "'; drop table items; --"]
WORDS += ["../../etc/passwd", "<script>alert(1)</script>", "%s%n", "\r\nSet-Cookie: a=b", "🏳️‍🌈"]
WORDS += ["\u202eabc", "e" + "\u0301" * 900, "\ufeff", "İ", "가", "{{7*7}}"]


@pytest.mark.parametrize("words", WORDS)
def test_any_words_may_be_searched_for(client, words):
    assert client.get("/v1/search", params={"q": words}).status_code == 200
    assert client.post("/v1/search", json={"q": words}).status_code == 200
    assert client.get("/v1/suggest", params={"q": words}).status_code == 200
    assert client.get("/search", params={"q": words}).status_code == 200


@pytest.mark.parametrize("words", [word for word in WORDS if len(word) <= 256 and "\n" not in word])
def test_any_words_may_be_an_id_and_come_back_as_they_are(words):
    client = WireClient()
    item = {"item_id": words, "title": words}
    assert client.post("/v1/items", content=json.dumps(item)).status_code == 200
    client.post("/v1/events", json={"user_id": words, "item_id": words})
    history = client.get(f"/v1/users/{quote(words, safe='')}/history").json()
    assert history["events"][0]["item_id"] == words


@pytest.mark.parametrize("name", ["a\nb", "\r\nSet-Cookie: a=b", "\x1b[2J", "\x7f"])
def test_an_id_is_one_line_of_text(client, name):
    response = client.post("/v1/events", json={"user_id": name, "item_id": "f1"})
    assert response.status_code == 422
    assert "control character" in error_of(response)["message"]


@pytest.mark.parametrize(
    ("surface", "missing"),
    [("search", "q"), ("similar", "item_id"), ("cart", "item_id"), ("thank_you", "item_id")],
)
def test_a_surface_without_what_it_is_about_is_refused_with_its_name(client, surface, missing):
    for response in (
        client.get("/v1/recommend", params={"surface": surface}),
        client.post("/v1/recommend", json={"surface": surface, "q": "  ", "item_id": []}),
    ):
        assert response.status_code == 422
        assert error_of(response)["message"].startswith(f"{missing} is missing")
        assert f"Add {missing}=" in error_of(response)["hint"]
