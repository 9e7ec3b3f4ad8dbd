"""Records are what frozen dataclasses are, and no tuple of another type is one of them."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from records import Record


class Point(Record):
    """Where something is."""

    KIND: ClassVar[int] = 7

    x: int
    y: int
    name: str = ""
    tags: tuple[str, ...] = ()

    @property
    def doubled(self) -> int:
        return 2 * self.x


class Place(Record):
    x: int
    y: int
    name: str = ""
    tags: tuple[str, ...] = ()


class Nothing(Record):
    """It has no parts."""


class Silence(Record):
    """Nor has this."""


MAKE: Any = Point  # for what mypy would not let pass


@pytest.mark.parametrize(
    "point",
    [
        Point(1, 2, "a", ("b",)),
        Point(1, 2, "a", tags=("b",)),
        Point(1, 2, tags=("b",), name="a"),
        Point(tags=("b",), name="a", y=2, x=1),
    ],
)
def test_its_parts_are_given_in_order_or_by_name(point: Point) -> None:
    assert (point.x, point.y, point.name, point.tags) == (1, 2, "a", ("b",))


@pytest.mark.parametrize("point", [Point(1, 2), Point(1, y=2), Point(y=2, x=1)])
def test_what_is_not_given_has_its_default(point: Point) -> None:
    assert (point.x, point.y, point.name, point.tags) == (1, 2, "", ())
    assert Point(1, 2, tags=("b",)).name == ""
    assert Point(1, 2, "a").tags == ()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        ((1,), {}),
        ((1, 2, "", (), 5), {}),
        ((1,), {"name": ""}),
        ((1, 2), {"x": 1}),
        ((1, 2), {"z": 1}),
        ((1, 2, "", ()), {"name": ""}),
        ((), {"x": 1, "name": ""}),
    ],
)
def test_one_with_other_parts_is_not_made(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"^Point is made of x, y, name, tags$"):
        MAKE(*values, **named)


def test_two_are_equal_if_their_types_and_their_parts_are() -> None:
    assert Point(1, 2) == Point(1, 2) and hash(Point(1, 2)) == hash(Point(1, 2))
    assert Point(1, 2) != Point(1, 3)
    assert not Point(1, 2) != Point(1, 2)  # noqa: SIM202 (the very operator)
    assert Point(1, 2) != Place(1, 2) and Point(1, 2) != (1, 2, "", ())
    assert Point(1, 2) != (1, 2, "", ())
    assert Nothing() != Silence() and Nothing() != () and Nothing() != ()


def test_it_is_true_even_without_parts() -> None:
    assert Nothing() and Point(0, 0)


def test_it_can_not_be_changed_only_made_again_otherwise() -> None:
    point = Point(1, 2, "a")
    for name in ("x", "z"):
        with pytest.raises(AttributeError):
            setattr(point, name, 5)
    assert point.but(y=3) == Point(1, 3, "a")
    assert point.but() == point
    with pytest.raises(TypeError):
        point.but(z=1)


def test_it_says_what_it_is() -> None:
    assert repr(Point(1, 2, "a")) == "Point(x=1, y=2, name='a', tags=())"
    assert repr(Nothing()) == "Nothing()"


def test_it_may_have_properties_and_constants() -> None:
    assert Point(4, 2).doubled == 8
    assert Point.KIND == Point(1, 2).KIND == 7


def test_it_takes_no_more_memory_than_a_tuple() -> None:
    assert not hasattr(Point(1, 2), "__dict__")
