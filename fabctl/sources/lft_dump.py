"""Linear forwarding tables as infiniband-diags and OpenSM write them, and as OpenSM's ``file`` engine takes them.

``dump_fts`` and ``dump_lfts`` (with ``-n`` and ``-a``), ``ibroute``, ``opensm-lfts.dump`` and hand-written ``opensm -U`` files
share one grammar: ``Unicast lids [0x0-0xe] of switch ... guid 0x... (name):`` begins a switch, ``0x0001 003 ...`` is a LID in
hex and its output port in decimal, 255 for none. Where the header has a range of LIDs, the block ends with a count.
"""

from __future__ import annotations

import re

from fabctl.sources.scan import GUID
from fabctl.sources.table_blocks import TableFormat, table_source

FORM = TableFormat(
    marker="Unicast lids",
    header=re.compile(rf"Unicast lids(?P<counted> \[\w+-\w+\])?.* guid 0x(?P<guid>{GUID})(?=\s|$)(?:\s+\((?P<name>.*)\):)?"),
    separator=b" ",
    no_route=b"",
    entry=re.compile(r"0x(?P<lid>[0-9a-fA-F]{1,4})\s+(?P<port>\d{1,9})(?:\s+(?:[:#(]|portguid\b).*)?$"),
    count=re.compile(r"(?:(?P<valid>\d+) valid|\d+) lids dumped$"),
    other=re.compile(r"Lid\s+Out\s+Destination$|Port\s+Info$|\*\*\* WARNING \*\*\*: this command has been replaced"),
    uniform=False,
    tool="dump_fts",
)

SOURCE = table_source(FORM, r"^\s*Unicast lids\b.* guid 0x")
