import numpy as np
import pytest

from serendip.data import Catalogue, Dataset, EventLog, Item, Vocabulary
from serendip.data.events.search_log import Search, SuggestedQuery
from serendip.jobs.context import Log
from serendip.jobs.suggestions.ranker_data import train_query_ranker
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.combinations import Categories
from serendip.search.suggestions.ranker import FEATURES, LogisticModel, prior_ranker
from serendip.search.suggestions.table import QueryTable

NUM_ITEMS, NUM_USERS = 40, 30
ITEMS = Catalogue(
    Item(f"i{n}", f"Thing {n}", attributes={"group": f"g{n % 4}"}) for n in range(NUM_ITEMS)
)


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    folder = tmp_path_factory.mktemp("learn") / "index"
    return Searcher.build(ITEMS, np.zeros(NUM_ITEMS, np.float32), folder)


def table() -> QueryTable:
    """Rules that find two items of the same group, phrases that find two of different ones."""
    made = [(f"rule {n}", "rule", [n, n + 4]) for n in range(20)]
    made += [(f"phrase {n}", "phrase", [n, n + 1]) for n in range(20)]
    made += [(f"like thing {n}", "like", [n]) for n in range(20)]
    found = [Candidate(t, k, "rules", np.array(i, np.int32)) for t, k, i in made]  # type: ignore[arg-type]
    return QueryTable.of(found, ITEMS, Categories.of(ITEMS))


def dataset(num_users: int = NUM_USERS) -> Dataset:
    users = np.repeat(np.arange(num_users), 3).astype(np.int32)
    items = ((users * 7 + np.tile(np.arange(3), num_users)) % NUM_ITEMS).astype(np.int32)
    count = len(users)
    log = EventLog(
        users,
        items,
        np.arange(count, dtype=float),
        np.ones(count, bool),
        np.zeros(count, np.float32),
    )
    return Dataset(ITEMS, Vocabulary(f"u{n}" for n in range(num_users)), log)


def search(user: int, at: float, key: str, chosen: tuple[int, ...] = (1,)) -> Search:
    return Search(f"u{user}", at, key, key, np.array(chosen, np.int32))


def weight(ranker: LogisticModel, name: str) -> float:
    return float(ranker.weights[FEATURES.index(name)])


def trained(searcher: Searcher, log: Log) -> LogisticModel:
    return train_query_ranker(table(), searcher.titles, log, 0)


def test_nothing_logged_leaves_the_prior(searcher: Searcher) -> None:
    never_chosen = [search(0, 500.0, "rule 1", ())]
    ranker = trained(searcher, Log(dataset(), never_chosen))
    assert ranker.learned_from == 0
    assert np.array_equal(ranker.weights, prior_ranker().weights)


def test_kinds_that_are_searched_and_chosen_from_rise(searcher: Searcher) -> None:
    searches = [search(n, 500.0 + n, f"rule {n % 20}") for n in range(NUM_USERS)]
    ranker = trained(searcher, Log(dataset(), searches))
    prior = prior_ranker()
    assert ranker.learned_from == 2 * NUM_USERS
    gain = weight(ranker, "is rule") - weight(ranker, "is phrase")
    assert gain > weight(prior, "is rule") - weight(prior, "is phrase") + 0.3
    assert weight(ranker, "taste") == weight(prior, "taste")


def click_chips(
    kind: str, propensity: float = 1.0, name: str = "u"
) -> tuple[list[SuggestedQuery], list[float]]:
    """Each user sees a rule and a chip of a kind, and clicks the latter; the times of that."""
    times = [1_000.0 + 5_000.0 * user for user in range(NUM_USERS)]
    chips = [
        SuggestedQuery(f"{name}{user}", time, "r", f"{shown} {user % 20}", *more)
        for user, time in enumerate(times)
        for shown, *more in (("rule", 1.0, False), (kind, propensity, True))
    ]
    return chips, times


def test_a_chip_counts_where_its_click_led_to_a_choice(searcher: Searcher) -> None:
    def chips(led: bool) -> Log:
        suggested, times = click_chips("phrase")
        chosen = (1,) if led else ()
        searches = [
            search(user, time + 9, f"phrase {user % 20}", chosen) for user, time in enumerate(times)
        ]
        return Log(dataset(), searches, suggested)

    led, not_led = trained(searcher, chips(True)), trained(searcher, chips(False))
    assert weight(led, "is phrase") - weight(led, "is rule") > 1
    assert weight(not_led, "is phrase") - weight(not_led, "is rule") < 0


def test_a_drawn_chip_weighs_more_unless_a_visitor_says_so(searcher: Searcher) -> None:
    def learned(user: str, propensity: float) -> float:
        suggested, times = click_chips("like thing", propensity, user)
        similar = {f"{user}{number}": [time + 900] for number, time in enumerate(times)}
        return weight(trained(searcher, Log(dataset(), [], suggested, similar)), "is like")

    assert learned("u", 0.05) > learned("u", 1.0) + 0.1
    assert learned("visitor-", 0.05) == learned("visitor-", 1.0)


def test_a_chip_that_leads_to_what_is_like_an_item_counts_by_choices_there(
    searcher: Searcher,
) -> None:
    def chips(later: float) -> Log:
        suggested, times = click_chips("like thing")
        similar = {f"u{user}": [time - 60, time + later] for user, time in enumerate(times)}
        return Log(dataset(), [], suggested, similar)

    led, too_late = trained(searcher, chips(900)), trained(searcher, chips(1_900))
    assert weight(led, "is like") - weight(led, "is rule") > 1
    assert weight(too_late, "is like") - weight(too_late, "is rule") < 0.1


def test_searching_again_what_one_searched_before_is_not_learned_from(searcher: Searcher) -> None:
    once = [search(0, 500.0, "rule 1")]
    again = [*once, *(search(0, 600.0 + n, "rule 1") for n in range(5))]
    one, other = (trained(searcher, Log(dataset(), found)) for found in (once, again))
    assert other.learned_from == one.learned_from == 2


@pytest.mark.parametrize("is_kept", [True, False])
def test_weights_are_kept_that_find_the_newest_searches_as_well_as_the_prior(
    searcher: Searcher, is_kept: bool
) -> None:
    """Most search what finds their last item; the newest searches are the same, or what all ask."""
    last = {user: (7 * user + 2) % NUM_ITEMS for user in range(100)}
    people = [user for user, item in last.items() if item < 20]
    kinds = ("rule", "phrase", "like thing")
    searches = [
        search(user, 500.0 + n, f"{kinds[(n + n // len(people)) % 3]} {last[user]}")
        for n, user in enumerate(people * 3)
    ]
    if not is_kept:
        searches[120:] = [search(one, 900.0 + one, "rule 19") for one in people[:30]]
    ranker = trained(searcher, Log(dataset(100), searches))
    assert ranker.learned_from == (2 * len(searches) if is_kept else 0)
    is_prior = np.array_equal(ranker.weights, prior_ranker().weights)
    assert is_prior != is_kept
