from serendip.engine.feature_names import context_feature_names, context_parts, part_of
from serendip.models.context_counts import ITEM_COUNTRIES, ContextCounts, FieldCounts


def test_features_of_the_context_name_their_part_and_their_field() -> None:
    counts = FieldCounts.none(3)
    fields = {"user plan": counts, "hour": counts, "user a/b": counts}
    names = context_feature_names(ContextCounts(fields=fields, parts=frozenset({ITEM_COUNTRIES})))
    assert names == ("hour fit", "item of the country", "user a/b fit", "user plan fit")
    assert context_parts(("transitions", *names)) == {*fields, ITEM_COUNTRIES}
    parts = [part_of(name) for name in ("transitions", *names)]
    assert parts == ["", "hour", "country", "user", "user"]
