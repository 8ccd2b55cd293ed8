"""`Chart`: curves over sizes or nodes, before anyone draws them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """One curve.

    Parameters
    ----------
    name : str
    x, y : tuple of float
    dashed : bool
        A bound or a peer, and not a result.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """Curves that share axes."""

    title: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Chart:
    """Panels side by side.

    Parameters
    ----------
    title : str
    x_title, y_title : str
        With units.
    panels : tuple of Panel
    x_ticks : tuple of (float, str)
        Marks of the logarithmic x axis.
    lines : tuple of str
        Printed below: assumptions, routes.
    """

    title: str
    x_title: str
    y_title: str
    panels: tuple[Panel, ...]
    x_ticks: tuple[tuple[float, str], ...]
    lines: tuple[str, ...] = ()
