"""SQL table and statements of the ledger; writers come one at a time, so budgets are exact."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    bindparam,
    case,
    cast,
    func,
    insert,
    select,
    update,
)

from serendip.data.store.schema import TEXT, name_type

METADATA = MetaData()

CALLS = Table(
    "llm_calls",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("job", TEXT, nullable=False),
    Column("prompt", TEXT, nullable=False),
    Column("prompt_digest", name_type(16), nullable=False),
    Column("model", TEXT, nullable=False),
    Column("data", name_type(64), nullable=False),
    Column("state", name_type(8), nullable=False),
    Column("failure", TEXT, nullable=False),
    Column("answer", TEXT, nullable=False),
    Column("sent", BigInteger, nullable=True),
    Column("answered", BigInteger, nullable=True),
    Column("seconds", Double, nullable=True),
    Column("price", Double, nullable=False),
    Column("sent_at", Double, nullable=False),
    sqlite_autoincrement=True,
)
Index("llm_calls_of_job", CALLS.c.job)
Index("llm_calls_about", CALLS.c.data)

INSERT = insert(CALLS)

FINISH = (
    update(CALLS)
    .where(
        CALLS.c.number == bindparam("row"),
        CALLS.c.state == "sent",
    )
    .values(
        state=bindparam("new_state"),
        failure=bindparam("new_failure"),
        answer=bindparam("new_answer"),
        seconds=bindparam("duration"),
        sent=bindparam("tokens_sent"),
        answered=bindparam("tokens_answered"),
        price=func.coalesce(bindparam("cost", type_=Double), CALLS.c.price),
    )
)

SPENT = select(func.coalesce(func.sum(CALLS.c.price), 0.0)).where(CALLS.c.job == bindparam("job"))

_OF_PROMPT = [CALLS.c[name] == bindparam(name) for name in ("prompt", "prompt_digest", "model")]

ANSWERED = (
    select(CALLS.c.data, CALLS.c.answer)
    .where(
        CALLS.c.data.in_(bindparam("keys", expanding=True)),
        CALLS.c.state == "ok",
        *_OF_PROMPT,
    )
    .order_by(CALLS.c.number)
)

SUMMARY = (
    select(
        CALLS.c.job,
        CALLS.c.prompt,
        CALLS.c.model,
        func.count().label("calls"),
        *(
            func.sum(case((CALLS.c.state == state, 1), else_=0)).label(state)
            for state in ("ok", "failed")
        ),
        func.sum(case((CALLS.c.state == "sent", 1), else_=0)).label("unfinished"),
        cast(func.coalesce(func.sum(CALLS.c.sent), 0), BigInteger).label("tokens_sent"),
        cast(func.coalesce(func.sum(CALLS.c.answered), 0), BigInteger).label("tokens_answered"),
        func.coalesce(func.sum(CALLS.c.seconds), 0.0).label("seconds"),
        func.sum(CALLS.c.price).label("price"),
    )
    .group_by(CALLS.c.job, CALLS.c.prompt, CALLS.c.model)
    .order_by(func.min(CALLS.c.number))
)

FAILURES = (
    select(CALLS.c.job, CALLS.c.failure, func.count().label("calls"))
    .where(CALLS.c.state == "failed")
    .group_by(CALLS.c.job, CALLS.c.failure)
    .order_by(CALLS.c.job, func.count().desc(), CALLS.c.failure)
)
