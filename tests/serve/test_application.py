"""The application of a process: what it answers, and which generation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_engine import TinyEngine

from serendip.data.store.tables.api_keys import ApiKeys
from serendip.errors import StorageError
from serendip.serve.app import open_application
from serendip.serve.engine_holder import EngineHolder, PublishedGenerations
from serendip.serve.server_options import LOCAL


def test_what_was_opened_is_closed_where_the_rest_cannot_be_opened() -> None:
    engine = TinyEngine()

    def open_keys() -> ApiKeys:
        raise StorageError("the keys cannot be read.")

    published = PublishedGenerations(lambda: engine)
    opened = open_application(published, replace(LOCAL, open_keys=open_keys), EngineHolder())
    with pytest.raises(StorageError), opened:
        raise AssertionError("it was opened")
    assert engine.is_closed
