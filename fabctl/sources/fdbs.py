"""OpenSM's ``opensm.fdbs`` (``opensm -D 0x43`` writes it): forwarding tables with hop counts.

``dump_ucast_routes: Switch 0x...`` begins a switch, ``0x0001 : 003  : 02   : yes`` is a LID in hex, its output port in decimal,
the number of hops and whether they are the fewest; ``UNREACHABLE`` stands in place of the port where there is no route. Hops
are not taken: they follow from the tables.
"""

from __future__ import annotations

import re

from fabctl.sources.scan import GUID
from fabctl.sources.table_blocks import TableFormat, table_source

FORM = TableFormat(
    marker="dump_ucast_routes: Switch",
    header=re.compile(rf"(?:osm_ucast_mgr_)?dump_ucast_routes: Switch 0x(?P<guid>{GUID})$"),
    separator=b" : ",
    no_route=b"UNR",
    entry=re.compile(r"0x(?P<lid>[0-9a-fA-F]{1,4})\s*:\s*(?P<port>\d{1,9})(?:\s*:.*)?$"),
    count=None,
    other=re.compile(r"LID\s*: Port : Hops : Optimal$"),
    uniform=True,
    tool="opensm -o -D 0x43",
)

SOURCE = table_source(FORM, rf"^\s*\w*{FORM.marker} 0x")
