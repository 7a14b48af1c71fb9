from serendip.evaluate.lists import Deletion, KindFigures, summarise_deletions


def test_figures_are_medians_and_shares() -> None:
    deletions = [
        Deletion("transition", 10, 0),
        Deletion("transition", 0, 0),
        Deletion("transition", 4, 6),
        Deletion("attribute", 30, 1),
    ]
    kinds = [["transition", "popular", "transition"], ["attribute"]]
    figures = summarise_deletions(deletions, kinds, left_out=2)
    assert figures.left_out == 2
    assert figures.all == KindFigures(4, 7.0, 0.5, 0.5, 0.25)
    assert figures.by_kind["transition"] == KindFigures(3, 4.0, 0.0, 1 / 3, 1 / 3)
    assert list(figures.by_kind) == ["transition", "attribute"]  # popularity names no history
    assert figures.told == {"transition": 2, "attribute": 1, "popular": 1}
    assert (figures.lists, figures.kinds_per_list) == (2, 1.5)
    figures = summarise_deletions([], [])
    assert figures.all == KindFigures(0, None, None, None, None)
    assert (figures.lists, figures.kinds_per_list, figures.by_kind) == (0, 0.0, {})
