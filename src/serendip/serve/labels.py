"""What the page calls the numbers and the stages of an explanation."""

from __future__ import annotations

_NUMBERS = {
    "transitions": "Chosen next (score)",
    "transitions relative": "Chosen next, share of its best",
    "item-knn": "Chosen by the same people (score)",
    "item-knn relative": "Chosen by the same people, share of its best",
    "retriever": "Unified model (similarity)",
    "retriever relative": "Unified model, distance to its best",
    "content": "What it is (similarity)",
    "content relative": "What it is, distance to its best",
    "last item cosine": "Likeness to the last item",
    "query cosine": "Likeness to the words in meaning",
    "bm25": "Words found (BM25)",
    "title match": "Title matches the words",
    "log popularity": "Popularity (log)",
    "log recent popularity": "Popularity of late (log)",
    "quality": "Quality",
    "best code match": "Levels shared with the nearest item",
    "mean code match": "Levels shared on average",
    "log history length": "Length of the history (log)",
    "liked share": "Share of likes in the history",
    "explored": "Shown to learn about it",
    "bid": "Bid for the place",
    "organic value": "Worth without the bid",
    "chance of a bad match": "Chance of being irrelevant",
}

_STAGES = {
    "catalogue": "In the catalogue",
    "after deleted": "Not deleted",
    "after available": "Available now",
    "after rejected": "Not rejected by the user",
    "after seen": "Not seen yet",
    "after context": "Not the item itself",
    "candidates": "Candidates, each once",
    "judged": "Checked for relevance",
    "after bad matches": "Left without irrelevant items",
    "good enough": "Good enough to be sent",
    "to be sent": "The best of them, to be sent",
    "moved by diversity": "Waited for others of their group",
    "explored": "Shown to learn about them",
    "sponsored": "Places that were bought",
}

_SOURCES = {
    "transitions": "what people choose next",
    "item-knn": "the same people",
    "retriever": "the unified model",
    "content": "what it is",
    "words": "the words",
    "popularity": "what is popular",
    "popularity-recent": "what is popular of late",
    "new-items": "new items",
    "sponsored": "items with a bid",
}

_CHECK = "the check for relevance"


def part_label(name: str) -> str:
    """Words for a part of the engine that failed; an unknown one keeps its name."""
    return _CHECK if name == "bad matches" else _SOURCES.get(name, name)


def number_label(name: str) -> str:
    """Words for a number of an explanation; an unknown one keeps its name."""
    return _NUMBERS.get(name, name)


def stage_label(name: str) -> str:
    """Words for a stage of an explanation; an unknown one keeps its name."""
    source = name.removeprefix("from ")
    if source != name and source in _SOURCES:
        return f"From {_SOURCES[source]}"
    if name.startswith("after ") and name not in _STAGES:
        return f"Where {name.removeprefix('after ')}"
    return _STAGES.get(name, name)
