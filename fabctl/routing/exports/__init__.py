"""Routes to other programs' files, one module per format: functions ``(assessment, folder, options)`` that write a folder."""

from fabctl.registry import Entry, Registry

EXPORTS = Registry(
    "route export",
    {
        "opensm": Entry("fabctl.routing.exports.opensm:opensm", "what OpenSM installs: tables, QoS policy, opensm.conf lines"),
        "ibdm": Entry("fabctl.routing.exports.ibdm:ibdm", "what ibdmchk judges: fabric, tables, SL of each path"),
    },
    group="fabctl.route_exports",
)
