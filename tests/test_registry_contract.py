"""One battery per kind of registered thing, run over every registered name: who adds a line to a table is tested here."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_oracles import TREE_ENGINES

import fabctl
from fabctl.errors import InputError, RefusedError, UsageError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.snapshot import dump_snapshot
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.registry import Registry
from fabctl.routing import ENGINES
from fabctl.routing.options import DEFAULTS
from fabctl.sources import SOURCES, TABLE_SOURCES
from fabctl.sources.reading import load_fabric
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec
from fabctl.traffic.placement import Job, place
from fabctl.units import Speed


def registries() -> dict[str, Registry]:
    """Return every registry of the package, by kind."""
    found = {}
    for module in pkgutil.walk_packages(fabctl.__path__, "fabctl."):
        if not module.name.endswith("__main__"):
            for value in vars(import_module(module.name)).values():
                if isinstance(value, Registry):
                    found[value.kind] = value
    return found


REGISTRIES = registries()
ENTRIES = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names()]


# ---- every registry ----------------------------------------------------------------------------------------------------


def test_all_registries_are_found() -> None:
    assert set(REGISTRIES) >= {"command", "help topic", "source", "table source", "engine", "collective", "algorithm", "pattern"}


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_entries_load_and_have_a_summary(kind: str, name: str) -> None:
    entry = REGISTRIES[kind].entries[name]
    assert REGISTRIES[kind].load(name) is not None
    assert entry.summary == entry.summary.strip()
    assert 0 < len(entry.summary) <= 100
    assert "\n" not in entry.summary


@pytest.mark.parametrize("kind", REGISTRIES)
def test_a_typo_suggests_the_nearest_name(kind: str) -> None:
    registry = REGISTRIES[kind]
    name = max(registry.names(), key=len)
    with pytest.raises(UsageError) as error:
        registry.load(name + "x")
    assert error.value.message == f"unknown {kind} '{name}x'"
    assert f"did you mean '{name}'?" in error.value.hint
    with pytest.raises(UsageError) as error:
        registry.load("%")
    assert error.value.hint == f"known: {', '.join(registry.names())}"


@pytest.mark.parametrize("kind", [kind for kind, registry in REGISTRIES.items() if registry.group])
def test_sites_register_their_own(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "site_parts-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: site-parts\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[{REGISTRIES[kind].group}]\nours = string:digits\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert REGISTRIES[kind].load("ours") == "0123456789"


def test_tables_are_read_without_importing_what_they_name() -> None:
    modules = ["fabctl.sources", "fabctl.routing", "fabctl.traffic", "fabctl.traffic.collectives"]
    code = f"import sys, {', '.join(modules)}; print(*(m for m in sys.modules if m.startswith('fabctl') or m == 'numpy'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"fabctl", "fabctl.errors", "fabctl.registry", *modules}


# ---- sources -----------------------------------------------------------------------------------------------------------

SAMPLES = {
    "ibnetdiscover": "tool-output/ibnetdiscover.txt",
    "ibnetdiscover-p": "tool-output/ibnetdiscover-p.txt",
    "iblinkinfo": "tool-output/iblinkinfo-l.txt",
    "subnet-lst": "tool-output/osmdump/opensm-subnet.lst",
    "ibsim": "tool-output/ibsim-small.net",
    "ufm": "ufm/ports.json",
}
TABLE_SAMPLES = {"lft-dump": "tool-output/dump_fts.txt", "fdbs": "tool-output/osmdump/opensm.fdbs"}


@pytest.fixture(scope="session")
def samples(fixtures: Path, project: Path) -> dict[str, str]:
    """One text per source."""
    texts = {name: (fixtures / path).read_text() for name, path in (SAMPLES | TABLE_SAMPLES).items()}
    texts["snapshot"] = dump_snapshot(load_fabric(str(fixtures / SAMPLES["ibnetdiscover"])).fabric)
    texts["topology"] = (project / "topologies/dgx1-16.yaml").read_text()
    return texts


@pytest.mark.parametrize("registry", [SOURCES, TABLE_SOURCES], ids=lambda registry: registry.kind.replace(" ", "-"))
def test_each_text_is_recognised_by_its_source_first(registry: Registry, samples: dict[str, str]) -> None:
    for name in registry.names():
        claims = [other for other in registry.names() if registry.load(other).recognises(samples[name])]
        assert claims[:1] == [name], f"a sample of '{name}' is claimed by {claims}"


@pytest.mark.parametrize("name", [*SOURCES.names(), *TABLE_SOURCES.names()])
def test_sources_do_not_claim_what_they_cannot_read(name: str) -> None:
    source = (SOURCES if name in SOURCES.entries else TABLE_SOURCES).load(name)
    for text in ("", "\n\n", "hello\n", "%PDF-1.7\n", "<html><body>504</body></html>\n", "name,port\nleaf,1\n"):
        assert not source.recognises(text)


def parsed(name: str, text: str) -> Fabric | InputError:
    """Return what a source makes of a text; anything but a fabric or an `InputError` fails the test."""
    try:
        return SOURCES.load(name).parse(text, "given.txt")[0]
    except InputError as error:
        return error


@pytest.mark.parametrize("name", SOURCES.names())
def test_every_cut_of_a_text_is_an_error_or_a_fabric(name: str, samples: dict[str, str]) -> None:
    text = samples[name]
    whole = parsed(name, text)
    for cut in np.linspace(0, len(text) - 1, 150, dtype=int).tolist():
        found = parsed(name, text[:cut])
        if isinstance(found, InputError):
            assert found.where.startswith("given.txt")
        else:
            assert found.n_nodes <= whole.n_nodes


@pytest.mark.parametrize("name", SOURCES.names())
@given(data=st.data())
def test_damaged_texts_are_errors_never_crashes(name: str, samples: dict[str, str], data: st.DataObject) -> None:
    text = samples[name][:3000]
    at = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 40))
    damage = data.draw(st.text(st.sampled_from('0123456789abcdefxSHR"[]()#-:{}= \n\té'), max_size=20))
    found = parsed(name, text[:at] + damage + text[at + length :])
    if isinstance(found, InputError):
        assert found.where.startswith("given.txt")


# ---- engines -----------------------------------------------------------------------------------------------------------


def ring(n_switches: int) -> Fabric:
    """Return a ring of switches with one host each: shortest paths around it close a credit loop."""
    builder = FabricBuilder()
    for i in range(n_switches):
        builder.node(NodeKind.SWITCH, 0x20_0000 + i, f"sw-{i}", ports=4)
        builder.port(0x20_0000 + i, 0, lid=1 + i)
        builder.node(NodeKind.CA, 0x10_0000 + 2 * i, f"node-{i} mlx5_0", ports=1)
        builder.port(0x10_0000 + 2 * i, 1, port_guid=0x10_0001 + 2 * i, lid=100 + i)
        cables = (
            (0x20_0000 + i, 1, 0x10_0000 + 2 * i, 1),
            (0x20_0000 + i, 2, 0x20_0000 + (i + 1) % n_switches, 3),
        )
        for guid, port, peer, peer_port in cables:
            builder.link(guid, port, peer, peer_port, lanes=4, speed=Speed.EDR)
            builder.link(peer, peer_port, guid, port, lanes=4, speed=Speed.EDR)
    return builder.build()


@pytest.fixture(scope="session")
def fabrics(project: Path) -> dict[str, Fabric]:
    """The fabrics that every engine meets."""
    shipped = {name: load_fabric(str(project / f"topologies/{name}.yaml")).fabric for name in ("dgx1-16", "leaf-spine-648")}
    return {**shipped, "ring": ring(6)}


def hops(tables: RoutingTables, source: int, destination: int) -> int:
    """Walk from a switch to an endpoint's port as a packet does, and return the number of cables taken."""
    fabric = tables.fabric
    port_at = {
        (int(node), int(number)): port
        for port, (node, number) in enumerate(zip(fabric.port_node, fabric.port_number, strict=True))
    }
    lid, node = int(fabric.port_lid[destination]), source
    for count in range(1, fabric.n_switches + 2):
        out = int(tables.lft[node, lid])
        assert out != NO_ROUTE
        arrived = int(fabric.port_peer[port_at[node, out]])
        assert arrived >= 0, "the table points at a port without a cable"
        if arrived == destination:
            return count
        node = int(fabric.port_node[arrived])
        assert node < fabric.n_switches, "the packet ends in another host"
    raise AssertionError("the packet loops")


REFUSALS = {
    ("ftree", True): "links do not join neighbouring tiers",
    ("dfp", True): "no Dragonfly.*6 cables join leaves",
    ("dfp", False): "no Dragonfly.*all leaves share their spines",
    ("torus-2QoS", False): "no grid",
}
"""Engines that refuse the ring (True) or the trees, and what they say."""


@pytest.mark.parametrize("fabric_name", ["dgx1-16", "leaf-spine-648", "ring"])
@pytest.mark.parametrize("name", ENGINES.names())
def test_engines_route_or_refuse(name: str, fabric_name: str, fabrics: dict[str, Fabric]) -> None:
    fabric, engine = fabrics[fabric_name], ENGINES.load(name)
    before = fabric.digest
    if (name, fabric_name == "ring") in REFUSALS:
        with pytest.raises(RefusedError, match=REFUSALS[name, fabric_name == "ring"]):
            engine(fabric, DEFAULTS)
        return
    tables = engine(fabric, DEFAULTS)
    picked = {"ring": "torus-2QoS"}.get(fabric_name, "ftree")
    assert tables.origin == (picked if name == "auto" else name)
    assert tables.lft.dtype == np.uint8
    assert tables.lft.shape == (fabric.n_switches, len(fabric.port_of_lid))
    np.testing.assert_array_equal(engine(fabric, DEFAULTS).lft, tables.lft)
    del fabric.__dict__["digest"]
    assert fabric.digest == before, "an engine must not touch the fabric"

    for switch in range(fabric.n_switches):
        assert tables.lft[switch, fabric.node_lid(switch)] == 0
    rng = np.random.default_rng(1)
    for _ in range(300):
        source, destination = rng.integers(fabric.n_switches), rng.choice(fabric.endpoints)
        assert 1 <= hops(tables, int(source), int(destination)) <= fabric.n_switches


@pytest.mark.parametrize("name", TREE_ENGINES)
def test_engines_write_nothing_for_lids_that_nobody_has(name: str, fabrics: dict[str, Fabric]) -> None:
    fabric = fabrics["dgx1-16"]
    lft = ENGINES.load(name)(fabric, DEFAULTS).lft
    assert np.all(lft[:, fabric.port_of_lid < 0] == NO_ROUTE)
    assert not np.any(lft[:, fabric.port_of_lid >= 0] == NO_ROUTE)


# ---- collectives -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def job(fabrics: dict[str, Fabric]) -> Job:
    """16 hosts of 4 HCAs with two ranks each."""
    return place(JobSpec(ranks_per_host=8), fabrics["dgx1-16"])


@pytest.mark.parametrize("name", COLLECTIVES.names())
def test_collectives_move_bytes_between_hosts(name: str, job: Job) -> None:
    collective = COLLECTIVES.load(name)
    assert collective.name == name
    host = {int(port): row for row, ports in enumerate(job.ports) for port in ports}
    demand = collective.demand(job)
    sent = np.zeros(job.n_hosts)
    received = np.zeros(job.n_hosts)
    for src, dst, weight in zip(demand.flows.src, demand.flows.dst, demand.flows.weight, strict=True):
        assert host[int(src)] != host[int(dst)], "what stays in a host does not touch the fabric"
        assert weight > 0
        sent[host[int(src)]] += weight
        received[host[int(dst)]] += weight
    for exchange in demand.exchanges:
        n_hosts, n_ports = exchange.ports.shape
        for row in exchange.ports:
            assert len({host[int(port)] for port in row}) == 1
            sent[host[int(row[0])]] += exchange.weight * n_ports * n_ports * (n_hosts - 1)
            received[host[int(row[0])]] += exchange.weight * n_ports * n_ports * (n_hosts - 1)
    assert sent.sum() == pytest.approx(received.sum())
    assert np.count_nonzero(received) >= job.n_hosts - 1, "a host that receives nothing knows nothing"


@pytest.mark.parametrize("name", COLLECTIVES.names())
def test_collectives_know_their_steps_and_their_bus_factor(name: str, job: Job) -> None:
    collective = COLLECTIVES.load(name)
    steps = collective.steps(job)
    assert steps.inter >= 1
    assert min(steps.intra, steps.posts) >= 0
    for ranks in (2, 3, 16, 1024):
        assert 0 < collective.bus_factor(ranks) <= 2
