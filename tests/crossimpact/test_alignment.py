"""Arrays on another list of symbols: shared names keep their numbers, others are missing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crossimpact.alignment import Alignment

lists = st.lists(st.sampled_from("ABCDEFG"), unique=True)


@given(lists, lists, st.integers(0, 3))
def test_alignment_moves_every_shared_name_and_nothing_else(old, new, buckets):
    values = np.arange(1.0, buckets * len(old) ** 2 + 1).reshape(buckets, len(old), len(old))
    moved = Alignment.between(old, new)(values, axes=(1, 2), missing=np.nan)
    assert moved.shape == (buckets, len(new), len(new))
    for i, a in enumerate(new):
        for j, b in enumerate(new):
            if a in old and b in old:
                assert (moved[:, i, j] == values[:, old.index(a), old.index(b)]).all()
            else:
                assert np.isnan(moved[:, i, j]).all()


@given(lists, lists)
def test_alignment_there_and_back_keeps_what_is_shared(old, new):
    values = np.arange(1.0, len(old) + 1)
    back = Alignment.between(new, old)(Alignment.between(old, new)(values))
    assert back.tolist() == [v if s in new else 0.0 for s, v in zip(old, values, strict=True)]
