import pytest

from serendip.files.names import canonical_columns, fold, guess_mapping, names


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            ["userId", "movieId", "rating", "timestamp"],
            ["userId", "movieId", "timestamp", "rating"],
        ),
        (["USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE"], None),
        (["UserId", "ItemId", "FeedbackType", "Timestamp"], None),
        (["user_id", "item_id", "weight", "datetime"], None),
        (["user_id:token", "item_id:token", "rating:float", "timestamp:float"], None),
        (["visitorId", "productDetails.product.id", "eventTime", "attributionToken"], None),
        (["client_id", "event_attributes.object.object_id", "timestamp", "query_id"], None),
        (["reviewerID", "asin", "overall", "unixReviewTime"], None),
    ],
)
def test_events_of_well_known_tools_are_recognised(columns, expected):
    mapping = guess_mapping(columns, "events")
    assert set(mapping) >= {"user_id", "item_id", "timestamp"}
    assert set(mapping.values()) == set(columns)
    if expected:
        assert list(mapping.values()) == expected


@pytest.mark.parametrize(
    ("columns", "kind", "expected"),
    [
        (
            ["movieId", "title", "genres", "createdAt", "overview"],
            "items",
            {
                "item_id": "movieId",
                "title": "title",
                "description": "overview",
                "available_from": "createdAt",
            },
        ),
        (["id", "item_id"], "items", {"item_id": "item_id"}),  # an own name before an alias
        (["item", "type"], "events", {"item_id": "item", "action": "type"}),
        (["色", "размер"], "items", {}),
    ],
)
def test_a_column_serves_once_and_free_ones_are_left(columns, kind, expected):
    assert guess_mapping(columns, kind) == expected


def test_names_in_other_scripts_differ_from_each_other():
    assert fold("色") != fold("размер") != ""
    assert fold("Größe (cm)") == "grössecm"


@pytest.mark.parametrize("kind", ["items", "events", "users"])
def test_aliases_are_folded_distinct_and_begin_with_their_own_name(kind):
    table = canonical_columns(kind)
    for canonical, aliases in table.items():
        assert aliases[0] == fold(canonical)
        assert [fold(alias) for alias in aliases] == list(aliases)
    every = [alias for aliases in table.values() for alias in aliases]
    assert len(every) == len(set(every))


def test_names_of_attributes_and_actions_are_folded():
    actions = names("actions")
    lists = [
        *names("attributes").values(),
        *names("private").values(),
        *actions["negative"].values(),
        actions["like"],
    ]
    for aliases in lists:
        assert [fold(alias) for alias in aliases] == aliases
        assert len(aliases) == len(set(aliases))


ITEMS = ("items", ("item_id", "title", "description"))
EVENTS = ("events", ("user_id", "item_id", "timestamp"))
CONTEXT = ("events", ("country", "device", "session_id"))


@pytest.mark.parametrize(
    ("kind", "canonical", "columns"),
    [
        (*ITEMS, ["Artikel-Nr.", "Bezeichnung", "Beschreibung"]),
        (*ITEMS, ["상품 번호", "상품명", "상세 설명"]),
        (*ITEMS, ["Handle", "Title", "Body (HTML)"]),
        (*ITEMS, ["商品コード", "商品名", "商品説明"]),
        (*EVENTS, ["customer", "sku", "when"]),
        (*EVENTS, ["client", "article", "viewed_at"]),
        (*EVENTS, ["shopper", "product", "clicked_at"]),
        (*EVENTS, ["Visitor", "ASIN", "time_stamp"]),
        (*EVENTS, ["member", "item", "day"]),
        (*EVENTS, ["buyer", "product_code", "created"]),
        (*EVENTS, ["Kundennummer", "Artikel_Nr", "Bestelldatum"]),
        (*EVENTS, ["고객번호", "상품코드", "주문 일시"]),
        (*EVENTS, ["会員ID", "商品番号", "注文日時"]),
        (*CONTEXT, ["국가", "기기", "세션"]),
        (*CONTEXT, ["Länder-Code", "Plattform", "Besuch"]),
        (*CONTEXT, ["geo.country", "Device Type", "visit_id"]),
    ],
)
def test_everyday_names_and_those_of_other_languages_are_recognised(kind, canonical, columns):
    assert guess_mapping(columns, kind) == dict(zip(canonical, columns, strict=True))


def test_what_is_given_is_kept_and_not_used_twice():
    given = {"user_id": "item_id", "item_id": "b"}
    assert guess_mapping(["item_id", "b", "when"], "events", given) == {
        **given,
        "timestamp": "when",
    }
