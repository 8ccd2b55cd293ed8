"""A case as a Python program for SimGrid, whose max-min fair model is an independent judge of completion times.

The settings make SimGrid a pure fluid model: CM02 without TCP's window (``network/TCP-gamma:0``), without acknowledgements on the
way back (``network/crosstraffic:0``), without latency, and with its precisions set so fine that they do not show.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fabctl.model.phases import Channels, JobTraffic, Phase
from fabctl.routing.cases.case import Case

SIZE_BITS = 62
"""SimGrid takes sizes as whole numbers of 64 bits."""


def simgrid(case: Case) -> str:
    """Return the program.

    Complexity
    ----------
    One line for each flow and each channel in use.
    """
    several = len(case.jobs) > 1
    used = np.zeros(len(case.rates), dtype=bool)
    ports = np.zeros(len(case.fabric.port_node), dtype=bool)
    for _, phase, channels in case.phases():
        used[channels.index] = True
        ports[phase.flows.src] = ports[phase.flows.dst] = True
    link, port = np.cumsum(used) - 1, np.cumsum(ports) - 1
    lines = [_HEAD.format(origin=case.tables.origin), "LINKS = ["]
    lines += [f"    ({case.fabric.cable_label(at)!r}, {case.rates[at].item()!r})," for at in np.flatnonzero(used).tolist()]
    lines += ["]", "PORTS = ["]
    lines += [f"    {case.fabric.port_label(number)!r}," for number in np.flatnonzero(ports).tolist()]
    lines += ["]", "PHASES = ["]
    for job, phase, channels in case.phases():
        title = _title(job, phase, several=several)
        lines += [f"    ({title!r}, {_scale(phase.flows.weight)}, '''\\", *_rows(phase, channels, link, port), "'''),"]
    return "\n".join([*lines, "]", _PROGRAM])


def _title(job: JobTraffic, phase: Phase, *, several: bool) -> str:
    return f"{job.name}: {phase.name}" if several else phase.name


def _rows(phase: Phase, channels: Channels, link: NDArray[np.int64], port: NDArray[np.int64]) -> list[str]:
    """Return a line for each flow: source, destination, bytes, links."""
    names = [str(number) for number in link[channels.index].tolist()]
    path = [" ".join(names[first:end]) for first, end in pairwise(channels.ptr.tolist())]
    src, dst = port[phase.flows.src].tolist(), port[phase.flows.dst].tolist()
    return [f"{a} {b} {size!r} {links}" for a, b, size, links in zip(src, dst, phase.flows.weight.tolist(), path, strict=True)]


def _scale(size_bytes: NDArray[np.float64]) -> int:
    """Return the power of two by which bytes and rates are multiplied: SimGrid takes whole bytes, and times stay the same."""
    if np.all(size_bytes == np.rint(size_bytes)):
        return 1
    return 1 << max(0, SIZE_BITS - int(np.frexp(size_bytes.max())[1]))


_HEAD = '''\
#!/usr/bin/env python3
"""When does each flow end? A case of fabctl for SimGrid 3.32 (Debian package python3-simgrid), routes by {origin}.

    python3 THIS-FILE > times.csv

LINKS are directed cables with the bytes per second of payload that they carry at 4,096 bytes per packet: a link's data rate less
headers, as in fabctl's predictions. PORTS are hosts' ports. A phase is its name, the factor on bytes and rates that makes
all bytes whole, and its flows, one per line: source and destination (in PORTS), bytes, and the LINKS of the route. All flows of a
phase start at 0 s, each phase by itself.
"""

import csv
import os
import sys

from simgrid import Actor, Comm, Engine, LinkInRoute, NetZone

SETTINGS = ["network/model:CM02", "network/TCP-gamma:0", "network/crosstraffic:0"]
PRECISION = [("surf/precision:1e-15", "precision/timing:1e-15"), ("maxmin/precision:1e-14", "precision/work-amount:1e-14")]
'''

_PROGRAM = """

def main():
    writer = csv.writer(sys.stdout, lineterminator="\\n")
    writer.writerow(["phase", "flow", "src", "dst", "bytes", "seconds"])
    for title, scale, text in PHASES:
        sys.stdout.flush()
        child = os.fork()  # an engine runs once in a process
        if child:
            status = os.waitpid(child, 0)[1]
            if status:
                raise SystemExit("SimGrid failed")
            continue
        flows = [line.split() for line in text.splitlines()]
        for number, (flow, seconds) in enumerate(zip(flows, simulate(flows, scale))):
            writer.writerow([title, number, PORTS[int(flow[0])], PORTS[int(flow[1])], flow[2], repr(seconds)])
        sys.stdout.flush()
        os._exit(0)


def simulate(flows, scale):
    engine = Engine(["case", "--log=xbt_cfg.thresh:warning", *("--cfg=" + setting for setting in SETTINGS)])
    for older, newer in PRECISION:
        try:
            Engine.set_config(older)
        except IndexError:
            Engine.set_config(newer)
    zone = NetZone.create_full_zone("fabric")
    links = [LinkInRoute(zone.create_link("%d %s" % (at, name), rate * scale).seal()) for at, (name, rate) in enumerate(LINKS)]
    hosts, routes, running = {}, {}, []

    def host(port, copy):
        if (port, copy) not in hosts:
            hosts[port, copy] = zone.create_host("%s #%d" % (PORTS[port], copy), 1e9).seal()
        return hosts[port, copy]

    for number, (source, target, size, *route) in enumerate(flows):
        if not route or float(size) == 0:
            continue
        known = routes.setdefault((source, target), [])  # trees may have the same ends: each gets copies of them
        copy = known.index(route) if route in known else len(known)
        pair = host(int(source), copy), host(int(target), copy + (source == target))
        if copy == len(known):
            known.append(route)
            zone.add_route(pair[0].netpoint, pair[1].netpoint, None, None, [links[int(link)] for link in route], False)
        running.append((number, pair, max(1, round(float(size) * scale))))
    zone.seal()
    seconds = [0.0] * len(flows)

    def send():
        sent = [Comm.sendto_async(*pair, size) for _, pair, size in running]
        Comm.wait_all(sent)
        for (number, _, _), comm in zip(running, sent):
            seconds[number] = comm.finish_time

    if running:
        Actor.create("send", running[0][1][0], send)
        engine.run()
    return seconds


main()
"""
