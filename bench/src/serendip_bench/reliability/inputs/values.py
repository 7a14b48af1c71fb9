"""Hostile values: texts for any parameter, some for those of one name, numbers and bodies."""

from __future__ import annotations

from collections.abc import Mapping

from serendip_bench.reliability.inputs.requests import Parameter

SCRIPT = "<script>alert(1)</script>"
"""Markup that no page may repeat as it is."""

TEXTS: tuple[str, ...] = (
    *("", " ", "\0", "a\0b", "\n", "\r\nSet-Cookie: a=b", "\x1b[2J", "\x7f", "\ufeff", "\ufffe"),
    *("\ud800", "a\udfffb", "\u202eabc", "İ", "ı", "가", "ㄱㅏ", "Ａ", "🏳️‍🌈", "e" + "\u0301" * 900),
    *('"', "'", "*", "a AND", "NEAR(", "col:x", "(((", "-", "^", 'a"b', "%", "_", "\\", "/", "?"),
    *("../../etc/passwd", "..%2f", SCRIPT, "{{7*7}}", "${jndi:x}", "%s%n"),
    *("'; drop table items; --", "1' OR '1'='1", "NaN", "nan", "Infinity", "-inf", "null", "true"),
    *("0", "-1", "1001", "1.5", "1e3", "0x10", "1_0", "٣", str(2**31), str(2**63), "9" * 5_000),
    *("x" * 513, "한" * 171, "x" * 1_025, "x" * 20_000, "a " * 600),
)

_FILTERS: tuple[Parameter, ...] = (
    *("tags", "=", "!=", ">=", "|", "=a", "tags=", "tags=|", "tags= | ", "tags==a", "tags!==a"),
    *("tags=!=a", "tags=>=1", "tags=a|b|", "tags=|||a", "tags=a,b", "tags=a&b", "tags = a | b "),
    *("price>1", "price<1", "price=<1", "price>==1", "price>=", "price>=|", "price>=1|2"),
    *("price>=nan", "price>=inf", "price<=-inf", "price>=1e400", "price<=-1e308", "price>=1e-400"),
    *("price>=1_0", "price>=0x10", "price>=٣", "price>=a", "price=nan", "price!=Infinity"),
    *("tags\0=a", "tags=a\0", "tags=\ud800", "tags\n=\na", "\r\n=a", "TAGS=A", "ＴＡＧＳ=ａ"),
    *("tags=ß", "tags=SS", "tags=İ", "tags=ı", "tags=가", "tags=ㄱㅏ", "tags=e\u0301", "tags=*"),
    *("tags=%", "tags=_", 'tags="', "tags='", "tags=\\", "tags=a AND 1=1", f"tags={SCRIPT}"),
    *("' OR '1'='1", "tags' OR '1'='1' --=a", "tags=a' OR '1'='1", "tags=a'); drop table items;--"),
    *("price>=1; drop table items", "price>=1 OR 1=1", 'json_extract(x, "$")=1', "$.tags=a"),
    *("item_id=posted", "title=A title", "available_from>=1", "nothing=1", "__class__=a", "a.b=1"),
    *(f"{'x' * 1_000}=a", f"tags={'x' * 1_019}", f"tags={'x' * 1_020}"),
    "tags=" + "|".join(map(str, range(100))),
    "tags=" + "|".join(map(str, range(101))),
    ("tags=a", "tags!=a"),
    ("price>=2", "price<=1"),
    ("tags=a",) * 20,
    ("tags=a",) * 21,
    ("tags=a", ""),
    (),
)

_FACETS: tuple[Parameter, ...] = (
    *("nothing", "PRICE", "title", "item_id", "available_from", "tags,price", "tags|price", "*"),
    *("tags'; drop table items; --", "__class__", "a.b", "$.tags"),
    ("tags", "tags"),
    tuple(f"tags{number}" for number in range(10)),
    ("tags",) * 10,
    ("tags",) * 11,
    ("tags", ""),
)

_SORTS: tuple[Parameter, ...] = (
    *("nothing", "tags", "-tags", "PRICE", "-", "--price", "+price", "-price ", " price", "price "),
    *("price desc", "price,tags", "price; drop table items", "price' --", "title", "item_id"),
    *("available_from", "-available_from", "--available_from", "-nothing", "score", "_score"),
    ("price", "-price"),
)

_CURSORS: tuple[Parameter, ...] = (
    *("o0", "AAAAAA", "AAAAAA==", "AAAAAAAAAAA", "AAAAAB", "bzA=", "A" * 6 + "\n", "AAA AAA"),
    *("bzA", "bw", "b", "=", "====", "//////", "A" * 13_340, "A" * 54_000, "A" * 54_001),
    ("AAAAAA", "bzU"),
)

_FLAGS: tuple[Parameter, ...] = ("True", "yes", "on", "2", "1.0", "01", " 1", "t", ("1", "0"))
_COUNTS: tuple[Parameter, ...] = ("1", "1000", "01", "+1", "-0", " 1", "1 ", "1e0", ("1", "2"))
_SURFACES: tuple[Parameter, ...] = (
    *("home", "search", "similar", "cart", "thank_you", "feed", "suggest"),
    *("HOME", "home ", "home/"),
    ("home", "search"),
)
_IDS: tuple[Parameter, ...] = ("x" * 512, "posted", "sku-00000001", "unknown", ("a", "b"))

VALUES: Mapping[str, tuple[Parameter, ...]] = {
    "filter": _FILTERS,
    "facet": _FACETS,
    "sort": _SORTS,
    "cursor": _CURSORS,
    "fields": ("price", "price, tags", ",", "none", "description", "price," * 51, ("price", "a")),
    **dict.fromkeys(("literal", "reasons", "parts"), _FLAGS),
    **dict.fromkeys(("limit", "first", "position"), _COUNTS),
    **dict.fromkeys(("user_id", "user", "session_id", "request_id", "source"), _IDS),
    **dict.fromkeys(("country", "device"), ("KR", "kr", "x" * 512, ("KR", "US"))),
    **dict.fromkeys(
        ("item_id", "source_item_id"), (*_IDS, ("a",) * 100, ("a",) * 101, ("posted", ""))
    ),
    "surface": _SURFACES,
    "language": (
        *("en", "KO", "ko-KR", "xx", "en-", "-en", "en_US", "en,ko;q=0.5", "*", "e" * 9),
        "-".join(["a"] * 400),
    ),
    "propensity": ("0", "1", "1e-3", "1e-400", "1e-999", "2", "-0.1", ".", "0.0.1", "1e5", "."),
    **dict.fromkeys(("q", "after"), ("x" * 1_024, "a" * 1_025, "a OR b", "price<5", ("a", "b"))),
    "key": ("x" * 256, "serendip_0_0", ("a", "b")),
}
"""Of a parameter or field, besides ``TEXTS``."""

ODD_VALUES: tuple[object, ...] = (
    *(None, True, 0, -1, 1.5, 1e308, 2**62, "", "x", [], {}),
    *([None], [[]], [{}], [1, "a"], ["a", ""]),
    *({"a": 1}, {"": ""}, ["a"] * 150, [["a"]], "\ud800", ["a\0b"]),
)
"""Of a field of a body."""

NUMBERS: tuple[bytes, ...] = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e308", b"1e-400", b"-0", b"-0.0"),
    *(b"-1", b"1.5", b"9007199254740993", b"9223372036854775807", b"9223372036854775808"),
    *(b"1" + b"0" * 5_000, b"true", b"false", b"null", b'"1"', b'"NaN"', b"[]", b"{}", b"[1]"),
)

BODIES: tuple[bytes, ...] = (
    *(b"", b" \n", b"hello", b"{", b"}", b'{"user_id": "u"', b"{} {}", b"null", b"1", b'"x"'),
    *(b"[1]", b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"user_id": "\xff"}', b"[" * 100_000),
    *(b'{"a":' * 5_000, b"[[[[]]]]", b"[]", b"{}", b"[null]", b"[{}]", b'{"events": {}}'),
    *(b'{"events": [], "a": 1}', b'{"\\ud800": 1}', b'{"\\u0000": 1}', b'{"a": 1, "a": 2}'),
    *(b"// a comment", b"[1,]", b"'a'"),
)

FORMS: tuple[bytes, ...] = (
    *(b"", b"&", b"=", b"&&==&", b"item_id", b"item_id=%", b"item_id=%ff", b"item_id=%00", b"\0"),
    *(b"\xff\xfe", b"item_id=a;user=b", b"a=1&" * 20, b"a=1&" * 21, b"item_id=a&item_id=b"),
    *(b"user=%0d%0aSet-Cookie:a=b", b"item_id=" + b"x" * 100_000, b"{}", b'{"item_id": "a"}'),
)

HEADERS: Mapping[str, tuple[str, ...]] = {
    "accept-language": ("*", "ko;q=9", "en-US,ko;q=0.5,*;q=0", ",;=", "x" * 9_000, "ko\t", "\xe9"),
    "content-type": ("", "text/plain", "multipart/form-data", "application/json; charset=x", ";"),
    "content-encoding": ("gzip", "br", "x", "identity, gzip"),
    "accept-encoding": ("gzip;q=2", "x", "identity;q=0, *;q=0"),
    "accept": ("text/html", "image/png", ";;;"),
    "hx-request": ("true", "TRUE", "1"),
    "if-none-match": ("*", '"x"', 'W/"'),
    "cookie": ("=", "serendip_visitor=x", "a=b; " * 500, '"\\"'),
    "range": ("bytes=0-", "bytes=-1", "x"),
    "x-request-id": ("a" * 1_000, SCRIPT),
    "x-forwarded-for": ("127.0.0.1", "x, y", "::1"),
    "expect": ("x",),
    "authorization": ("Bearer", "Bearer x", "Basic eDp4", "Bearer \xe9"),
}
"""Of any request."""

BROKEN_HTTP: tuple[bytes, ...] = (
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"\x00\x01\x02\r\n\r\n",
    b"GET /v1/search?q=\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
)
