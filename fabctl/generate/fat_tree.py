"""The full fat tree of switches of one radix: k/2 ports down and k/2 up everywhere, all k down at the top.

Two levels hold k^2/2 hosts, three hold k^3/4; n levels hold 2 (k/2)^n hosts on (2n - 1) (k/2)^(n - 1) switches.

References
----------
.. [1] C. E. Leiserson, Fat-trees: universal networks for hardware-efficient supercomputing, IEEE ToC C-34(10), 1985.
.. [2] M. Al-Fares, A. Loukissas, A. Vahdat, A scalable, commodity data center network architecture, SIGCOMM 2008: the
   three-level form and its counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from fabctl.generate.plan import Family, Plan, Settings, checked, plain_plan
from fabctl.generate.tree import Tree
from fabctl.yamlspec import Node


def _plan(values: Mapping[str, Node], settings: Settings) -> Plan:
    levels = values["levels"].integer(low=1, high=4)
    if not settings.radix:
        raise settings.family.error("a fat tree needs a 'radix'", hint="write radix: 36, or name the hardware: switch: QM8700")
    half, odd = divmod(settings.radix, 2)
    if odd:
        raise settings.radix_place.error(f"a fat tree needs an even radix, not {settings.radix}")
    tree = Tree(
        m=(half,) * (levels - 1) + (settings.radix,),
        w=(1,) + (half,) * (levels - 1),
        p=(1,) * levels,
    )
    return plain_plan(checked(tree, settings), settings)


FAMILY = Family(keys=("levels",), required=("levels",), plan=_plan)
