"""The part ``content``: items, their content vectors and their semantic IDs.

Nothing in it depends on what people chose, so that new events do not build it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from serendip.content.encoders.base import identify
from serendip.content.features import encode_media
from serendip.content.posted_media import MEDIA_ENCODERS
from serendip.content.semantic_ids.kmeans import measure_code_quality
from serendip.engine.state_parts import CONTENT, CatalogueContent
from serendip.jobs.context import JobContext
from serendip.jobs.train.continuation import (
    compare_codes,
    describe_encoder,
    previous_content,
)
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.parts.plan import Draft, Part, PartInputs
from serendip.runtime.versions import Version


def build_content(inputs: PartInputs, draft: Draft | None) -> Draft:
    """Encode all items, and give them semantic IDs that keep the numbers of groups."""
    context, current = inputs.context, inputs.current
    dataset, options = context.require_items(), context.options
    fitter = Fitter(context, inputs.scratch)
    fitter.encode_items(dataset, options)
    before = previous_content(current, context.settings)
    known = () if before is None else (before.codebooks, before.fusion)
    content = fitter.build_content(dataset, options, *known)
    codes, items = content.features.codes, dataset.catalogue.vocabulary
    media = context.vectors, context.media, options.progress
    reports = encode_media(dataset.catalogue.items, *media)[1]
    facts = {
        "encoder": describe_encoder(context),
        "semantic_ids": {
            **asdict(measure_code_quality(codes, content.features.codebook_size)),
            "kept": compare_codes(current, codes, items) if current and before else [],
        },
        "media": {name: report.as_dict() for name, report in reports.items()},
        MEDIA_ENCODERS: {
            name: asdict(identify(source.encoder)) for name, source in context.media.items()
        },
    }
    return Draft(facts, content)


def link_content(inputs: PartInputs, draft: Draft | None, current: Version) -> Draft:
    """The content of the generation in force, and what the items say in words."""
    content = CatalogueContent.open(current.folder / CONTENT)
    settings, items = inputs.context.settings, inputs.context.dataset.catalogue.items
    features = content.features.read_by(settings.token_reader, items)
    return Draft({}, replace(content, features=features))


def read_content(context: JobContext, current: Version | None) -> Mapping[str, Any]:
    """What content is made from."""
    settings, snapshot = context.settings.learned_from(), context.snapshot
    return {
        "items": [snapshot.item_version, snapshot.last_item_erasure, snapshot.generated],
        **{f"[{table}]": settings[table] for table in ("content", "semantic_ids")},
        "the encoder": describe_encoder(context),
        "files of pictures and sounds": {
            name: source.states(context.dataset.catalogue.items)
            for name, source in context.media.items()
        },
        "--seed": context.options.seed,
    }


CONTENT_PART = Part(CONTENT, (), read_content, build_content, link_content)
