from collections import Counter
from itertools import islice

from serendip.engine.query_suggestions import Option, select_varied


def order(options: list[Option], most: int = 100) -> list[str]:
    return [option.text for option in islice(select_varied(options, lambda _: True), most)]


MANY = [
    *(Option(f"value{n}", "attribute", 90.0 - n) for n in range(30)),
    *(Option(f"first{n} second{n}", "rule", 50.0 - n) for n in range(30)),
    *(Option(f"saga{n}", "series", 20.0 - n) for n in range(30)),
    *(Option(f"topic{n}", "phrase", 10.0 - n) for n in range(30)),
    *(Option(f"written{n}", "written", 0.0 - n) for n in range(30)),
]


def test_no_kind_takes_more_than_its_share_unless_it_is_alone() -> None:
    ten = order(MANY, 10)
    kinds = Counter(option.group for text in ten for option in MANY if option.text == text)
    assert kinds == {"attribute": 1, "rule": 3, "series": 2, "phrase": 2, "written": 2}
    assert ten[:2] == ["value0", "first0 second0"]
    assert order(MANY, 20)[:7] == order(MANY, 7)
    assert len(order(MANY)) == 100
    options = [option for option in MANY if option.group in ("attribute", "rule")]
    assert Counter(text[:5] for text in order(options, 31)) == {"first": 27, "value": 4}
    assert len(order(options[:30])) == 30
    options = [Option(f"saga{n}", "series", 9.0 - n) for n in range(3)]
    assert list(select_varied(options, lambda option: option != options[0])) == options[1:]
    assert order([]) == []


def test_a_word_that_was_shown_counts_against_the_next_one() -> None:
    options = [
        Option("90s horror", "query", 2.0),
        Option("80s horror", "query", 1.9),
        Option("space opera", "query", 1.5),
    ]
    assert order(options) == ["90s horror", "space opera", "80s horror"]
    narrow = [options[0], Option("80s horror", "query", 3.0), options[2]]
    assert order(narrow)[:2] == ["80s horror", "space opera"]
