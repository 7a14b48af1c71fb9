from collections import Counter

import numpy as np
import pytest

from serendip.data import Catalogue, Item
from serendip.data.events.search_log import Search
from serendip.data.privacy import VISITOR
from serendip.data.text import normalise
from serendip.search.config import QueriesConfig
from serendip.search.language import function_words, phrases_of, spell_phrases
from serendip.search.suggestions.candidates import catalogue_candidates, logged_queries


def film(number, year, genre, cast="Ann Lee", text=""):
    attributes = {"year": float(year), "genres": (genre,), "cast": (cast,)}
    return Item(f"f{number}", f"Film {number}", text, attributes)


FILMS = Catalogue(
    [
        film(0, 1994, "Sci-Fi", text="A haunted lighthouse keeper."),
        film(1, 1999, "Sci-Fi", text="The haunted lighthouse, at sea."),
        film(2, 1985, "Sci-Fi", "Bo Li", "On a haunted lighthouse."),
        film(3, 1931, "Drama", "Bo Li", "Nothing of the kind."),
        film(4, 1894, "Drama", "Cy Wu"),
    ]
)


def found(**settings):
    config = QueriesConfig(**settings)
    popularity = np.arange(5, dtype=np.float32)
    return {one.text: one for one in catalogue_candidates(FILMS, popularity, config)}


def test_values_of_several_items_and_what_is_like_an_item_are_candidates():
    ours = found()
    assert ours["Bo Li"].items.tolist() == [2, 3]
    assert (ours["Bo Li"].kind, ours["Bo Li"].source) == ("attribute", "fields")
    assert "Cy Wu" not in ours
    likes = [text for text, one in found().items() if one.kind == "like"]
    assert likes[:2] == ["like Film 4", "like Film 3"]


def test_phrases_of_a_shop_have_its_language_and_its_spelling():
    texts = [
        *("Die schöne Hütte und das Boot am See.", "Mit dem Boot auf der schöne Hütte!"),
        *("Ein Boot, eine schöne Hütte und der See", "Das Boot ist auf dem See nicht weit"),
    ]
    items = Catalogue(
        Item(f"i{n}", f"T{n}", texts[n] if n < 4 else "Sie ist nicht da") for n in range(80)
    )
    proposed = catalogue_candidates(items, np.zeros(80, np.float32), QueriesConfig())
    ours = {one.text: one for one in proposed if one.source == "rules"}
    assert set(ours) == {"schöne", "schöne Hütte", "Hütte", "Boot", "See"}
    assert ours["schöne Hütte"].items.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "word", "other"),
    [
        ("the king and the queen of a land that is far away", "the", "und"),
        ("der König und die Königin sind nicht in dem Land", "und", "les"),
        ("le roi et la reine ne sont pas dans les bois", "les", "und"),
        ("el rey y la reina de las montañas que no son altas", "las", "und"),
        ("die Hütte und das Boot auf dem See: the hut and the boat on the lake", "und", "les"),
        ("to the moon and on to a star, so far away, a man is in the dark", "the", "tom"),
    ],
)
def test_function_words_are_of_the_language_of_the_texts(text, word, other):
    found = function_words([text])
    assert word in found and other not in found
    assert "the" in found


def test_phrases_have_the_spelling_of_the_text_and_no_parts():
    found = dict(spell_phrases("An “Über-Buch” for Zoë's café, 2nd iphone케이스"))
    assert found["zoes cafe"] == "Zoë's café"
    assert found["iphone 케이스"] == "iphone 케이스"
    assert set(found) == set(phrases_of("An “Über-Buch” for Zoë's café, 2nd iphone케이스"))

    sagas = [Item(f"s{n}", f"Star Wars Episode {n}") for n in range(6)]
    others = [Item(f"o{n}", f"Star Trek {n}") for n in range(4)]
    items = Catalogue([*sagas, *others, *(Item(f"x{n}", f"Film {n}") for n in range(200))])
    popularity = np.zeros(len(items), np.float32)
    ours = {one.text for one in catalogue_candidates(items, popularity, QueriesConfig())}
    assert "Star Wars Episode" in ours
    assert "Wars Episode" not in ours


def search(user, time, text, chosen=()):
    return Search(user, float(time), text, normalise(text), np.array(chosen, np.int32))


def test_a_query_of_fewer_people_never_becomes_a_suggestion():
    rows = [
        search("a", 1, "heist", [1]),
        search("a", 2, "heist", [2]),
        search("b", 3, "Heist", [1]),
    ]
    dropped = Counter()
    assert logged_queries(rows, 3, dropped) == [] and dropped == {"few users": 1}
    (one,) = logged_queries(rows, 2)
    assert (one.text, one.users, one.searches, one.items.tolist()) == ("heist", 2, 3, [1, 2])


def test_a_query_with_one_private_spelling_is_shown_in_none():
    rows = [
        search("a", 1, "anna smith example com"),
        search("b", 2, "anna.smith@example.com", [1]),
        search("c", 3, "anna.smith@example.com", [1]),
    ]
    assert len({row.key for row in rows}) == 1
    for order in (rows, rows[::-1], [rows[0], rows[0], *rows]):
        dropped = Counter()
        assert logged_queries(order, 2, dropped) == [] and dropped == {"private or long": 1}


def test_queries_of_people_are_whole_and_of_different_ones():
    rows = [search(f"{VISITOR}{n}", n, "heist", [1]) for n in range(9)]
    assert logged_queries(rows, 1) == []
    (one,) = logged_queries([*rows, search("a", 9, "heist"), search("b", 9, "heist")], 2)
    assert (one.users, one.searches) == (2, 11)

    rows = []
    for at, user in enumerate("abc"):
        rows += [search(user, 10_000 * at, "star", [2]), search(user, 10_000 * at + 9, "star trek")]
    assert {one.text for one in logged_queries(rows, 3)} == {"star", "star trek"}


def test_what_was_typed_on_is_no_query():
    rows = []
    for at, user in enumerate("abc"):
        start = 10_000 * at
        rows += [search(user, start, "sta"), search(user, start + 2, "star tr")]
        rows += [search(user, start + 5, "star trek", [1])]
    dropped = Counter()
    assert [one.text for one in logged_queries(rows, 3, dropped)] == ["star trek"]
    assert dropped == {"unfinished": 2}
