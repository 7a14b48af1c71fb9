"""Column mapping: canonical column names, their common aliases, and guesses by name.

File columns are compared after folding: case, punctuation and a type suffix (``user_id:token``)
are ignored. Each file column is mapped to at most one canonical column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

TableKind: TypeAlias = Literal["items", "events"]

# Aliases in the folded form, best first; a canonical name is its own first alias.
ITEM_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "item_id": (
            *("itemid", "movieid", "filmid", "productid", "articleid", "bookid", "trackid"),
            *("songid", "videoid", "gameid", "jobid", "newsid", "contentid", "documentid"),
            *("docid", "objectid", "parentasin", "asin", "sku", "stockcode", "isbn", "ean", "iid"),
            *("itemcode", "productcode", "item", "id", "key", "product", "article"),
        ),
        "title": (
            *("title", "name", "itemtitle", "itemname", "producttitle", "productname"),
            *("movietitle", "booktitle", "jobtitle", "trackname", "headline", "articlename"),
            *("articletitle", "label", "caption"),
        ),
        "description": (
            *("description", "productdescription", "desc", "overview", "plot", "summary"),
            *("abstract", "body", "text", "comment"),
        ),
        "available_from": (
            *("availablefrom", "createdat", "creationtimestamp", "publishedat", "datepublished"),
            "availabledate",
        ),
    }
)

EVENT_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "user_id": (
            *("userid", "visitorid", "customerid", "reviewerid", "clientid", "memberid"),
            *("accountid", "profileid", "personid", "userpseudoid", "usertoken", "uid"),
            *("user", "customer", "visitor", "member", "client", "shopper", "buyer", "viewer"),
            *("reader", "shopperid", "buyerid", "person", "account"),
        ),
        "item_id": (
            *("itemid", "movieid", "filmid", "productid", "articleid", "bookid", "trackid"),
            *("songid", "videoid", "gameid", "jobid", "newsid", "contentid", "objectid"),
            *("eventattributesobjectobjectid", "productdetailsproductid", "objectids"),
            *("parentasin", "asin", "sku", "stockcode", "isbn", "ean", "iid"),
            *("itemcode", "productcode", "documentid", "docid", "item", "product", "article"),
        ),
        "timestamp": (
            *("timestamp", "eventtimestamp", "unixreviewtime", "unixtime", "eventtime"),
            *("datetime", "time", "ts", "occurredat", "createdat", "invoicedate", "viewedat"),
            *("clickedat", "boughtat", "purchasedat", "orderedat", "orderdate", "when"),
            *("created", "date", "day"),
        ),
        "action": (
            *("action", "actionname", "actiontype", "eventtype", "eventname", "feedbacktype"),
            *("behaviortype", "behaviourtype", "behavior", "behaviour", "interaction"),
            *("event", "type"),
        ),
        "value": ("value", "rating", "eventvalue", "weight", "score", "stars", "overall"),
        "query": ("query", "querytext", "searchquery", "userquery", "searchterm", "keywords"),
        "request_id": (
            *("requestid", "queryid", "recommid", "attributiontoken", "recommendationid"),
        ),
        "position": ("position", "positionordinal", "eventattributespositionordinal", "slot"),
        "surface": ("surface", "scenario", "placement"),
        "session_id": ("sessionid", "session", "visitid"),
        "event_id": ("eventid",),
    }
)

REQUIRED: Mapping[TableKind, tuple[str, ...]] = MappingProxyType(
    {"items": ("item_id",), "events": ("user_id", "item_id", "timestamp")}
)


def canonical_columns(kind: TableKind) -> Mapping[str, tuple[str, ...]]:
    """Canonical columns of a table with their folded aliases."""
    return ITEM_COLUMNS if kind == "items" else EVENT_COLUMNS


def fold(column: str) -> str:
    """Fold a column name: no case, punctuation or type suffix (``User_ID:token`` -> ``userid``)."""
    return re.sub(r"[^0-9a-z]", "", re.sub(r":\w+$", "", column).casefold())


def guess_mapping(
    columns: Sequence[str], kind: TableKind, given: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Guess the column mapping from column names alone.

    Args:
        columns: names in the file.
        kind: whether the rows are items or events.
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
