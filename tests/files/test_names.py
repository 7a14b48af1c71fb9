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


def test_items_are_recognised_and_free_columns_are_left():
    columns = ["movieId", "title", "genres", "createdAt", "overview"]
    assert guess_mapping(columns, "items") == {
        "item_id": "movieId",
        "title": "title",
        "description": "overview",
        "available_from": "createdAt",
    }


def test_an_own_name_wins_over_an_alias():
    assert guess_mapping(["id", "item_id"], "items")["item_id"] == "item_id"


def test_a_file_column_serves_once():
    mapping = guess_mapping(["item", "type"], "events")
    assert mapping == {"item_id": "item", "action": "type"}


@pytest.mark.parametrize(
    ("columns", "canonical"),
    [
        (["Artikel-Nr.", "Bezeichnung", "Beschreibung"], ["item_id", "title", "description"]),
        (["상품 번호", "상품명", "상세 설명"], ["item_id", "title", "description"]),
        (["Handle", "Title", "Body (HTML)"], ["item_id", "title", "description"]),
        (["商品コード", "商品名", "商品説明"], ["item_id", "title", "description"]),
    ],
)
def test_items_with_names_in_other_languages_are_recognised(columns, canonical):
    assert guess_mapping(columns, "items") == dict(zip(canonical, columns, strict=True))


def test_unknown_names_in_other_scripts_are_no_match_and_differ_from_each_other():
    assert guess_mapping(["色", "размер"], "items") == {}
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
    lists = [*names("attributes").values(), *actions["negative"].values(), actions["like"]]
    for aliases in lists:
        assert [fold(alias) for alias in aliases] == aliases
        assert len(aliases) == len(set(aliases))


@pytest.mark.parametrize(
    "columns",
    [
        ["customer", "sku", "when"],
        ["client", "article", "viewed_at"],
        ["shopper", "product", "clicked_at"],
        ["Visitor", "ASIN", "time_stamp"],
        ["member", "item", "day"],
        ["buyer", "product_code", "created"],
        ["Kundennummer", "Artikel_Nr", "Bestelldatum"],
        ["고객번호", "상품코드", "주문 일시"],
        ["会員ID", "商品番号", "注文日時"],
    ],
)
def test_everyday_names_of_events_are_recognised(columns):
    expected = dict(zip(("user_id", "item_id", "timestamp"), columns, strict=True))
    assert guess_mapping(columns, "events") == expected


@pytest.mark.parametrize(
    "columns",
    [
        ["국가", "기기", "세션"],
        ["Länder-Code", "Plattform", "Besuch"],
        ["geo.country", "Device Type", "visit_id"],
    ],
)
def test_country_device_and_visit_are_recognised(columns):
    expected = dict(zip(("country", "device", "session_id"), columns, strict=True))
    assert guess_mapping(columns, "events") == expected


def test_what_is_given_is_kept_and_not_used_twice():
    given = {"user_id": "item_id", "item_id": "b"}
    assert guess_mapping(["item_id", "b", "when"], "events", given) == {
        **given,
        "timestamp": "when",
    }
