"""Adaptive routing planned on fabrics: each switch's groups against a search of their own, credit loops, what is shown."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator.ufm_server import UfmServer
from hypothesis import given
from hypothesis import strategies as st
from realstack import preload, tool

from fabctl.errors import ExitCode, RefusedError, UnverifiedError, UsageError
from fabctl.generate.spec import parse
from fabctl.model.assessment import Status
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Place
from fabctl.offload.adaptive.groups import adaptive_plan, engine_for
from fabctl.offload.adaptive.levels import kept_mask, masked_sls, named, parse_sls, sl_mask
from fabctl.offload.apply import apply
from fabctl.offload.drivers import opensm, ufm_client
from fabctl.offload.drivers.files import FilesDriver
from fabctl.offload.drivers.opensm_process import Flavour
from fabctl.offload.drivers.twin import TwinDriver
from fabctl.offload.drivers.ufm import UfmDriver
from fabctl.offload.features.adaptive_routing import FEATURE
from fabctl.offload.journal import Journal
from fabctl.offload.planning import make_plan
from fabctl.offload.rollback import rollback
from fabctl.offload.site import Site
from fabctl.offload.work import quiet
from fabctl.routing.compute import compute_tables
from fabctl.sources.live import discover_live
from fabctl.twin.opensm import Settings
from fabctl.twin.twin import Twin

Run = Callable[..., Any]

TORUS = "family: torus\ndims: [4, 4]\nhosts_per_switch: 2\nspeed: EDR\n"
PLUS = "family: dragonfly-plus\nhosts_per_leaf: 2\nleaves: 2\nspines: 2\nglobal_links: 2\nspeed: EDR\n"
TREES = (
    "family: xgft\nm: [4, 4]\nw: [1, 4]\nspeed: EDR\n",
    "family: xgft\nm: [2, 3, 2]\nw: [1, 2, 3]\nspeed: EDR\n",
    "family: leaf-spine\nhosts_per_leaf: 6\nleaves: 4\nspines: 2\nspeed: HDR\n",
)


def fabric_of(spec: str) -> Fabric:
    return parse(spec, "spec.yaml")[0]


def shortest_ports(fabric: Fabric) -> tuple[list[Counter[tuple[int, ...]]], list[int]]:
    """Return, per switch, the sets of ports that lead a hop nearer with the HCA ports they serve, and those with one such port.

    In a fat tree without faults all shortest ways go up, then down, so they are the groups of TREE.
    """
    n = fabric.n_switches
    channels = [
        (int(fabric.channel_src[c]), int(fabric.channel_dst[c]), int(fabric.port_number[fabric.channel_port[c]]))
        for c in range(len(fabric.channel_port))
    ]
    into: dict[int, list[int]] = {}
    for src, dst, _ in channels:
        if src < n and dst < n:
            into.setdefault(dst, []).append(src)
    homes = Counter(dst for src, dst, _ in channels if src >= n and dst < n)
    choices: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(n)]
    forced = [0] * n
    for home, hosts in homes.items():
        hops, queue = {home: 0}, deque([home])
        while queue:
            here = queue.popleft()
            for other in into[here]:
                if other not in hops:
                    hops[other] = hops[here] + 1
                    queue.append(other)
        for switch in set(hops) - {home}:
            ports = tuple(
                sorted(port for src, dst, port in channels if src == switch and dst < n and hops[dst] == hops[switch] - 1)
            )
            if len(ports) > 1:
                choices[switch][ports] += hosts
            else:
                forced[switch] += hosts
    return choices, forced


@pytest.mark.parametrize("spec", TREES)
@pytest.mark.parametrize("engine", ["ar_updn", "ar_ftree"])
def test_groups_of_a_fat_tree_are_its_shortest_ways(spec: str, engine: str) -> None:
    fabric = fabric_of(spec)
    plan = adaptive_plan(Site(fabric), engine, tuple(range(16)))
    choices, forced = shortest_ports(fabric)
    assert [{group.ports: group.destinations for group in switch.groups} for switch in plan.switches] == choices
    assert [switch.forced for switch in plan.switches] == forced
    assert plan.circle is False
    assert plan.algorithm == "TREE"


def test_engines_follow_structure() -> None:
    assert engine_for(fabric_of(TREES[0])) == "ar_updn"
    assert engine_for(fabric_of(PLUS)) == "dfp"
    with pytest.raises(RefusedError, match="neither a tree nor a Dragonfly"):
        engine_for(fabric_of(TORUS))


def test_routes_that_close_circles_are_refused(tmp_path: Path) -> None:
    fabric = fabric_of(TORUS)
    site = Site(fabric, {"files": FilesDriver(tmp_path)}, tables=compute_tables(fabric, "minhop"))
    with pytest.raises(RefusedError, match="can make channels wait in a circle: traffic could stop"):
        make_plan(site, "adaptive-routing", settings=["engine=ar_updn"])
    assert list(tmp_path.iterdir()) == []


def test_detours_of_dragonfly_plus_are_said_not_to_be_checked(tmp_path: Path) -> None:
    plan = make_plan(Site(fabric_of(PLUS), {"files": FilesDriver(tmp_path)}), "adaptive-routing")
    assert any("that dfp changes lanes could not be checked here" in note for note in plan.notes)
    assert [change.new for change in plan.changes] == ["routing_engine dfp\n"]


def test_one_way_only_is_refused() -> None:
    with pytest.raises(RefusedError, match="nothing to choose"):
        adaptive_plan(
            Site(fabric_of("family: leaf-spine\nhosts_per_leaf: 2\nleaves: 3\nspines: 1\nspeed: EDR\n")), "ar_updn", (0,)
        )


@given(st.frozensets(st.integers(0, 15), min_size=1))
def test_service_levels_survive_being_written(sls: frozenset[int]) -> None:
    levels = tuple(sorted(sls))
    assert parse_sls(named(levels)) == masked_sls(sl_mask(levels)) == levels
    assert kept_mask(sl_mask(levels).upper().replace("X", "x"), levels).lower() == sl_mask(levels)


@pytest.mark.parametrize("text", ["", "16", "3-1", "-", "1,", "0x1", "1-", "٣"])
def test_what_names_no_service_levels(text: str) -> None:
    with pytest.raises(UsageError):
        parse_sls(text)


def test_groups_and_gain_are_shown_below_the_plan(tmp_path: Path, run: Run, project: Path) -> None:
    spec, job = tmp_path / "fabric.yaml", tmp_path / "job.yaml"
    spec.write_text("family: leaf-spine\nhosts_per_leaf: 8\nleaves: 4\nspines: 4\noversubscription: 2\nspeed: HDR\n")
    job.write_text("hosts: all\nranks_per_host: 1\ncollective: alltoall\nsize: 256M\n")
    done = run("offload", "plan", "adaptive-routing", spec, "--job", job, "--set", "sls=1")
    assert done.code == ExitCode.DONE, done.err
    assert "Groups by TREE, from the routes of fabctl's updn, on SL 1\n" in done.out
    assert "NCCL_IB_SL=1 NCCL_IB_ADAPTIVE_ROUTING=1 UCX_IB_SL=1 UCX_IB_AR=yes" in done.out
    assert "no driver: nothing can be read or written" in done.out
    data = json.loads(run("offload", "plan", "adaptive-routing", spec, "--job", job, "-o", "json").out)["data"]["layout"]
    assert {gain["operation"]: gain["speedup"] >= 1 for gain in data["gains"]} == {"alltoall": True, "all_reduce": True}
    leaf = next(switch for switch in data["switches"] if switch["tier"] == 0)
    assert [len(group["ports"]) for group in leaf["groups"]] == [4]
    assert [group["hca_ports"] for group in leaf["groups"]] == [24]


def test_list_and_files_from_the_command_line(tmp_path: Path, run: Run) -> None:
    spec, folder = tmp_path / "fabric.yaml", tmp_path / "rendered"
    spec.write_text("family: rail-optimised\nnode_type: dgx-h100\nunits: 2\nnodes_per_unit: 4\n")
    listed = run("offload", "list", spec, "--feature", "adaptive-routing,shield,hbf")
    assert "Quantum-2 routes adaptively" in listed.out
    assert "ConnectX-7 takes packets in any order" in listed.out
    driver = f"files:folder={folder}"
    planned = run("offload", "plan", "adaptive-routing", spec, "--driver", driver, "--save", tmp_path / "plan.json")
    assert planned.code == ExitCode.FINDINGS, planned.err
    assert not folder.exists()
    applied = run("offload", "apply", tmp_path / "plan.json")
    assert applied.code == ExitCode.DONE, applied.err
    assert (folder / "opensm.conf").read_text() == "routing_engine ar_updn\nroot_guid_file /etc/opensm/root-guids.txt\n"


def test_through_ufm_it_is_applied_read_back_and_taken_back(
    ufm: Callable[[Fabric], UfmServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ufm_client, "_POLL_S", 0.0)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    fabric = fabric_of(TREES[0])
    server = ufm(fabric)
    server.state.smconf |= {"routing_engine": "updn", "routing_engine_active": "updn", "ar_sl_mask": "0xffff"}
    before = dict(server.state.smconf)
    site = Site(fabric, {"ufm": UfmDriver.make(server.options, fabric)}, source="fabric.txt")
    plan = make_plan(site, "adaptive-routing", settings=["sls=0-3"])
    with Journal(state) as journal:
        done = apply(plan, site, journal, allow_disruptive=True)
        after = server.state.smconf
        assert (after["routing_engine"], after["routing_engine_active"], after["ar_sl_mask"]) == ("ar_updn", "ar_updn", "0x000f")
        assert feature_status(site) == Status.ON
        rollback(done.id, site, journal, quiet)
    assert server.state.smconf == before


def feature_status(site: Site) -> Status:
    return next(row.status for row in FEATURE.assess(site) if row.target == "fabric")


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Twin]:
    for name in ("ibsim", "opensm", "smpquery", "saquery"):
        tool(name)
    preload()
    fabric = fabric_of("family: leaf-spine\nhosts_per_leaf: 2\nleaves: 2\nspines: 2\nspeed: EDR\n")
    with Twin(fabric, Settings(config=("# kept by hand  ", "routing_engine minhop   # ours"))) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(running.folder)
        yield running


def seen(twin: Twin) -> tuple[Site, dict[str, bytes]]:
    """Return the twin as a command would see it, and the files of its OpenSM."""
    fabric = discover_live().fabric
    files = {path.name: path.read_bytes() for path in twin.manager.folder.glob("*.conf")}
    return Site(fabric, {"twin": TwinDriver.make({}, fabric)}, source="live"), files


def test_the_real_upstream_opensm_is_refused_by_name_and_nothing_is_written(twin: Twin) -> None:
    site, before = seen(twin)
    for feature in ("adaptive-routing", "shield", "hbf"):
        with pytest.raises(RefusedError, match=r"needs NVIDIA's OpenSM, and this one is upstream 3\.3\.\d+ \(") as refused:
            make_plan(site, feature)
        assert refused.value.exit_code is ExitCode.REFUSED
    assert seen(twin)[1] == before


def test_an_opensm_that_ignores_the_engine_is_found_out_and_all_is_put_back(
    twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensm, "identify", lambda handle: Flavour("nvidia", "5.21.12", "it says so"))
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    site, before = seen(twin)
    plan = make_plan(site, "adaptive-routing", settings=["sls=1"])
    assert [change.place.key for change in plan.changes] == [
        "file:root-guids.txt",
        "conf:routing_engine",
        "conf:ar_sl_mask",
        "conf:root_guid_file",
    ]
    with (
        Journal(state) as journal,
        pytest.raises(UnverifiedError, match=r"fell back to minhop.*the old values are back in force"),
    ):
        apply(plan, site, journal, allow_disruptive=True)
    assert seen(twin)[1] == before
    assert not (twin.manager.folder / "root-guids.txt").exists()
    assert site.drivers["twin"].observe(Place("twin", "fabric", "routing-engine")).value == "minhop"
