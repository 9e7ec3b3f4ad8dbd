"""What takes longer than a turn is done a little in each, one thing after the other."""

from __future__ import annotations

from errands import MAX_ERRANDS, TURN_S, Errand, Errands


class World:
    """Errands, a clock that they move, and what they did."""

    def __init__(self) -> None:
        self.now = 100.0
        self.done: list[str] = []
        self.errands = Errands(lambda: self.now)

    def work(self, name: str, steps: int, seconds: float = 0.002) -> Errand:
        try:
            for step in range(steps):
                self.now += seconds
                self.done.append(f"{name}{step}")
                yield None
        finally:
            self.done.append(f"{name} ends")


def test_a_turn_does_as_much_as_it_has_time_for_and_the_rest_is_due_at_once() -> None:
    world = World()
    assert world.errands.begin(world.work("a", 4), "working")
    world.errands.step()
    assert world.done == ["a0", "a1", "a2"]
    assert TURN_S < 3 * 0.002
    assert world.errands.deadline() == world.now
    world.errands.step()
    assert world.done[3:] == ["a3", "a ends"]
    assert world.errands.deadline() is None
    assert not world.errands


def test_errands_are_done_in_the_order_in_which_they_were_asked_for() -> None:
    world = World()
    world.errands.begin(world.work("a", 1, 0.0), "first")
    world.errands.begin(world.work("b", 1, 0.0), "second")
    assert world.errands.doing == "first"
    world.errands.step()
    assert world.done == ["a0", "a ends", "b0", "b ends"]
    assert world.errands.doing == ""


def test_who_waits_for_a_time_is_asked_again_then_or_when_something_happens() -> None:
    world = World()

    def wait() -> Errand:
        while world.now < 101.0:
            world.done.append("looks")
            yield 101.0

    world.errands.begin(wait(), "waiting")
    world.errands.step()
    assert world.errands.deadline() == 101.0
    world.errands.step()
    assert world.done == ["looks", "looks"]
    world.now = 101.0
    world.errands.step()
    assert not world.errands


def test_all_can_be_ended_before_their_end_and_clean_up() -> None:
    world = World()
    world.errands.begin(world.work("a", 100), "first")
    world.errands.begin(world.work("b", 100), "second")
    world.errands.step()
    assert world.errands.end()
    assert world.done[-1] == "a ends"  # the second never began
    assert not world.errands.end()


def test_an_errand_may_end_all_errands_and_begin_another() -> None:
    world = World()

    def last() -> Errand:
        yield None
        world.errands.begin(world.work("b", 1, 0.0), "another")

    world.errands.begin(last(), "last")
    world.errands.step()
    assert world.done == ["b0", "b ends"]


def test_what_nobody_waits_for_ends_when_there_is_something_else_to_do() -> None:
    world = World()
    world.errands.begin(world.work("idle", 100), "")
    world.errands.step()
    assert world.errands.doing == ""
    world.errands.begin(world.work("a", 1, 0.0), "a")
    assert world.done[-1] == "idle ends"
    assert world.errands.doing == "a"
    world.errands.step()
    world.errands.begin(world.work("idle", 100), "")
    assert not world.errands.end()


def test_too_many_are_refused_and_room_comes_back() -> None:
    world = World()
    for _ in range(MAX_ERRANDS):
        assert world.errands.begin(world.work("a", 1, 0.0), "a")
    assert not world.errands.begin(world.work("b", 1, 0.0), "b")
    world.errands.step()
    assert world.errands.begin(world.work("b", 1, 0.0), "b")
