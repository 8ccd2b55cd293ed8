"""Text to `Fabric` or `RoutingTables`, one file per format, found by content."""

from fabctl.registry import Entry, Registry

SOURCES = Registry(
    "source",
    {
        "snapshot": Entry("fabctl.sources.snapshot:SOURCE", "fabctl's own JSON snapshot (discover --save)"),
        "ibnetdiscover": Entry("fabctl.sources.ibnetdiscover:SOURCE", "ibnetdiscover, in all its dialects"),
        "ibnetdiscover-p": Entry("fabctl.sources.ibnetdiscover_ports:SOURCE", "ibnetdiscover -p, one line per port"),
        "iblinkinfo": Entry("fabctl.sources.iblinkinfo:SOURCE", "iblinkinfo -l, one line per port"),
        "subnet-lst": Entry("fabctl.sources.subnet_lst:SOURCE", "OpenSM's opensm-subnet.lst"),
        "ibsim": Entry("fabctl.sources.ibsim_net:SOURCE", "ibsim's network file"),
        "ufm": Entry("fabctl.sources.ufm_ports:SOURCE", "UFM's list of ports (GET /ufmRest/resources/ports)"),
        "topology": Entry("fabctl.generate.spec:SOURCE", "fabctl's topology YAML: a fabric in a few lines"),
    },
    group="fabctl.sources",
)

TABLE_SOURCES = Registry(
    "table source",
    {
        "lft-dump": Entry("fabctl.sources.lft_dump:SOURCE", "dump_lfts, dump_fts, opensm-lfts.dump"),
        "fdbs": Entry("fabctl.sources.fdbs:SOURCE", "opensm.fdbs"),
    },
    group="fabctl.table_sources",
)
