"""Column mapping: canonical column names, their common aliases, and guesses by name.

File columns are compared after folding: case, punctuation and a type suffix (``user_id:token``)
are ignored. The aliases are English, German and Korean. Each file column is mapped to at most one
canonical column.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

TableKind: TypeAlias = Literal["items", "events", "users"]

# Aliases in the folded form, best first; a canonical name is its own first alias.
ITEM_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "item_id": (
            *("itemid", "movieid", "filmid", "productid", "articleid", "bookid", "trackid"),
            *("songid", "videoid", "gameid", "jobid", "newsid", "contentid", "documentid"),
            *("docid", "objectid", "parentasin", "asin", "sku", "stockcode", "isbn", "ean", "iid"),
            *("itemcode", "productcode", "item", "id", "key", "product", "article"),
            *("itemnumber", "productnumber", "handle", "artikelnummer", "artikelnr", "artnr"),
            *("artikelid", "produktid", "produktnummer", "bestellnummer", "상품번호", "상품코드"),
            *("상품id", "상품아이디", "제품번호", "제품코드", "품번"),
        ),
        "title": (
            *("title", "name", "itemtitle", "itemname", "producttitle", "productname"),
            *("movietitle", "booktitle", "jobtitle", "trackname", "headline", "articlename"),
            *("articletitle", "label", "caption", "titel", "bezeichnung", "artikelbezeichnung"),
            *("artikelname", "produktname", "produkttitel", "produktbezeichnung"),
            *("상품명", "상품이름", "제품명", "제목", "품명", "이름", "labelstitle"),
        ),
        "description": (
            *("description", "productdescription", "desc", "overview", "plot", "summary"),
            *("abstract", "body", "text", "comment", "itemdescription", "longdescription"),
            *("fulldescription", "bodyhtml", "synopsis", "details", "productdetails", "content"),
            *("shortdescription", "blurb", "about", "beschreibung", "produktbeschreibung"),
            *("artikelbeschreibung", "langbeschreibung", "langtext", "kurzbeschreibung"),
            *("상품설명", "제품설명", "상세설명", "설명", "줄거리", "내용"),
        ),
        "available_from": (
            *("availablefrom", "createdat", "creationtimestamp", "publishedat"),
            *("availabledate", "verfügbarab", "판매시작일"),
        ),
    }
)

EVENT_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "user_id": (
            *("userid", "visitorid", "customerid", "reviewerid", "clientid", "memberid"),
            *("accountid", "profileid", "personid", "userpseudoid", "usertoken", "uid"),
            *("user", "customer", "visitor", "member", "client", "shopper", "buyer", "viewer"),
            *("reader", "shopperid", "buyerid", "person", "account", "kundennummer", "kundennr"),
            *("kundenid", "kunde", "benutzerid", "benutzer", "nutzerid", "nutzer"),
            *("고객번호", "고객id", "회원번호", "회원id", "사용자id", "유저id", "고객", "사용자"),
        ),
        "item_id": (
            *("itemid", "movieid", "filmid", "productid", "articleid", "bookid", "trackid"),
            *("songid", "videoid", "gameid", "jobid", "newsid", "contentid", "objectid"),
            *("eventattributesobjectobjectid", "productdetailsproductid", "objectids"),
            *("parentasin", "asin", "sku", "stockcode", "isbn", "ean", "iid"),
            *("itemcode", "productcode", "documentid", "docid", "item", "product", "article"),
            *("itemnumber", "productnumber", "artikelnummer", "artikelnr", "artnr", "artikelid"),
            *("produktid", "produktnummer", "상품번호", "상품코드", "상품id", "상품아이디"),
            *("제품번호", "제품코드", "품번"),
        ),
        "timestamp": (
            *("timestamp", "eventtimestamp", "unixreviewtime", "unixtime", "eventtime"),
            *("datetime", "time", "ts", "occurredat", "createdat", "invoicedate", "viewedat"),
            *("clickedat", "boughtat", "purchasedat", "orderedat", "orderdate", "when"),
            *("created", "date", "day", "zeitstempel", "zeitpunkt", "bestelldatum", "kaufdatum"),
            *("datum", "zeit", "주문일시", "구매일시", "주문일", "구매일", "일시", "날짜", "시간"),
        ),
        "action": (
            *("action", "actionname", "actiontype", "eventtype", "eventname", "feedbacktype"),
            *("behaviortype", "behaviourtype", "behavior", "behaviour", "interaction"),
            *("event", "type", "aktion", "ereignis", "행동", "이벤트"),
        ),
        "value": (
            *("value", "rating", "eventvalue", "weight", "score", "stars", "overall"),
            *("bewertung", "sterne", "평점", "별점"),
        ),
        "query": (
            *("query", "querytext", "searchquery", "userquery", "searchterm", "keywords"),
            *("suchbegriff", "suchanfrage", "검색어"),
        ),
        "request_id": (
            *("requestid", "queryid", "recommid", "attributiontoken", "recommendationid"),
        ),
        "position": ("position", "slot"),
        "surface": ("surface", "scenario", "placement"),
        "session_id": (
            *("sessionid", "session", "visitid", "visit", "sitzungsid", "sitzung", "besuchsid"),
            *("besuch", "세션id", "세션", "방문id"),
        ),
        "event_id": ("eventid",),
        "country": (
            *("country", "countrycode", "usercountry", "geocountry", "countryname", "land"),
            *("ländercode", "länderkennung", "국가", "국가코드", "나라"),
        ),
        "device": (
            *("device", "devicetype", "devicecategory", "platform", "gerät", "gerätetyp"),
            *("geräteart", "plattform", "기기", "기기유형", "디바이스", "플랫폼"),
        ),
        "propensity": ("propensity", "loggedpropensity", "loggingpropensity"),
    }
)

USER_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "user_id": (*EVENT_COLUMNS["user_id"], "id", "key"),
        "country": EVENT_COLUMNS["country"],
    }
)

REQUIRED: Mapping[TableKind, tuple[str, ...]] = MappingProxyType(
    {
        "items": ("item_id",),
        "events": ("user_id", "item_id", "timestamp"),
        "users": ("user_id",),
    }
)

_COLUMNS: Mapping[TableKind, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"items": ITEM_COLUMNS, "events": EVENT_COLUMNS, "users": USER_COLUMNS}
)


def canonical_columns(kind: TableKind) -> Mapping[str, tuple[str, ...]]:
    """Canonical columns of a table with their folded aliases."""
    return _COLUMNS[kind]


def fold(column: str) -> str:
    """Fold a column name: no case, punctuation or type suffix (``User_ID:token`` -> ``userid``)."""
    name = unicodedata.normalize("NFKC", re.sub(r":\w+$", "", column)).casefold()
    return re.sub(r"[\W_]", "", name)


def guess_mapping(
    columns: Sequence[str], kind: TableKind, given: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Guess the column mapping from column names alone.

    Args:
        columns: names in the file.
        kind: what a row is.
        given: canonical name -> file column, fixed by the user; guesses never change it.

    Returns:
        canonical name -> file column, for the recognised ones, in canonical order.
    """
    free: dict[str, str] = {}
    for column in columns:
        if column not in given.values():
            free.setdefault(fold(column), column)
    mapping = {}
    for canonical, aliases in canonical_columns(kind).items():
        if canonical in given:
            mapping[canonical] = given[canonical]
            continue
        match = next((alias for alias in aliases if alias in free), None)
        if match is not None:
            mapping[canonical] = free.pop(match)
    return mapping
