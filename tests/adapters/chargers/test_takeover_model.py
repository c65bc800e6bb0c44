"""Any events in any order: in the end the right adapter holds the client, and its link is the last on the bus."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.adapters.chargers.world import World

ADAPTERS = 3
Step = tuple[str, int, int | str]
"""An event with its arguments: a method of `World`."""


numbers, counts, clients = st.integers(0, ADAPTERS - 1), st.integers(1, 3), st.sampled_from("cd")
events = st.one_of(
    st.tuples(st.just("connect"), numbers, clients),
    st.tuples(st.just("lose"), st.integers(0, 9), st.just(0)),
    st.tuples(st.sampled_from(["publish", "hear"]), numbers, counts),
)
kills = st.tuples(st.sampled_from(["correct_stale", "restart"]), numbers, st.just(0))

FIRST_AFTER_A_REPEAT: list[Step] = [
    *(("connect", 1, "c"), ("publish", 1, 9), ("connect", 0, "c"), ("publish", 0, 9), ("hear", 0, 9)),
    *(("lose", 0, 0), ("publish", 1, 9), ("hear", 0, 9)),  # the older one ends: the holder repeats its word
    *(("connect", 2, "c"), ("publish", 2, 9), ("publish", 0, 9)),  # and before the repeat is there, a newer one comes
]
ENDED_BEFORE_THE_REPEAT: list[Step] = [*FIRST_AFTER_A_REPEAT[:-1], ("lose", 2, 0), ("publish", 2, 9), ("publish", 0, 9)]


def happen(world: World, steps: list[Step]) -> None:
    for name, first, second in steps:
        {
            "connect": lambda number, client: world.connect(number % world.count, client),
            "lose": lambda index, _: world.lose(index),
            "publish": lambda number, count: world.publish(number % world.count, count),
            "hear": lambda number, count: world.hear(number % world.count, count),
            "correct_stale": lambda number, _: world.adapters[number].connections.correct_stale(),
            "restart": lambda number, _: world.restart(number),
        }[name](first, second)


def check(world: World) -> None:
    world.settle()
    for client in {each.client for each in world.sockets}:
        newest, last = world.newest(client), world.last_word(client)
        assert world.holders(client) == ([] if newest is None else [newest])
        assert last is not None
        assert last.connected is (newest is not None)
        if newest is not None and newest.link is not None:
            assert newest.dropped is None
            assert last.connection == newest.link.connection


@settings(max_examples=400)
@given(st.integers(2, ADAPTERS), st.lists(events, max_size=40))
@example(3, FIRST_AFTER_A_REPEAT)
@example(3, ENDED_BEFORE_THE_REPEAT)
def test_the_newest_connection_is_held_and_its_link_is_last(count: int, steps: list[Step]) -> None:
    world = World(count)
    happen(world, steps)
    check(world)


@settings(max_examples=300)
@given(st.lists(st.one_of(events, kills), max_size=40))
def test_restarted_adapters_agree_on_the_newest_connection(steps: list[Step]) -> None:
    world = World(ADAPTERS)
    happen(world, steps)
    world.settle()
    for client in {each.client for each in world.sockets}:
        holders, last = world.holders(client), world.last_word(client)
        assert len(holders) <= 1
        assert not any(each.lost or each.dropped for each in holders)
        assert (last is not None and last.connected) is bool(holders)
        if holders and last is not None:
            assert holders[0].link is not None
            assert last.connection == holders[0].link.connection
