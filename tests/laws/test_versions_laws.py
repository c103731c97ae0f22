"""Laws of version vectors: joining is the least upper bound, and absorbing never forgets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replication.versions import Dot, Vector, covers, join, with_dot

DOTS = st.builds(Dot, st.integers(1, 4), st.integers(1, 9))
VECTORS = st.dictionaries(st.integers(1, 4), st.integers(1, 9), max_size=4)


@given(VECTORS, VECTORS, VECTORS)
def test_join_asks_neither_for_order_nor_for_grouping(a: Vector, b: Vector, c: Vector) -> None:
    """However vectors are joined, the same comes out; joining again adds nothing."""
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(a, a) == a


@given(VECTORS, VECTORS, DOTS)
def test_a_join_covers_what_either_covers_and_no_more(a: Vector, b: Vector, dot: Dot) -> None:
    """A join has absorbed exactly what one of the two had."""
    assert covers(join(a, b), dot) == (covers(a, dot) or covers(b, dot))


@given(VECTORS, DOTS, DOTS)
def test_absorbing_covers_the_dot_and_forgets_none(vector: Vector, dot: Dot, other: Dot) -> None:
    """After a mutation is absorbed it is covered, and so is all that was before."""
    after = with_dot(vector, dot)

    assert covers(after, dot)
    assert covers(after, other) or not covers(vector, other)


@given(VECTORS, VECTORS, DOTS)
def test_the_vectors_given_are_left_as_they_are(a: Vector, b: Vector, dot: Dot) -> None:
    """Vectors are shared between cells, so no function may change one."""
    before = dict(a), dict(b)

    join(a, b)
    with_dot(a, dot)

    assert before == (a, b)
