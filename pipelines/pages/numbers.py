"""Numbers as the pages write them: a real minus sign, a dash for nothing."""

from __future__ import annotations

from decimal import Decimal

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def usd(value: Decimal | float | None) -> str:
    """Whole dollars above a hundred, cents below."""
    if value is None or value != value:
        return DASH
    return minus(f"{value:,.2f}" if -100 < value < 100 else f"{value:,.0f}")


def bps(value: Decimal | float | None, digits: int = 2) -> str:
    """Basis points, and numbers like them."""
    return DASH if value is None or value != value else minus(f"{value:,.{digits}f}")


def percent(value: Decimal | float | None, digits: int = 0) -> str:
    """A share, 0 to 1, as percent."""
    return DASH if value is None or value != value else minus(f"{100 * value:,.{digits}f}%")


def count(value: int | None) -> str:
    return DASH if value is None else minus(f"{value:,}")


def minus(text: str) -> str:
    """`text` with the sign a reader expects, and no negative zero."""
    zero = not text.strip("-0.,%")
    return text.removeprefix("-") if zero else text.replace("-", MINUS)
