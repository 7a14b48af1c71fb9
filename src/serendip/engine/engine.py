"""The engine answers requests of every surface from one published generation and the live store.

Each answer is computed from one immutable ``EngineState``, read once. Nothing here trains.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.content.encoders.base import TextEncoder
from serendip.content.encoders.media_files import FileProblem
from serendip.content.encoders.text import UniversalSentenceEncoder, open_encoder
from serendip.content.posted_media import PostedMedia
from serendip.content.semantic_ids.group_names import build_group_name
from serendip.data import NO_ITEMS, Event, IntArray, Item, Query, normalise
from serendip.data.items.attribute_test import is_field, parse_tests, require_fields
from serendip.data.rules import Rule, RuleSet
from serendip.data.store.rule_validation import check_rule
from serendip.data.store.store import Store
from serendip.data.users.user import User
from serendip.engine.artefacts.erasure import (
    PAUSE_S,
    REST,
    Eraser,
    ErasureReceipt,
    remove_remains,
)
from serendip.engine.artefacts.generations import (
    EVENT_SEQ,
    ITEM_VERSION,
    current_name,
    open_current,
)
from serendip.engine.experiments import EXPERIMENTS_KEY, Experiments, interleave
from serendip.engine.explanations.labels import Labels
from serendip.engine.fallback import CONTENT, fall_back
from serendip.engine.figures import NOTHING, Figures, count_events
from serendip.engine.item_pictures import ItemPictures
from serendip.engine.listing import list_sort_names, sort_items
from serendip.engine.live.media_encoding import NICE, encode_posted_media, may_encode
from serendip.engine.live.state import ItemUpdater, LiveCounts, LiveState
from serendip.engine.matches import Matches, build_browse_surface, is_browse
from serendip.engine.presenter import Presenter, tell_rules
from serendip.engine.query_builder import QueryBuilder, find_item_number, read_wish
from serendip.engine.query_suggestions import QuerySuggester, SuggestionUsers
from serendip.engine.request import (
    Answer,
    ChosenItem,
    Explanation,
    ItemFile,
    Place,
    Request,
    SearchFeedback,
    Suggestions,
)
from serendip.engine.stages.base import FIRST
from serendip.engine.stages.pipeline import answer_queries
from serendip.engine.stages.rules import find_pins, put_pins
from serendip.engine.stages.selection import Result
from serendip.engine.stages.surfaces import NOT_A_SURFACE, RANKER, SurfaceConfig, find_surface
from serendip.engine.state import EngineState
from serendip.engine.state_parts import open_state
from serendip.engine.workspace import REPORT_HTML, Workspace
from serendip.errors import (
    ArtefactError,
    DataError,
    SerendipError,
    StorageError,
    UnsupportedError,
)
from serendip.models.vector_index import LISTS_FILES, load_faiss
from serendip.runtime.background import RecurringWork
from serendip.runtime.versions import Version
from serendip.search.suggestions.ranker import SuggestionUser

_log = logging.getLogger(__name__)

DAY_S = 86_400.0
BUSY_TIMEOUT_S = 2.0  # that a write waits for other writers of the database before it fails


class Engine(AbstractContextManager["Engine"]):
    """Answers requests over one workspace; safe to call from many threads. ``with`` closes it.

    ``Engine.open`` builds one. Item and user ids in arguments and answers are external ids, times
    are Unix seconds. Every method that reads or writes the store raises ``StorageError`` if the
    database cannot be read or written, and its subclass ``BusyError`` if other writers keep it
    locked for ``BUSY_TIMEOUT_S``; a write that raises one of the two has stored nothing.

    Attributes:
        report: file of the page about its quality, once an evaluation has ended.
        generation: name of the generation that answers.
    """

    def __init__(
        self,
        workspace: Workspace,
        generation: Version,
        state: EngineState,
        encoder: TextEncoder,
        store: Store,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings = workspace.settings
        content, folder = settings.content, workspace.folder
        self.pictures = ItemPictures.of(folder, settings.page, content.image)
        self.report = workspace.reports / REPORT_HTML
        self.generation = generation.name
        self._manifest = manifest = generation.manifest
        self._store, self._encoder = store, encoder
        self._surfaces = settings.all_surfaces()
        self._clock, self._experiments = clock, Experiments()
        self._query_builder = QueryBuilder(
            encoder, state.fusion, store, settings.actions, self._surfaces, clock
        )
        self._suggestion_users = SuggestionUsers(store, settings.actions)
        self._media = media = PostedMedia.of(content, folder, workspace.cache, manifest)
        self._eraser = Eraser(workspace, store)
        self._remover = RecurringWork(remove_remains, str(folder), PAUSE_S, REST)
        self._encoding = RecurringWork(encode_posted_media, str(folder), 0.0, nice=NICE)
        updater = ItemUpdater(encoder, content, settings.token_reader, media)
        event_seq = int(manifest.get(EVENT_SEQ, 0))
        counts = LiveCounts(store.log, settings.actions, event_seq, clock)
        self._live = LiveState(state, int(manifest[ITEM_VERSION]), store, updater, counts)
        self._live.catch_up(with_imports=True)
        self._num_events = store.log.count()

    @classmethod
    def open(
        cls,
        folder: Path | str,
        clock: Callable[[], float] = time.time,
    ) -> Engine:
        """Open the published generation of a workspace.

        A synonym table that cannot be read is logged and left out.

        The clock gives Unix seconds; it decides which items are available and when a request reads
        the log for the counts.

        Raises:
            ConfigError: ``serendip.toml`` is missing or has a wrong key or value.
            NotTrainedError: no generation is published.
            ArtefactError: a file of the generation is missing or altered.
            StorageError: the database is missing or cannot be read.
        """
        workspace = Workspace.open(Path(folder))
        return cls.of_version(workspace, open_current(workspace.generations), clock)

    @classmethod
    def of_version(
        cls,
        workspace: Workspace,
        generation: Version,
        clock: Callable[[], float] = time.time,
        state: EngineState | None = None,
        encoder: TextEncoder | None = None,
    ) -> Engine:
        """Open a generation whose files are verified.

        With a state that is in memory, such as that of a generation to be published, they are not
        read.

        Raises:
            ArtefactError: the generation is unreadable.
            StorageError: the database is missing or cannot be read.
        """
        if state is None:
            state = open_state(generation.folder).with_synonyms(workspace.accepted_synonyms())
        encoder = encoder or open_encoder(workspace.settings.content)
        store = workspace.open_store(BUSY_TIMEOUT_S)
        try:
            store.database.keep_open()
            return cls(workspace, generation, state, encoder, store, clock)
        except BaseException:
            store.close()
            raise

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store. Call it after the last request has ended."""
        self._remover.close()
        self._encoding.close()
        self._store.close()

    def warm_up(self) -> None:
        """Load what the first search would load otherwise, such as the weights of the encoder.

        What cannot be loaded is logged: requests then say so themselves.
        """
        try:
            self._encoder.encode(["a text"])
        except (SerendipError, ImportError, OSError) as error:
            _log.error("the text encoder cannot be loaded: %s", error)

    def catch_up(self) -> None:
        """Apply what was written since the last call, by any engine: items, deletions, events,
        experiments.

        Opening also applies what an import changed since the training.
        """
        self._live.catch_up()
        self.follow_experiments()
        self._num_events = self._store.log.count()

    def follow_experiments(self) -> None:
        """Obey the experiments that run now; an engine that has never been told to is in none."""
        self._experiments = Experiments.read(self._store.meta(EXPERIMENTS_KEY), self._surfaces)

    def work_beside(self) -> None:
        """Remove what was erased, and encode files of posted items, in processes of their own."""
        self._remover.begin_if_due(self._eraser.has_remains)
        if self.settings.content.media:
            self._encoding.begin_if_due(
                lambda: may_encode(self._media, self._manifest, self.item_version)
            )

    def read_items(self) -> None:
        """Apply the items that other engines wrote since; cheap if nothing was committed."""
        self._live.read_items()

    @property
    def item_version(self) -> int:
        """Version of the store's items up to which requests see all that was posted and deleted."""
        return self._live.item_version

    @property
    def attribute_names(self) -> Sequence[str]:
        """Names of the attributes that items have."""
        return self.state.catalogue.attribute_names

    def sort_names(self, surface: str) -> Sequence[str]:
        """What lists of a surface can be ordered by: numbers that people read, those of the
        settings first; nothing where it sells positions, which an order would move.

        Raises:
            UnsupportedError: the surface is not configured; the hint lists those that are.
        """
        if find_surface(self._surfaces, surface).sponsored is not None:
            return ()
        return list_sort_names(self.state.catalogue, self.settings.named_numbers)

    @property
    def units(self) -> Mapping[str, str]:
        """Attribute -> unit of its numbers."""
        return self.settings.items.units

    def is_code(self, attribute: str) -> bool:
        """Whether an attribute holds ids or codes, which tell people nothing of an item."""
        return self.state.catalogue.is_code(attribute)

    def is_public(self, attribute: str) -> bool:
        """Whether people see an attribute on the page, and may filter and sort by it."""
        return self.settings.is_public(attribute)

    def recommend(self, request: Request) -> Answer:
        """Answer a request of any surface with one page of items.

        A surface that needs a text returns no items for an empty one without filters; with them it
        is a category page, see ``engine.matches``. In an experiment the surface of an arm answers.

        Raises:
            UnsupportedError: the surface is not configured.
            UnknownItemError: an item of the request is not in the catalogue, deleted or not
                available yet.
            DataError: ``k`` is below 1, or the cursor, a filter or an order is not valid.
        """
        if request.k < 1:
            raise DataError(f"k = {request.k} is below 1.", "Request 1 item or more.")
        state, assigned = self.state, self._experiments.assign(request)
        answers = [
            self._recommend(replace(request, surface=surface), state, request)
            for surface in assigned.surfaces
        ]
        answer = answers[0]
        if len(answers) > 1:
            name, now = assigned.experiment, self._clock()
            answer = interleave(name, answers, request, now)
        return assigned.mark(answer, request)

    def _recommend(self, request: Request, state: EngineState, sent: Request) -> Answer:
        meant = read_wish(request, self._surfaces, state)
        answer = self._answer(meant, sent, state, meant.surface != request.surface)
        if meant.surface == request.surface:
            return answer
        understood = SearchFeedback(request.text, similar_to=meant.item_ids[0])
        return replace(answer, surface=request.surface, understood=understood)

    def _answer(self, request: Request, sent: Request, state: EngineState, is_wish: bool) -> Answer:
        surface, presenter = self._find_surface(request), self._present(request, state)
        query = self._query_builder.build(state, request, sent)
        if surface.needs == "query" and not normalise(request.text):
            return Answer(uuid.uuid4().hex, self.generation, request.surface, (), is_exact=True)
        end = len(presenter.place.shown) + request.k
        if request.reasons and (surface.scorer == RANKER or query.text):
            end = max(end, FIRST)  # Reasons compare with the first items, however short the page.
        matches, whole = Matches(query, surface, state), _is_whole(query, surface, request, is_wish)
        # One more than the page: then it is known whether there is another one.
        result = matches.run(request.sort) if whole else matches.run_first(end + 1)
        if end >= len(result.items) and query.text and not request.sort and not query.filters:
            result = matches.append_to(result)
        counted = matches.list_counted(result) if request.facets else NO_ITEMS
        total, is_exact = matches.count(result, whole)
        answer = presenter.build_answer(result, counted)
        return tell_rules(replace(answer, total=total, is_exact=is_exact), query)

    def _present(self, request: Request, state: EngineState) -> Presenter:
        """The presenter of a request.

        Raises:
            DataError: the cursor is not valid, or no item has one of its fields.
        """
        catalogue, fields = state.catalogue, request.fields
        require_fields(fields, catalogue)
        if not fields:  # settings may name what no item has yet
            fields = tuple(name for name in self.settings.page.fields if is_field(name, catalogue))
        return Presenter(state, self.generation, request, Place.read(request.cursor), fields)

    def fall_back(self, request: Request, rung: str = CONTENT) -> Answer:
        """Answer when ``recommend`` fails or takes too long, from less than it needs.

        Neither the store nor the encoder is asked; of the user it is known what the last request
        read, so that what they rejected is not shown. ``degraded`` says what was left out.
        ``engine.fallback`` has the rungs, which are tried from ``rung`` on.

        Raises:
            LateError: a search without the content rung.
            UnsupportedError, UnknownItemError, DataError: as ``recommend``.
        """
        assigned, asked, state = self._experiments.assign(request), request, self.state
        request = replace(request, surface=assigned.surfaces[0])
        surface = self._find_surface(request)
        presenter = self._present(replace(request, parts=False), state)
        query = self._query_builder.build_from_memory(state, request, asked)
        matches, wanted = Matches(query, surface, state), len(presenter.place.shown) + request.k + 1
        items, missing = fall_back(matches, wanted, request, rung)
        items = sort_items(items, request.sort, state.catalogue)
        items = put_pins(items, find_pins(query, matches.allowed, state))
        answer = replace(presenter.build_plain(items), degraded=missing, total=len(items))
        return assigned.mark(tell_rules(answer, query), asked)

    def search(self, text: str, **parameters: Any) -> Answer:
        """Search items by a text: ``recommend`` on the surface ``search``.

        ``parameters`` are further fields of ``Request``.

        Raises:
            UnknownItemError, DataError: as ``recommend``.
        """
        return self.recommend(Request("search", text=text, **parameters))

    def similar(self, item_id: str, **parameters: Any) -> Answer:
        """Recommend items similar to an item: ``recommend`` on the surface ``similar``.

        ``parameters`` are further fields of ``Request``.

        Raises:
            UnknownItemError, DataError: as ``recommend``.
        """
        return self.recommend(Request("similar", item_ids=(item_id,), **parameters))

    def needs(self, surface: str) -> Literal["", "query", "items"]:
        """The part that requests of a surface must have: a text, or source items; empty = neither.

        Raises:
            UnsupportedError: the surface is not configured; the hint lists those that are.
        """
        return find_surface(self._surfaces, surface).needs

    def suggest(self, request: Request) -> Suggestions:
        """Suggest queries that have at least one result.

        With a text they complete it; without one they are queries to search next.

        The text, user, filters, ``after`` and ``k`` of the request are read. At most ``k`` queries
        are returned, none if it is below 1.

        Raises:
            DataError: a filter is none, or of an attribute that no item has.
        """
        state = self.state
        if request.k < 1:
            return Suggestions(uuid.uuid4().hex, self.generation, ())
        user, now = self._suggestion_user(state, request.user_id), self._clock()
        is_typed = bool(normalise(request.text))
        if not is_typed and state.queries.co_searches.ways_out:
            user = replace(user, failed=self._suggestion_users.find_failed(request, now))
        suggester = QuerySuggester(state, self.settings.queries, request, user, now)
        suggestions = suggester.complete() if is_typed else suggester.recommend()
        return Suggestions(uuid.uuid4().hex, self.generation, tuple(suggestions))

    def explain(self, request: Request, item_id: str) -> Explanation:
        """Explain why an item is, or is not, in the answer to a request.

        An item that is not among its first ``k`` is absent; the cursor is not read. Of an
        interleaved list it is explained by the control.

        Raises:
            UnsupportedError: the surface is not configured.
            UnknownItemError: the item, or one of the request, is not in the catalogue, deleted or
                not available yet.
            DataError: the request has an order that no item has a number for, or of a surface that
                sells places.
        """
        state, asked = self.state, request
        request = replace(request, surface=self._experiments.assign(request).surfaces[0])
        meant = read_wish(request, self._surfaces, state)
        surface, item = self._find_surface(meant), find_item_number(item_id, state)
        query = self._query_builder.build(state, meant, asked)
        is_wish = meant.surface != request.surface
        matches, whole = Matches(query, surface, state), _is_whole(query, surface, meant, is_wish)
        result = matches.run(meant.sort) if whole else matches.run_first()
        return Presenter(state, self.generation, meant).build_explanation(result, query, item)

    @property
    def rules(self) -> RuleSet:
        """The rules that requests obey now."""
        return self._live.current.rules

    def put_rules(self, rules: Sequence[Rule], removed: Sequence[str] = ()) -> list[str]:
        """Store rules in place of those of their ids, and remove those of other ids; this counts
        from the next request on.

        Returns:
            ids of those that are not as they were.

        Raises:
            DataError: a rule says nothing or what is impossible; none is stored.
        """
        self._require_rules(rules)
        changes: dict[str, Rule | None] = dict.fromkeys(removed)
        return self._live.put_rules(changes | {rule.rule_id: rule for rule in rules})

    def preview(self, request: Request, rules: Sequence[Rule] = ()) -> tuple[Answer, Answer]:
        """Answer a request with rules and without them, beside all others that are in force.

        Times of these rules are not read. Without any, the second answer is one without all rules.

        Raises:
            DataError: as ``put_rules``.
            UnsupportedError, UnknownItemError: as ``recommend``.
        """
        self._require_rules(rules)
        state = self.state
        given = {rule.rule_id: replace(rule, begins=None, ends=None) for rule in rules}
        others = state.rules.changed(dict.fromkeys(given or state.rules.by_id))
        with_rules, without = (
            self._recommend(request, replace(state, rules=one), request)
            for one in (state.rules.changed(given), others)
        )
        return with_rules, without

    def _require_rules(self, rules: Iterable[Rule]) -> None:
        for rule in rules:
            try:
                check_rule(rule)
                for name in rule.surfaces:
                    find_surface(self._surfaces, name)
                parse_tests(filter(None, (rule.where, rule.category)), self.state.catalogue)
            except SerendipError as error:
                told = f"rule {rule.rule_id[:80]!r}: {error.message}"
                raise DataError(told, error.hint) from None

    def add_events(self, events: Sequence[Event]) -> int:
        """Store events; they are in the user's history from the next request on.

        For scripts: the service calls ``add_event_groups``.

        The surface of each is empty, configured or ``suggest``.

        Returns:
            number of new events; an ``event_id`` that is stored already is not new.

        Raises:
            UnsupportedError: an event names a surface that is not configured; none is stored.
            DataError: an event is not valid, see ``serendip.data.store.validation``; none is
                stored.
        """
        (stored,) = self.add_event_groups([events])
        if isinstance(stored, SerendipError):
            raise stored
        return stored

    def add_event_groups(self, groups: Iterable[Sequence[Event]]) -> list[int | SerendipError]:
        """Store groups of events in one transaction, as ``add_events`` does with each of them.

        Each is asked for once those before it are written, so that it may come late.

        Returns:
            number of new events of each group, or why none of that group is stored.

        Raises:
            StorageError: the database cannot be written to; no group is stored.
        """
        refused: list[SerendipError | None] = []

        def accepted() -> Iterator[Sequence[Event]]:
            for events in groups:
                refused.append(self._surface_problem(events))
                if refused[-1] is None:
                    yield events

        stored = self._store.put_event_groups(accepted())
        counts = iter(stored)
        return [next(counts) if error is None else error for error in refused]

    def _surface_problem(self, events: Iterable[Event]) -> UnsupportedError | None:
        try:
            for surface in {event.surface for event in events} - {"", NOT_A_SURFACE}:
                find_surface(self._surfaces, surface)
        except UnsupportedError as error:
            return error
        return None

    def add_items(self, items: Sequence[Item]) -> int:
        """Store items and make them searchable and recommendable at once, without training.

        They are new items, or other content of stored ones; of several with the same id the last is
        stored. Titles, lists, paths of categories and numbers that are written for people are read
        as those of the file.

        Returns:
            number of stored items.

        Raises:
            DataError: an item is not valid, see ``serendip.data.store.validation``; none is
                stored.
        """
        config, kind_of = self.settings.items, self._live.current.catalogue.kind
        return self._live.add_items([config.read_posted(item, kind_of) for item in items])

    def change_item(self, item_id: str, change: Callable[[Item], Item]) -> Item | None:
        """Change a stored item: what ``change`` makes of it is stored as ``add_items`` does.

        Returns:
            the item as stored; None if it is unknown.

        Raises:
            DataError: the changed item is not valid; nothing is stored.
        """
        config, kind_of = self.settings.items, self._live.current.catalogue.kind
        return self._live.change_item(
            item_id, lambda item: config.read_posted(change(item), kind_of)
        )

    def list_items(self, after: str, limit: int) -> tuple[list[Item], str]:
        """Items whose ids come after one, in the order of ids, as far as they may be shown now.

        Also the id after which the next ones come; empty = there are none.
        """
        found = self._store.items_after(after, limit)
        shown = filter(None, (self.item(item.item_id) for item in found))
        return [*shown], found[-1].item_id if len(found) == limit else ""

    def unknown_items(self, item_ids: Iterable[str]) -> list[str]:
        """Those of some ids that no item has, each once, at most ten."""
        vocabulary = self._live.current.catalogue.vocabulary
        return [name for name in dict.fromkeys(item_ids) if name and name not in vocabulary][:10]

    def find_file_problems(self, items: Sequence[Item]) -> list[FileProblem]:
        """Pictures and sounds of items that cannot be used, found without opening the files.

        Such an item is stored all the same, and found by its text.
        """
        return self._media.find_problems(items)

    def files(self, item: Item) -> dict[str, ItemFile]:
        """Modality -> state of the file that an item of this engine names; empty if it names none.

        The files of items that were posted since the training are encoded by a process beside the
        service (``engine.live.media_encoding``).
        """
        state, media = self._live.current, self._media
        number = state.catalogue.vocabulary.number(item.item_id)
        is_posted, present = number < 0 or state.catalogue.is_late(number), set[str]()
        if number >= 0 and state.features.present is not None:
            present = set(compress(state.fusion.modalities, state.features.present[number]))
        unusable = {one.field: one.problem for one in media.find_problems([item])}
        files = {}
        for name in media.named(item):
            problem = unusable.get(self.settings.content.media[name].field)
            if name not in state.fusion.modalities:
                problem = f"the generation was trained without {name}."
            if name in present:
                files[name] = ItemFile("encoded")
            elif problem is None and is_posted and media.version < self.item_version:
                files[name] = ItemFile("waiting")
            else:
                unread = "it is broken: `serendip doctor` says why."
                unread = unread if is_posted else "it could not be used when this was trained."
                files[name] = ItemFile("left out", problem or unread)
        return files

    def delete_item(self, item_id: str) -> bool:
        """Delete an item; requests that begin after this returns never have it in an answer.

        Returns:
            whether the store had the item.
        """
        return self._live.delete_item(item_id)

    def erase_user(self, user_id: str) -> ErasureReceipt:
        """Erase a user: requests that begin after this returns know nothing about them.

        A fallback of another worker may leave out what they chose, until that worker reads the log
        again. Bytes of theirs are removed by a process beside this one.

        Raises:
            DataError: the id is not valid.
        """
        receipt = self._eraser.erase_user(user_id)
        self._query_builder.histories.forget(user_id)
        with suppress(StorageError):  # The user is erased; events are counted again later.
            self._num_events = self._store.log.count()
        self._remover.begin()
        return receipt

    def item(self, item_id: str) -> Item | None:
        """The item as stored now; None if it is unknown, deleted or not available yet."""
        state = self.state
        number = state.catalogue.vocabulary.number(item_id)
        return None if number < 0 or state.hidden[number] else state.catalogue[number]

    def semantic_id(self, item_id: str) -> tuple[int, ...]:
        """Semantic ID of an item: its codes, coarse to fine; empty for an unknown item."""
        state = self.state
        number = state.catalogue.vocabulary.number(item_id)
        return () if number < 0 else tuple(int(code) for code in state.features.codes[number])

    def code_label(self, item_id: str) -> str:
        """Readable name of the item's semantic ID, coarse to fine; empty if no code has a name."""
        return build_group_name(self.state.code_names, self.semantic_id(item_id))

    def users(self, limit: int = 50) -> list[tuple[str, int]]:
        """The most active users first, each with their number of events of all actions."""
        return self._store.log.active_users(limit)

    def history(self, user_id: str, limit: int = 50) -> list[Event]:
        """The events of a user, newest first, without ignored actions such as impressions."""
        return self._store.log.history(user_id, limit, self.settings.actions.ignore)[::-1]

    def user(self, user_id: str) -> User:
        """A user with their attributes; without any if nothing is stored about them."""
        return self._store.users.get(user_id) or User(user_id)

    def put_users(self, users: Sequence[User]) -> None:
        """Store the attributes of users in place of all earlier ones.

        Their country and groups count from the next request on.

        Raises:
            DataError: an id or an attribute is not valid; nothing is stored.
        """
        self._store.users.put(*users)

    def change_user(self, user_id: str, change: Callable[[User], User]) -> User:
        """Store what ``change`` makes of a user, as ``put_users`` does; nothing is written to them
        in between.
        """
        return self._store.users.change(user_id, change)

    def merge_user(self, visitor_id: str, user_id: str) -> int:
        """Let what a visitor did count for a user from now on, as at a login.

        Done again, it adds what is new. Returns the number of events that are new to the user.

        Raises:
            DataError: an id is not valid.
        """
        return self._store.merge_user(visitor_id, user_id)

    def chosen(self, user_id: str, limit: int = 50) -> list[ChosenItem]:
        """Items that a user chose and has not rejected since, each once, newest choice first."""
        state = self.state
        history = self._query_builder.read_past(state, user_id).history
        liked = frozenset(history.item_nums[history.liked].tolist())
        newest = list(dict.fromkeys(history.item_nums[::-1].tolist()))[:limit]
        ids = state.catalogue.vocabulary.ids_of(newest)
        return [
            ChosenItem(item_id, item in liked) for item_id, item in zip(ids, newest, strict=True)
        ]

    def figures(self, days: float, most: int) -> Figures:
        """What people did with answers in the last days, of all and of the ``most`` frequent ones;
        see ``engine.figures``.
        """
        state, since = self.state, self._clock() - days * DAY_S
        found, shown = count_events(self._store.log.since(since), self.settings.actions, most)
        numbers = state.catalogue.vocabulary.numbers([*shown])
        is_known, counts = numbers >= 0, np.array([*shown.values()], np.int64)
        is_new = state.new_items.mask[numbers[is_known]]
        return Figures(
            since,
            next(iter(found["total"]), NOTHING),
            found["surfaces"],
            found["queries"],
            [replace(one, title=self._title(one.name)) for one in found["items"]],
            float(is_known.sum() / max(1, state.num_items - state.hidden.sum())),
            float(counts[is_known][is_new].sum() / counts.sum()) if len(counts) else None,
        )

    def _title(self, item_id: str) -> str:
        item = self.item(item_id)
        return item.title if item else ""

    def stats(self) -> dict[str, int | float | str]:
        """Counts for pages and metrics, read from memory.

        ``events`` is the count at the last ``catch_up`` or erasure of this engine.
        """
        state = self._live.current
        return {
            "generation": self.generation,
            "items": int(state.num_items - state.hidden.sum()),
            "events": self._num_events,
            "models": len(state.models),
            "published": str(self._manifest["created"]),
        }

    @property
    def labels(self) -> Labels:
        """Readable labels of the names in answers."""
        return Labels.of(self._live.current.models, self._surfaces)

    def storage_problem(self) -> str:
        """Why a write would fail now, found without a write; empty = no known problem."""
        return self._store.database.problem()

    @property
    def state(self) -> EngineState:
        """The state that a request is answered from now; immutable.

        Counts new events of the log first, at most every half second.

        Items that are not available yet are hidden in it, like deleted ones. A batch job that
        needs one consistent state reads it once.
        """
        return self._live.at(self._clock())

    def queries(self, requests: Iterable[Request]) -> list[Query]:
        """Build the queries of requests from one state, for batch jobs.

        Raises:
            UnsupportedError: the surface of a request is not configured.
            UnknownItemError: an item of a request is not in the catalogue, deleted or not
                available yet.
        """
        state = self.state
        return [self._query_builder.build(state, request) for request in requests]

    def run(self, queries: Sequence[Query], surface: str) -> list[Result]:
        """Answer queries of one surface that ``queries`` built, without reasons, for batch jobs.

        Raises:
            UnsupportedError: the surface is not configured.
        """
        return answer_queries(queries, find_surface(self._surfaces, surface), self.state)

    def item_ids(self, item_nums: IntArray) -> list[str]:
        """External ids of item numbers (K,) that ``run`` returned."""
        return self.state.catalogue.vocabulary.ids_of(item_nums)

    def _find_surface(self, request: Request) -> SurfaceConfig:
        """The surface of a request, as it answers a category page if the request is for one, and
        without giving a place away in an order of the request's own.

        Raises:
            UnsupportedError: the surface is not configured.
            DataError: the surface sells places, which an order would move.
        """
        surface = find_surface(self._surfaces, request.surface)
        if is_browse(request, surface):
            surface = build_browse_surface(surface, find_surface(self._surfaces, "home"))
        if not request.sort:
            return surface
        if surface.sponsored is not None:
            raise DataError(
                f"sort = {request.sort!r}: the surface {request.surface!r} sells positions.",
                "Ask another surface, or without sort.",
            )
        return surface.model_copy(update={"exploration": None})

    def _suggestion_user(self, state: EngineState, user_id: str) -> SuggestionUser:
        if not user_id:
            return SuggestionUser()
        past = self._query_builder.read_past(state, user_id)
        removals = self._query_builder.histories.removals
        return self._suggestion_users.of(state, user_id, past, removals)


def _is_whole(query: Query, surface: SurfaceConfig, request: Request, is_wish: bool) -> bool:
    """Whether the list is of all that match, not of the best: in an order of the request's own, and
    of a search with filters, a wish for items like one included, which choose from what the facets
    count.
    """
    return bool(request.sort or (query.filters and (is_wish or surface.needs == "query")))


def load_shared(folder: Path) -> None:
    """Load what all engines of a workspace share, before processes are forked that open one.

    That is the modules that start no thread, and the weights of a text encoder that needs none.

    Raises:
        ConfigError: ``serendip.toml`` is missing or has a wrong key or value.
        ArtefactError: the installed weights are not those of ``models.lock``.
    """
    import scipy.sparse  # noqa: F401 - otherwise imported by the first model that is opened

    workspace = Workspace.open(folder)
    encoder = open_encoder(workspace.settings.content)
    if isinstance(encoder, UniversalSentenceEncoder):
        encoder.encode(["a text"])
    with suppress(ArtefactError):  # The worker that opens the generation says what is wrong.
        # Of the copies here: a client of an object store must not be forked.
        name = current_name(workspace.generation_folder)
        if name and any((workspace.generation_folder / name).rglob(LISTS_FILES)):
            load_faiss()
