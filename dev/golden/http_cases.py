"""What is asked over HTTP: ``METHOD PATH [BODY]`` by the name of the case, in this order.

Paths are written as they are read; whoever sends them quotes what needs it. ``{item}`` in a path
stands for the first item of the answer before.
"""

from __future__ import annotations

from collections.abc import Mapping

NEXT, ITEMS, ITEM_ID = "next", "items", "item_id"
"""Keys of an answer: where it goes on, what it holds, and what that is called."""
PAGES = 4
"""Parts of a paged answer that are asked for."""
REPLY_HEADERS = ("content-type", "x-generation", "allow", "location", "hx-trigger", "cache-control")

READS: Mapping[str, str] = {
    "live": "GET /health/live",
    "ready": "GET /health/ready",
    "home known": "GET /v1/recommend?surface=home&user_id=u3&k=12",
    "home another": "GET /v1/recommend?surface=home&user_id=u17&k=12",
    "home unknown": "GET /v1/recommend?surface=home&user_id=stranger&k=12",
    "home nobody": "GET /v1/recommend",
    "home by body": 'POST /v1/recommend {"surface": "home", "user_id": "u5", "k": 5}',
    "home in context": "GET /v1/recommend?surface=home&user_id=u3&item_id=p24&k=6",
    "home of a country": "GET /v1/recommend?surface=home&user_id=u3&country=KR&k=6",
    "similar": "GET /v1/items/p24/similar?k=8",
    "similar known": "GET /v1/items/p24/similar?k=8&user_id=u3",
    "similar without events": "GET /v1/items/p217/similar?k=5",
    "similar surface": "GET /v1/recommend?surface=similar&item_id=p30&k=5",
    "cart": "GET /v1/recommend?surface=cart&item_id=p24&item_id=p30&user_id=u3&k=6",
    "cart nobody": "GET /v1/recommend?surface=cart&item_id=p11&k=6",
    "thank you": "GET /v1/recommend?surface=thank_you&item_id=p12&user_id=u8&k=6",
    "ads": "GET /v1/recommend?surface=ads&user_id=u3&k=10",
    "ads nobody": "GET /v1/recommend?surface=ads&k=10",
    "digest": "GET /v1/recommend?surface=digest&user_id=u3",
    "digest unknown": "GET /v1/recommend?surface=digest&user_id=stranger",
    "own surface": "GET /v1/recommend?surface=under_80&user_id=u3&k=8",
    "own surface nobody": "GET /v1/recommend?surface=under_80&k=8",
    "own search of a country": "GET /v1/recommend?surface=local&q=chair&country=KR&k=8",
    "own search without country": "GET /v1/recommend?surface=local&q=chair&k=8",
    "search one word": "GET /v1/search?q=lamp&k=8",
    "search known": "GET /v1/search?q=lamp&user_id=u3&k=8",
    "search another": "GET /v1/search?q=lamp&user_id=u17&k=8",
    "search two words": "GET /v1/search?q=red chair&k=8",
    "search by body": 'POST /v1/search {"q": "oak table", "user_id": "u4", "k": 5}',
    "search surface": "GET /v1/recommend?surface=search&q=blue rug&user_id=u6&k=6",
    "search in capitals": "GET /v1/search?q=GREEN SOFA!&k=5",
    "search exact title": "GET /v1/search?q=Red oak lamp Alva 0&k=4",
    "search exact title of two": "GET /v1/search?q=Blue wool shelf Elm 19&k=4",
    "search title begun": "GET /v1/search?q=Red oak la&k=4",
    "search misspelt": "GET /v1/search?q=lmap&k=5",
    "search misspelt known": "GET /v1/search?q=cabnet&user_id=u3&k=5",
    "search misspelt in context": "GET /v1/search?q=woven rgu&k=5",
    "search misspelt title": "GET /v1/search?q=Red oak lammp Alva 0&k=4",
    "search two words as one": "GET /v1/search?q=oakchair&k=5",
    "search literal": "GET /v1/search?q=lmap&literal=true&k=5",
    "search accepted synonym": "GET /v1/search?q=settee&k=5",
    "search rejected synonym": "GET /v1/search?q=carpet&k=5",
    "search with a word too many": "GET /v1/search?q=blue glass kettle zeppelin&k=5",
    "search that few answer": "GET /v1/search?q=wool teapot office&k=5",
    "search with narrower ones": "GET /v1/search?q=home&k=5",
    "search by meaning": "GET /v1/search?q=somewhere to sit&k=5",
    "search accents": "GET /v1/search?q=elm cafe&k=5",
    "search Korean": "GET /v1/search?q=책상&k=5",
    "search Japanese": "GET /v1/search?q=椅子&k=5",
    "search of a country": "GET /v1/search?q=chair&country=KR&k=5",
    "search not available yet": "GET /v1/search?q=cabinet 39&k=5",
    "search nothing that is there": "GET /v1/search?q=xqzzw&k=3",
    "search signs": "GET /v1/search?q=!?&k=3",
    "search blank": "GET /v1/search?q=%20&k=3",
    "suggest nothing typed": "GET /v1/suggest",
    "suggest known": "GET /v1/suggest?user_id=u3",
    "suggest another": "GET /v1/suggest?user_id=u17&k=4",
    "suggest unknown": "GET /v1/suggest?user_id=stranger",
    "suggest after": "GET /v1/suggest?user_id=u3&after=lamp",
    "suggest letter": "GET /v1/suggest?q=l",
    "suggest letters": "GET /v1/suggest?q=red&user_id=u3",
    "suggest word begun": "GET /v1/suggest?q=oak ch&k=5",
    "suggest decade": "GET /v1/suggest?q=90s",
    "suggest title": "GET /v1/suggest?q=Blue steel",
    "suggest misspelt": "GET /v1/suggest?q=lmap",
    "suggest nothing there": "GET /v1/suggest?q=xqz",
    "suggest by body": 'POST /v1/suggest {"q": "ch", "k": 3}',
    "item": "GET /v1/items/p24",
    "item without events": "GET /v1/items/p216",
    "item not available yet": "GET /v1/items/p39",
    "users": "GET /v1/users?limit=10",
    "history": "GET /v1/users/u3/history?limit=12",
    "history unknown": "GET /v1/users/stranger/history",
}
"""Nothing is changed by these."""

EXPLAINED: Mapping[str, tuple[str, str]] = {
    "home known": (
        "GET /v1/recommend?surface=home&user_id=u3&k=1",
        "GET /v1/explain?item_id={item}&surface=home&user_id=u3",
    ),
    "home nobody": ("GET /v1/recommend?k=1", "GET /v1/explain?item_id={item}&surface=home"),
    "search": (
        "GET /v1/search?q=red lamp&user_id=u3&k=1",
        "GET /v1/explain?item_id={item}&surface=search&q=red lamp&user_id=u3",
    ),
    "search misspelt": (
        "GET /v1/search?q=lmap&k=1",
        "GET /v1/explain?item_id={item}&surface=search&q=lmap",
    ),
    "search literal": (
        "GET /v1/search?q=lmap&literal=true&k=1",
        "GET /v1/explain?item_id={item}&surface=search&q=lmap&literal=true",
    ),
    "similar": (
        "GET /v1/items/p24/similar?k=1",
        "GET /v1/explain?item_id={item}&surface=similar&source_item_id=p24",
    ),
    "cart": (
        "GET /v1/recommend?surface=cart&item_id=p24&item_id=p30&k=1",
        "GET /v1/explain?item_id={item}&surface=cart&source_item_id=p24&source_item_id=p30",
    ),
    "ads": (
        "GET /v1/recommend?surface=ads&user_id=u3&k=1",
        "GET /v1/explain?item_id={item}&surface=ads&user_id=u3",
    ),
    "digest": (
        "GET /v1/recommend?surface=digest&user_id=u3",
        "GET /v1/explain?item_id={item}&surface=digest&user_id=u3",
    ),
    "own search": (
        "GET /v1/recommend?surface=local&q=chair&country=KR&k=1",
        "GET /v1/explain?item_id={item}&surface=local&q=chair&country=KR",
    ),
    "what is not shown": (
        "GET /v1/recommend?surface=under_80&user_id=u3&k=1",
        "GET /v1/explain?item_id=p0&surface=under_80&user_id=u3",
    ),
}
"""A request, and a question about the first item of its answer."""

PAGED: Mapping[str, str] = {
    "home": "/v1/recommend?surface=home&user_id=u3&k=7",
    "home nobody": "/v1/recommend?k=5",
    "search": "/v1/search?q=chair&user_id=u3&k=6",
    "search that ends": "/v1/search?q=Red oak lamp&k=40",
    "similar": "/v1/items/p24/similar?k=9",
    "ads": "/v1/recommend?surface=ads&user_id=u3&k=4",
    "own surface": "/v1/recommend?surface=under_80&user_id=u3&k=6",
}

WRITES: Mapping[str, str] = {
    "post an event": (
        'POST /v1/events {"user_id": "new", "item_id": "p24", "action": "like", '
        '"timestamp": 1625000000, "event_id": "n1"}'
    ),
    "post it again": (
        'POST /v1/events {"user_id": "new", "item_id": "p24", "action": "like", '
        '"timestamp": 1625000000, "event_id": "n1"}'
    ),
    "home after an event": "GET /v1/recommend?user_id=new&k=8",
    "post events": (
        'POST /v1/events {"events": ['
        '{"user_id": "new", "item_id": "p36", "timestamp": 1625000100, "event_id": "n2"}, '
        '{"user_id": "new", "item_id": "p12", "action": "purchase", "query": "red lamp", '
        '"request_id": "x1", "position": 0, "surface": "search", "session_id": "s", '
        '"timestamp": 1625000200, "event_id": "n3"}, '
        '{"user_id": "new", "item_id": "p5", "action": "impression", "timestamp": 1625000300, '
        '"event_id": "n4"}, '
        '{"user_id": "new", "query": "blue chair", "timestamp": 1625000400, "event_id": "n5"}]}'
    ),
    "history after events": "GET /v1/users/new/history",
    "home after events": "GET /v1/recommend?user_id=new&k=8",
    "search after events": "GET /v1/search?q=lamp&user_id=new&k=6",
    "suggest after events": "GET /v1/suggest?user_id=new",
    "digest after events": "GET /v1/recommend?surface=digest&user_id=new",
    "post an event without a time": 'POST /v1/events {"user_id": "now", "item_id": "p2"}',
    "history without a time": "GET /v1/users/now/history",
    "post an item": (
        'POST /v1/items {"item_id": "added", "title": "Violet marble fountain", '
        '"description": "Water for the garden.", "attributes": {"category": ["Home", "Garden"], '
        '"price": 60, "brand": "Alva", "countries": ["KR"]}}'
    ),
    "post items": (
        'POST /v1/items {"items": [{"item_id": "soon", "title": "Violet marble bench", '
        '"available_from": 4000000000}, {"item_id": "p24", "title": "Violet marble table", '
        '"attributes": {"bid": 9.5, "category": ["Home", "Tables"]}}]}'
    ),
    "item that was added": "GET /v1/items/added",
    "item that was changed": "GET /v1/items/p24",
    "search what was added": "GET /v1/search?q=violet marble&k=5",
    "search what was added, misspelt": "GET /v1/search?q=violet fontain&k=5",
    "similar to what was added": "GET /v1/items/added/similar?k=5",
    "suggest what was added": "GET /v1/suggest?q=violet",
    "explain what was added": "GET /v1/explain?item_id=added&surface=search&q=violet marble",
    "ads with a bid": "GET /v1/recommend?surface=ads&user_id=u3&k=8",
    "delete an item": "DELETE /v1/items/added",
    "delete it again": "DELETE /v1/items/added",
    "delete an old item": "DELETE /v1/items/p36",
    "item that was deleted": "GET /v1/items/p36",
    "search what was deleted": "GET /v1/search?q=violet marble&k=5",
    "similar to what was deleted": "GET /v1/items/p36/similar",
    "home after deleting": "GET /v1/recommend?user_id=new&k=8",
    "users after events": "GET /v1/users?limit=5",
}
"""These change the workspace; each is answered from what the ones before it have left."""

ERRORS: Mapping[str, str] = {
    "no such route": "GET /v1/nothing",
    "no such page": "GET /nothing",
    "no such method": "DELETE /v1/search",
    "no such method of a page": "POST /search",
    "item not there": "GET /v1/items/nothing",
    "similar to nothing": "GET /v1/items/nothing/similar",
    "explain nothing": "GET /v1/explain?item_id=nothing",
    "explain without an item": "GET /v1/explain",
    "surface not there": "GET /v1/recommend?surface=window",
    "search surface without words": "GET /v1/recommend?surface=search",
    "similar surface without an item": "GET /v1/recommend?surface=similar",
    "cart with an item not there": "GET /v1/recommend?surface=cart&item_id=nothing",
    "k of 0": "GET /v1/search?q=lamp&k=0",
    "k too large": "GET /v1/search?q=lamp&k=100000",
    "k in words": "GET /v1/search?q=lamp&k=many",
    "parameter not there": "GET /v1/search?q=lamp&colour=red",
    "cursor of nobody": "GET /v1/search?q=lamp&cursor=zzz",
    "literal in words": "GET /v1/search?q=lamp&literal=perhaps",
    "text too long": "GET /v1/search?q=" + "a" * 1100,
    "not JSON": "POST /v1/search {q: lamp}",
    "JSON with NaN": 'POST /v1/events {"user_id": "a", "item_id": "p1", "value": NaN}',
    "JSON with a key twice": 'POST /v1/search {"q": "a", "q": "b"}',
    "JSON too deep": "POST /v1/search " + "[" * 40 + "]" * 40,
    "event without a user": 'POST /v1/events {"item_id": "p1"}',
    "event without item and query": 'POST /v1/events {"user_id": "a"}',
    "event in the future": (
        'POST /v1/events {"user_id": "a", "item_id": "p1", "timestamp": 99999999999}'
    ),
    "event of a surface not there": (
        'POST /v1/events {"user_id": "a", "item_id": "p1", "surface": "window"}'
    ),
    "one event of two wrong": (
        'POST /v1/events [{"user_id": "a", "item_id": "p1"}, {"user_id": "", "item_id": "p1"}]'
    ),
    "item without an id": 'POST /v1/items {"title": "nameless"}',
    "item with an attribute of no kind": (
        'POST /v1/items {"item_id": "a", "attributes": {"size": {"width": 3}}}'
    ),
}
LARGE = ("body too large", "POST /v1/items", 9 * 1024 * 1024)
"""Case, request, bytes of its body."""
FOREIGN_HOST = ("host of others", "GET /v1/users", "shop.example")
FOREIGN_ORIGIN = ("origin of others", "POST /v1/events {}", "http://shop.example")

PAGE_READS: Mapping[str, str] = {
    "feed": "GET /?user=u3",
    "feed of a surface": "GET /?user=u3&surface=under_80",
    "search": "GET /search?user=u3&q=red lamp",
    "search misspelt": "GET /search?user=u3&q=lmap",
    "search nothing": "GET /search?user=u3&q=xqzzw",
    "search few": "GET /search?user=u3&q=blue glass kettle zeppelin",
    "more": "GET /more?user=u3&surface=home&cursor=bzEy&first=12",
    "item": "GET /items/p24?user=u3",
    "why": "GET /why?user=u3&item_id=p24&surface=home",
    "why of a search": "GET /why?user=u3&item_id=p12&surface=search&q=red lamp",
    "item not there": "GET /items/nothing?user=u3",
    "item not there to explain": "GET /why?user=u3&item_id=nothing",
    "style": "GET /static/page.css",
    "script": "GET /static/page.js",
    "mark": "GET /static/mark.svg",
    "file not there": "GET /static/nothing.css",
}
PAGE_FRAGMENTS: Mapping[str, str] = {
    "feed": "GET /?user=u3",
    "more": "GET /more?user=u3&surface=home&cursor=bzEy&first=12",
    "why": "GET /why?user=u3&item_id=p24&surface=home",
}
FRAGMENT_HEADER = {"hx-request": "true"}

VISITOR_FEED = "GET /"
VISITOR_LIKE = ("/like", "user=pagevisitor&item_id=p30&surface=home&position=0")
VISITOR_AFTER = "GET /?user=pagevisitor"
"""What somebody new sees follows from an id and a moment where anything is explored; so these are
asked where nothing is: of a workspace without events."""

BARE_READS: Mapping[str, str] = {
    "home": "GET /v1/recommend?k=6",
    "search": "GET /v1/search?q=lamp&k=6",
    "search misspelt": "GET /v1/search?q=cabnet&k=6",
    "search by meaning": "GET /v1/search?q=something to boil water with&k=4",
    "search two words": "GET /v1/search?q=blue furniture&k=4",
    "similar": "GET /v1/items/p30/similar?k=5",
    "suggest": "GET /v1/suggest",
    "suggest letters": "GET /v1/suggest?q=gr",
    "explain": "GET /v1/explain?item_id=p30&surface=search&q=lamp",
    "digest": "GET /v1/recommend?surface=digest",
}
"""Of a workspace without events."""

FILTERED_READS: Mapping[str, str] = {
    "one word": "GET /v1/search?q=lamp&k=30",
    "two words": "GET /v1/search?q=red chair&k=12",
    "known": "GET /v1/search?q=oak table&user_id=u3&k=12",
    "misspelt": "GET /v1/search?q=lmap&k=12",
    "exact title": "GET /v1/search?q=Red oak lamp Alva 0&k=6",
    "left out": "GET /v1/explain?item_id=p11&surface=search&q=red lamp",
    "kept": "GET /v1/explain?item_id=p12&surface=search&q=red lamp",
    "home": "GET /v1/recommend?user_id=u3&k=5",
}
"""With a relevance filter; also requested after a rollback."""

DEMO_READS: Mapping[str, str] = {
    **{f"home {user}": f"GET /v1/recommend?user_id={user}&k=20" for user in (547, 15, 73, 311, 2)},
    "home nobody": "GET /v1/recommend?k=20",
    **{f"similar {item}": f"GET /v1/items/{item}/similar?k=10" for item in (1, 260, 2571, 318)},
    "similar known": "GET /v1/items/2571/similar?user_id=547&k=10",
    "cart": "GET /v1/recommend?surface=cart&item_id=1&item_id=3114&user_id=15&k=10",
    "thank you": "GET /v1/recommend?surface=thank_you&item_id=260&k=10",
    "ads": "GET /v1/recommend?surface=ads&user_id=547&k=10",
    "digest": "GET /v1/recommend?surface=digest&user_id=547",
    "digest another": "GET /v1/recommend?surface=digest&user_id=73",
    "suggest": "GET /v1/suggest",
    "suggest known": "GET /v1/suggest?user_id=547",
    "suggest after": "GET /v1/suggest?user_id=547&after=heist",
    **{f"suggest {typed}": f"GET /v1/suggest?q={typed}" for typed in ("s", "star", "90s c", "tom")},
    "item": "GET /v1/items/2571",
    "users": "GET /v1/users?limit=20",
    "history": "GET /v1/users/547/history?limit=20",
    "explain home": "GET /v1/explain?item_id=2571&surface=home&user_id=547",
    "explain similar": "GET /v1/explain?item_id=2571&surface=similar&source_item_id=260",
    "explain search": "GET /v1/explain?item_id=2571&surface=search&q=the matrx&user_id=547",
    "explain words": "GET /v1/explain?item_id=260&surface=search&q=space war",
}
DEMO_QUERIES = (
    *("toy story", "the matrx", "star wars", "starwars", "godfather", "Matrix, The", "space war"),
    *("comedy", "90s comedy", "romantic comedies", "heist", "tom hanks", "zombie", "dinosaurs"),
    *("alien", "aliens", "terminator 2", "lord of the rings", "harry poter", "pulp fction"),
    *("amelie", "léon", "seven samurai", "anime", "film noir", "western", "documentary about war"),
    *("1994", "children animation", "horror 80s", "superhero", "sherlock", "james bond", "xqzzw"),
    *("it", "up", "sad love story", "time travel", "robots and people", "the the"),
)
