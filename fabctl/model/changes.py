"""What a change of routes costs: entries, and the blocks of 64 in which a subnet manager writes them."""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.model.tables import RoutingTables

BLOCK_LIDS = 64
"""Entries that one LinearForwardingTable attribute carries (InfiniBand specification volume 1, section 14.2.5.10)."""


@dataclass(frozen=True)
class Rewrite:
    """How much of the tables is written anew.

    Parameters
    ----------
    switches, entries, blocks : int
        Switches with a changed table, changed entries, and blocks of `BLOCK_LIDS` entries that hold one.
    """

    switches: int
    entries: int
    blocks: int


@dataclass(frozen=True)
class MovedLid:
    """A LID whose entries change.

    Parameters
    ----------
    lid, port : int
        The LID and the port that answers to it.
    switches, before, after : tuple of int
        Switches whose entries change, and the output ports before and after.
    """

    lid: int
    port: int
    switches: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Change:
    """Routes of before, changed as little as a fault asks for.

    Parameters
    ----------
    tables : RoutingTables
        The routes after the change.
    previous : str
        Where the routes of before come from.
    rewritten, whole : Rewrite
        What this change writes, and what the engine's own new routes would have written; None where no engine was asked.
    moved : tuple of MovedLid
        By LID.
    engine_lids : tuple of int
        LIDs that take the engine's own new routes, as no smaller change of theirs is safe.
    fallback : str
        Why all routes are the engine's own new ones; empty where they are not.
    gone : int
        LIDs of the previous tables that no port has any more; their entries stay.
    """

    tables: RoutingTables
    previous: str
    rewritten: Rewrite
    whole: Rewrite | None
    moved: tuple[MovedLid, ...]
    engine_lids: tuple[int, ...]
    fallback: str
    gone: int
