"""The codes of fabric findings, and findings that gather many things of one kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fabctl.model.naming import natural_key
from fabctl.model.results import Finding, Severity

SHOWN = 3
"""How many of its items a finding's message names; all are in `Finding.items`."""

CODES: dict[str, tuple[Severity, str]] = {
    "FAB101": ("error", "the discovery was incomplete"),
    "FAB102": ("warning", "lines of the input were not understood"),
    "FAB103": ("warning", "peers without a record of their own"),
    "FAB104": ("warning", "links that only one end lists"),
    "FAB105": ("warning", "records that disagree"),
    "FAB111": ("error", "a LID with several owners"),
    "FAB112": ("error", "a node GUID with several records"),
    "FAB113": ("error", "a port GUID on several ports"),
    "FAB114": ("warning", "ports in use without a LID"),
    "FAB121": ("error", "the fabric is in several parts"),
    "FAB122": ("warning", "nodes without a cable"),
    "FAB123": ("warning", "switches cabled to themselves"),
    "FAB124": ("warning", "links within a tier"),
    "FAB125": ("warning", "links that skip a tier"),
    "FAB126": ("info", "the switches form no tree"),
    "FAB131": ("warning", "links slower than their like"),
    "FAB132": ("warning", "links narrower than their like"),
    "FAB133": ("info", "links that are slower because their device is"),
    "FAB141": ("warning", "switches short of uplinks"),
    "FAB142": ("warning", "top switches short of downlinks"),
    "FAB143": ("info", "leaves without HCAs"),
    "FAB151": ("warning", "hosts short of HCAs"),
    "FAB152": ("info", "HCAs that name no host"),
    "FAB153": ("warning", "host names that cannot be trusted"),
    "FAB154": ("warning", "HCAs on another rail's leaf"),
}
"""Severity and meaning of each code. The codes are part of fabctl's interface: docs/findings.md explains them."""


def gather(code: str, headline: str, items: Sequence[str]) -> list[Finding]:
    """Return one finding about all `items`, or none without items.

    Parameters
    ----------
    code : str
        One of `CODES`.
    headline : str
        What is wrong; ``{n}`` becomes the number of items, ``{one|many}`` the form that goes with it.
    items : sequence of str
        Everything that it is about; a text in brackets at the end of an item says more about it.

    Examples
    --------
    >>> gather("FAB122", "{n} {node has|nodes have} no cable", ["leaf-3"])[0].message
    '1 node has no cable: leaf-3'
    """
    if not items:
        return []
    text = re.sub(r"\{([^{}|]*)\|([^{}]*)\}", r"\1" if len(items) == 1 else r"\2", headline).replace("{n}", f"{len(items):,}")
    rest = f" and {len(items) - SHOWN:,} more" if len(items) > SHOWN else ""
    subject = items[0].split(" (")[0] if len(items) == 1 else f"{len(items):,} of them"
    return [Finding(code, CODES[code][0], subject, f"{text}: {'; '.join(items[:SHOWN])}{rest}", tuple(items))]


def in_order(items: Iterable[str]) -> list[str]:
    """Return `items` in natural order, as a finding should list them."""
    return sorted(items, key=natural_key)
