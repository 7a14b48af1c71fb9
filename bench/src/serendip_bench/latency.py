"""Requests of each route of a running service, and their milliseconds."""

from __future__ import annotations

import threading
from contextlib import closing
from urllib.parse import quote, urlencode

from serendip_bench.service import HttpClient

WARM_UP = 50
"""Requests that are not counted."""


def list_requests(netloc: str) -> dict[str, list[str]]:
    """Requests of each route, from users and titles of the service."""
    with closing(HttpClient(netloc)) as client:
        rows = client.fetch("/v1/users?limit=500").json()["users"]
        users = [user["user_id"] for user in rows] or [""]
        titles: dict[str, str] = {}
        for user in users[:25]:
            path = f"/v1/recommend?{urlencode({'user_id': user, 'limit': 20})}"
            items = client.fetch(path).json()["items"]
            titles |= {item["item_id"]: item["title"] for item in items}
    texts = [text for title in titles.values() for text in (title, title.split()[-1])]
    item_ids = list(titles)
    return {
        "no-op": ["/health/live"],
        "home": [f"/v1/recommend?{urlencode({'user_id': user, 'limit': 20})}" for user in users],
        "search": [f"/v1/search?{urlencode({'q': text, 'limit': 20})}" for text in texts],
        "search for a user": [
            f"/v1/search?{urlencode({'q': text, 'user_id': users[n % len(users)], 'limit': 20})}"
            for n, text in enumerate(texts)
        ],
        "similar": [f"/v1/items/{quote(item, safe='')}/similar?limit=20" for item in item_ids],
        "suggest": [f"/v1/suggest?{urlencode({'q': text[:4]})}" for text in texts],
    }


def measure(netloc: str, paths: list[str], requests: int, clients: int) -> list[float]:
    """Sorted milliseconds of ``requests`` requests over ``clients`` connections."""
    times: list[float] = []

    def send(first: int) -> None:
        with closing(HttpClient(netloc)) as client:
            for number in range(first, requests + WARM_UP, clients):
                reply = client.fetch(paths[number % len(paths)])
                if number >= WARM_UP:
                    times.append(reply.seconds * 1000)

    threads = [threading.Thread(target=send, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(times)


def compute_percentiles(times: list[float]) -> dict[str, float]:
    """The 50th, 95th and 99th percentile of sorted milliseconds."""
    last = len(times) - 1
    return {f"p{p}": round(times[round(last * p / 100)], 2) for p in (50, 95, 99)}
