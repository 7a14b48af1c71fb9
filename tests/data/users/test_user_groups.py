import numpy as np

from serendip.data.users.user import MOST_ATTRIBUTES, MOST_GROUPS, User, group_users, groups_of
from serendip.data.vocabulary import Vocabulary

USERS = [
    User("u", {"plan": "free", "country": "Italy", "age": 40.0, "tags": ("x", "y")}),
    User("v", {"plan": "paid", "segment": "new"}),
    User("stranger", {"plan": "gold", "segment": "old"}),
    User("w", {"plan": ""}),
]


def test_attributes_make_groups_but_those_that_tell_people_apart_or_few_have():
    assert USERS[0].groups == {"plan": "free"}
    assert USERS[3].groups == {}
    ids = [f"u{number}" for number in range(MOST_GROUPS + 1)]
    users = [User(name, {"name": name, "half": name[-1]}) for name in ids]
    assert list(group_users(Vocabulary(ids), users)) == ["half"]

    many = {f"a{number:02}": "x" for number in range(MOST_ATTRIBUTES + 3)}
    users = [User("u", many), User("v", {"z": "y"}), User("w", {"z": "x"})]
    found = list(group_users(Vocabulary("uvw"), users))
    assert len(found) == MOST_ATTRIBUTES
    assert "z" in found
    assert found == sorted(found)


def test_users_of_the_log_have_the_values_of_their_attributes():
    found = group_users(Vocabulary(["w", "v", "u"]), USERS)
    assert list(found) == ["plan", "segment"]
    assert found["plan"].names == ("free", "gold", "paid")
    assert found["plan"].of_users.tolist() == [-1, 2, 0]
    assert found["segment"].of_users.tolist() == [-1, 0, -1]
    assert found["plan"].of_part(np.array([2, 0], np.int32)).of_users.tolist() == [0, -1]
    assert groups_of(found, 1) == {"plan": "paid", "segment": "new"}
    assert groups_of(found, 0) == {}
    assert groups_of({}, 1) == {}
