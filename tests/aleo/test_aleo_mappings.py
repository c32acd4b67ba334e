"""Layers of pending changes, against plain dicts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from slipstream.aleo.mappings import LayeredMappings

operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3), st.integers(0, 9)),
        st.tuples(st.just("remove"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("replace"), st.integers(0, 3), st.integers(0, 9)),
        st.tuples(st.just("drop"), st.just(0), st.just(0)),
        st.tuples(st.sampled_from(["open", "close", "undo"]), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 3), st.integers(0, 9)), operations)
def test_layers_behave_like_copies(
    first: dict[int, int], steps: list[tuple[str, int, int]]
) -> None:
    """Against a plain dict that is copied whole at every checkpoint."""
    where = (b"p", b"m")
    initial = {bytes([key]): bytes([value]) for key, value in first.items()}
    layered = LayeredMappings({where: initial})
    layered.push()
    models: list[dict[bytes, bytes] | None] = [dict(initial), dict(initial)]
    for step, key_number, value_number in steps:
        key, value = bytes([key_number]), bytes([value_number])
        top = models[-1]
        if step == "put":
            layered.put(where, key, value)
            models[-1] = {**(top or {}), key: value}
        elif step == "remove" and top is not None and key in top:
            layered.put(where, key, None)
            models[-1] = {k: v for k, v in top.items() if k != key}
        elif step == "replace":
            layered.replace(where, [(key, value)])
            models[-1] = {key: value}
        elif step == "drop":
            layered.remove(where)
            models[-1] = None
        elif step == "open":
            layered.push()
            models.append(None if top is None else dict(top))
        elif step == "close" and len(models) > 2:
            layered.merge()
            models.pop()
            models[-1] = top
        elif step == "undo" and len(models) > 2:
            layered.drop()
            models.pop()
        same(layered, where, models[-1])
    while len(models) > 1:
        layered.merge()
        top = models.pop()
        models[-1] = top
        same(layered, where, models[-1])


def same(
    layered: LayeredMappings,
    where: tuple[bytes, bytes],
    model: dict[bytes, bytes] | None,
) -> None:
    assert layered.exists(where) == (model is not None)
    assert layered.entries(where) == (model or {})
    for number in range(4):
        key = bytes([number])
        assert layered.get(where, key) == (model or {}).get(key)
