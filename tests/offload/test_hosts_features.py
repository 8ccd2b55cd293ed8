"""gdr, async and remote-gpu: what hosts are ready for, which of them differs, and the scripts, run against made-up registers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import host_texts as host
import pytest

from fabctl.errors import FabctlError, RefusedError, UsageError
from fabctl.generate.spec import parse
from fabctl.model.assessment import Assessed
from fabctl.model.fabric import Fabric
from fabctl.nodes.reading import load_node
from fabctl.offload.drivers.files import FilesDriver
from fabctl.offload.features import gdr
from fabctl.offload.features.async_control import FEATURE as ASYNC
from fabctl.offload.features.gdr import FEATURE as GDR
from fabctl.offload.features.remote_gpu import FEATURE as REMOTE
from fabctl.offload.hosts.gather import this_host
from fabctl.offload.planning import make_plan
from fabctl.offload.site import Site
from fabctl.offload.survey import survey
from fabctl.traffic.job import parse_job
from fabctl.traffic.placement import place_jobs

SPEC = "family: rail-optimised\nnode_type: dgx-h100\nnodes_per_unit: 8\nunits: 1\n"
FABRIC, _ = parse(SPEC, "spec.yaml")
NAMES = FABRIC.hosts.name
Texts = dict[str, str]


def site(of: dict[str, Texts], folder: Path | None = None, **more: object) -> Site:
    captured = {f"{name}/{file}": text for name, texts in of.items() for file, text in texts.items()}
    drivers = {"files": FilesDriver(folder)} if folder else {}
    return Site(FABRIC, drivers=drivers, captured=captured, **more)  # type: ignore[arg-type]


def only(**changes: str | None) -> Texts:
    """Return the texts of a host that is ready but for these; None: not captured."""
    texts = host.ready() | {f"{name.replace('__', '-')}.txt": text for name, text in changes.items() if text is not None}
    return {name: text for name, text in texts.items() if changes.get(name.removesuffix(".txt"), "") is not None}


def assessed(feature: object, of: dict[str, Texts], **more: object) -> dict[str, Assessed]:
    return {row.target: row for row in feature.assess(site(of, **more))}  # type: ignore[attr-defined, arg-type]


# ---- gdr: what is known --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, "on", "peer memory registered, no ACS redirect on the way, IOMMU passthrough, GPUs within PIX of their HCA"),
        ({"lsmod": host.LSMOD_WITHOUT, "memory_peers": host.NO_PEERS}, "off", "nvidia_peermem is not loaded, no DMA-BUF"),
        ({"memory_peers": host.NO_PEERS}, "off", "nvidia_peermem is loaded and has not registered, no DMA-BUF"),
        ({"memory_peers": "", "dmesg": host.COMPLAINT}, "off", "not registered: it was built for another RDMA core"),
        ({"memory_peers": "", "lsmod": None}, "off", "nobody has registered for peer memory, no DMA-BUF"),
        ({"memory_peers": None}, "unknown", "ls /sys/kernel/mm/memory_peers"),
        ({"memory_peers": "", "nvidia__version": host.OPEN_DRIVER}, "can", "DMA-BUF by open driver and kernel"),
        ({"memory_peers": "", "nvidia__version": host.OPEN_DRIVER, "uname": "5.4.0-150\n"}, "off", "has not registered"),
        ({"memory_peers": "", "nvidia__version": "", "lsmod": host.LSMOD_WITHOUT}, "unknown", "nvidia/version (for DMA-BUF)"),
        ({"lspci": host.lspci(host.ACS_ON)}, "off", "ACS redirects peer traffic between 8 of 8 GPUs and their HCAs"),
        ({"lspci": host.lspci(acs_of={2: host.ACS_ON})}, "off", "between 1 of 8 GPUs"),
        ({"lspci": host.lspci(denied=True)}, "unknown", "lspci -vvv as root (this one was kept from ACS)"),
        ({"lspci": host.lspci(units=5)}, "unknown", "this one shows 5 of 8 GPUs: was it cut?"),
        ({"lspci": None}, "unknown", "not known: lspci -vvv as root"),
        ({"cmdline": "BOOT_IMAGE=/vmlinuz intel_iommu=on"}, "off", "the IOMMU translates"),
        ({"cmdline": "BOOT_IMAGE=/vmlinuz"}, "unknown", "cat /sys/kernel/iommu_groups/*/type"),
        ({"topo": host.topo("PHB")}, "off", "all 8 GPUs are PHB from their HCA, farther than NCCL's P2C"),
        ({"topo": host.topo()[:900], "lspci": None}, "unknown", "nvidia-smi topo -m (captured: nvidia-smi topo -m: "),
        ({"topo": None}, "on", "GPUs within PIX of their HCA"),
        ({"topo": None, "lspci": host.lspci(together=False)}, "off", "all 8 GPUs are beyond the root complex from their HCA"),
        ({"dmesg": "[    0.000000] Hypervisor detected: KVM"}, "unknown", "ACS and ATS on the host of this virtual machine"),
        ({"nvidia-smi-L": None, "topo": None, "lspci": "00:00.0 Host bridge: Intel\n"}, "cannot", "it has no NVIDIA GPU"),
    ],
)  # fmt: skip
def test_what_keeps_a_host_from_gdr(changes: dict[str, str | None], status: str, words: str) -> None:
    row = assessed(GDR, {NAMES[0]: only(**changes)})[NAMES[0]]
    assert (row.status, words in row.fact) == (status, True), row.fact


def test_hosts_of_which_nothing_is_captured_are_unknown_and_strangers_are_named() -> None:
    rows = assessed(GDR, {NAMES[0]: host.ready(), "other-host": host.ready()})
    assert {rows[name].fact for name in NAMES[1:]} == {gdr.NOTHING}
    assert rows["other-host"].fact == "captured, and no host of this fabric"


def test_one_of_many_hosts_that_differs_is_named_with_what_differs() -> None:
    of = {name: host.ready() for name in NAMES}
    of[NAMES[3]] = host.ready() | {"lsmod.txt": host.LSMOD_WITHOUT, "memory_peers.txt": host.NO_PEERS}
    of[NAMES[5]] = host.ready() | {"uname.txt": "5.4.0-1\n"}
    found = survey(site(of), ["gdr"])
    assert [(alike.status, len(alike.targets)) for alike in found.alike] == [("on", 6), ("off", 1), ("on", 1)]
    assert found.alike[1].targets == (NAMES[3],)
    assert found.alike[2].fact.endswith("differs from the others: kernel 5.4.0-1, not 5.15.0-1053-nvidia")


def test_where_no_kind_of_host_is_the_most_common_nobody_differs() -> None:
    kernels = ["5.15.0-1\n"] * 3 + ["6.8.0-90\n"] * 3
    of = {name: host.ready() | {"uname.txt": kernel} for name, kernel in zip(NAMES, kernels, strict=False)}
    assert not [row for row in GDR.assess(site(of)) if "differs" in row.fact]


def test_only_hcas_on_this_fabric_count(tmp_path: Path) -> None:
    """ACS on the way to an HCA that is not on the fabric does not matter, but then its GPU has none near; on it, both change."""
    texts = host.ready() | {"lspci.txt": host.lspci(acs_of={0: host.ACS_ON})}
    captured = {f"{NAMES[0]}/{name}": text for name, text in texts.items()}
    rows = {row.target: row for row in GDR.assess(Site(without_first_hca(), captured=captured))}
    assert rows[NAMES[0]].status == "on"
    assert rows[NAMES[0]].fact.endswith("1 of 8 GPUs PHB from their HCA: staged, or through a GPU that is near (PXN)")
    plan = make_plan(site({NAMES[0]: texts}, tmp_path), "gdr")
    script = next(change.new for change in plan.changes if change.place.key == f"file:{NAMES[0]}-gdr.sh")
    calls = [line for line in str(script).splitlines() if line.startswith("acs 0")]
    assert calls == ["acs 0000:12:00.0 001d 0000", "acs 0000:12:04.0 001d 0000"]


def without_first_hca() -> Fabric:
    hosts = FABRIC.hosts
    node = next(
        node for node in range(FABRIC.n_nodes) if hosts.node_host[node] == 0 and hosts.node_device[node] == host.DEVICES[0]
    )
    return replace(FABRIC, node_name=(*FABRIC.node_name[:node], "elsewhere mlx5_0", *FABRIC.node_name[node + 1 :]))


def test_this_machine_is_found_by_the_guids_of_its_hcas(tmp_path: Path) -> None:
    node = next(node for node in range(FABRIC.n_nodes) if FABRIC.hosts.node_host[node] == 4)
    words = FABRIC.guid_text(node).removeprefix("0x")
    for device, text in (("mlx5_0", "not a guid\n"), ("mlx5_1", ":".join(words[at : at + 4] for at in range(0, 16, 4)) + "\n")):
        (tmp_path / "sys/class/infiniband" / device).mkdir(parents=True)
        (tmp_path / "sys/class/infiniband" / device / "node_guid").write_text(text)
    assert this_host(FABRIC, tmp_path) == NAMES[4]
    assert this_host(FABRIC, tmp_path / "nowhere") is None


# ---- gdr: the scripts ----------------------------------------------------------------------------------------------------


class Machine:
    """A host for scripts: PCIe registers and modules as files, behind the names of the real tools."""

    def __init__(self, folder: Path, registers: dict[str, str]) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        (folder / "pci").mkdir()
        for bdf, word in registers.items():
            (folder / "pci" / bdf).write_text(word)
        self._tool(
            "setpci", f"""cd {folder}/pci; case $3 in *=*) echo "${{3#*=}}" > "$2"; echo "$2 $3" >> ../log;; *) cat "$2";; esac"""
        )
        self._tool("modprobe", f'echo "modprobe $*" >> {folder}/log')
        self._tool("grubby", f'echo "grubby $*" >> {folder}/log')

    def _tool(self, name: str, body: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def run(self, script: Path) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.folder}/bin:{os.defpath}"}
        return subprocess.run(["/bin/sh", str(script)], env=environment, capture_output=True, text=True, timeout=20, check=False)

    @property
    def registers(self) -> dict[str, str]:
        return {path.name: path.read_text().strip() for path in (self.folder / "pci").iterdir()}

    @property
    def log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []


def rendered(tmp_path: Path, texts: Texts) -> Path:
    plan = make_plan(site({NAMES[0]: texts}, tmp_path / "out"), "gdr")
    driver = FilesDriver(tmp_path / "out")
    for change in plan.changes:
        driver.write(change.place, change.new)
    return tmp_path / "out"


BRIDGES = [f"0000:{0x12 + 16 * unit:02x}:{port}.0" for unit in range(8) for port in ("00", "04")]


def test_the_acs_script_clears_what_was_captured_twice_harmlessly_and_its_undo_puts_it_back(tmp_path: Path) -> None:
    out = rendered(tmp_path, host.ready() | {"lspci.txt": host.lspci(host.ACS_ON)})
    machine = Machine(tmp_path / "host", dict.fromkeys(BRIDGES, "001d") | {"0000:10:01.0": "001d"})
    for _ in range(2):
        assert machine.run(out / f"{NAMES[0]}-gdr.sh").returncode == 0
        assert machine.registers == dict.fromkeys(BRIDGES, "0000") | {"0000:10:01.0": "001d"}
    assert len(machine.log) == len(BRIDGES)
    assert machine.run(out / f"{NAMES[0]}-gdr-undo.sh").returncode == 0
    assert machine.registers == dict.fromkeys([*BRIDGES, "0000:10:01.0"], "001d")


def test_on_another_host_the_script_stops_before_it_writes(tmp_path: Path) -> None:
    out = rendered(tmp_path, host.ready() | {"lspci.txt": host.lspci(host.ACS_ON)})
    machine = Machine(tmp_path / "host", dict.fromkeys(BRIDGES, "0005"))
    done = machine.run(out / f"{NAMES[0]}-gdr.sh")
    assert (done.returncode, machine.log) == (1, [])
    assert "0000:12:00.0 holds 0005, not 001d: is this the host that was captured?" in done.stderr


def test_modules_and_kernel_parameter(tmp_path: Path) -> None:
    texts = host.ready() | {"memory_peers.txt": host.NO_PEERS, "cmdline.txt": "BOOT_IMAGE=/vmlinuz intel_iommu=on\n"}
    out = rendered(tmp_path, texts)
    machine = Machine(tmp_path / "host", {})
    done = machine.run(out / f"{NAMES[0]}-gdr.sh")
    assert machine.log[:2] == ["modprobe -r nvidia_peermem", "modprobe nvidia-peermem"]
    assert done.returncode == 1
    assert "reinstall NVIDIA's driver, after OFED" in done.stderr
    assert machine.run(out / f"{NAMES[0]}-gdr-undo.sh").returncode == 0
    assert machine.log[-1] == "grubby --update-kernel=ALL --remove-args=iommu=pt"


def test_the_plan_says_what_carrying_it_out_costs_and_a_host_that_became_ready_loses_its_script(tmp_path: Path) -> None:
    texts = host.ready() | {"lspci.txt": host.lspci(host.ACS_ON), "cmdline.txt": "BOOT_IMAGE=/vmlinuz intel_iommu=on\n"}
    plan = make_plan(site({NAMES[0]: texts, NAMES[1]: host.ready()}, tmp_path / "out"), "gdr")
    keys = [change.place.key.removeprefix("file:") for change in plan.changes]
    assert keys == [f"{NAMES[0]}-gdr.sh", f"{NAMES[0]}-gdr-undo.sh", "gdr-nccl.env"]
    assert plan.changes[0].why == "ACS off on 16 bridges: at once, to be run at each boot; iommu=pt: REBOOT of the host"
    assert f"NCCL_IB_HCA=={','.join(host.DEVICES)}\n" in str(plan.changes[2].new)
    rendered(tmp_path, texts)
    after = make_plan(site({NAMES[0]: host.ready()}, tmp_path / "out"), "gdr")
    assert [change.new for change in after.changes] == [None, None]
    gone = make_plan(site({NAMES[0]: texts}, tmp_path / "out"), "gdr", enable=False)
    assert {change.new for change in gone.changes} == {None}
    assert "NCCL_NET_GDR_LEVEL=LOC" in gone.notes[-1]


def test_names_of_hosts_reach_no_shell_and_no_path(tmp_path: Path) -> None:
    evil = "$(touch${IFS}owned)"
    names = [name.replace(NAMES[0], evil) for name in FABRIC.node_name]
    fabric = replace(FABRIC, node_name=tuple(names))
    assert evil in fabric.hosts.name
    texts = host.ready() | {"memory_peers.txt": host.NO_PEERS, "lspci.txt": host.lspci(host.ACS_ON)}
    texts["topo.txt"] = host.topo().replace("NIC0: mlx5_0", "NIC0: $(touch${IFS}owned)")
    captured = {f"{evil}/{name}": text for name, text in texts.items()}
    driver = FilesDriver(tmp_path / "out")
    plan = make_plan(Site(fabric, drivers={"files": driver}, captured=captured), "gdr")
    for change in plan.changes:
        driver.write(change.place, change.new)
    scripts = sorted((tmp_path / "out").glob("*.sh"))
    assert [path.name[:2] for path in scripts] == ["0x", "0x"]
    machine = Machine(tmp_path / "host", dict.fromkeys(BRIDGES, "001d"))
    for path in scripts:
        machine.run(path)
        assert all(line.startswith("#") for line in path.read_text().splitlines() if "owned" in line)
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"switches": "leaf-su01-rail0"}, RefusedError, "this is of hosts, not of switches"),
        ({"settings": ["hosts=nobody-1"]}, UsageError, "the fabric has no host 'nobody-1'"),
        ({"settings": [f"hosts={NAMES[1]}"]}, RefusedError, f"nothing is captured of {NAMES[1]}"),
        ({"settings": ["host=x"]}, UsageError, "did you mean 'hosts'"),
    ],
)
def test_requests_that_make_no_sense(arguments: dict[str, object], error: type[FabctlError], words: str, tmp_path: Path) -> None:
    with pytest.raises(error) as raised:
        make_plan(site({NAMES[0]: host.ready()}, tmp_path), "gdr", **arguments)  # type: ignore[arg-type]
    assert words in f"{raised.value.message} {raised.value.hint}"


def test_without_texts_or_without_the_files_driver_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="nothing is known of any host"):
        make_plan(site({}, tmp_path), "gdr")
    with pytest.raises(RefusedError, match="--driver files"):
        make_plan(site({NAMES[0]: host.ready()}), "gdr")


# ---- async ---------------------------------------------------------------------------------------------------------------

MAPPED = 'RegistryDwords: "PeerMappingOverride=1;"\n'
UNMAPPED = 'RegistryDwords: ""\n'
OTHER = 'RegistryDwords: "RMSmallBarP2PPeerBar1=1;"\n'


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"nvidia-params": MAPPED}, "on", "PeerMappingOverride=1"),
        ({"nvidia-params": UNMAPPED}, "can", "with a CPU thread at the doorbells (GDRCopy)"),
        ({"nvidia-params": UNMAPPED, "lsmod": host.LSMOD.replace("gdrdrv", "other")}, "off", "PeerMappingOverride is not set"),
        ({}, "unknown", "cat /proc/driver/nvidia/params"),
        ({"nvidia-params": MAPPED, "lspci": host.lspci(host.ACS_ON)}, "off", "it needs GPUDirect RDMA: ACS redirects"),
        ({"nvidia-params": MAPPED, "nvidia-smi-L": host.GPUS.replace("H100", "P100")}, "cannot", "a P100 is older than Volta"),
        ({"nvidia-params": MAPPED, "nvidia-version": host.CLOSED_DRIVER.replace("535", "470")}, "cannot", "older than 510.40.3"),
        ({"nvidia-params": MAPPED, "nvidia-smi-L": None}, "on", "PeerMappingOverride=1"),
        ({"nvidia-params": MAPPED, "nvidia-smi-L": host.GPUS.replace("H100", "X1")}, "on", "PeerMappingOverride=1"),
        (
            {"nvidia-params": MAPPED, "nvidia-smi-L": None, "lspci": host.lspci().replace("H100", "X1")},
            "unknown",
            "nvidia-smi -L",
        ),
    ],
)
def test_what_keeps_a_host_from_async(changes: dict[str, str | None], status: str, words: str) -> None:
    row = assessed(ASYNC, {NAMES[0]: only(**changes)})[NAMES[0]]
    assert (row.status, words in row.fact) == (status, True), row.fact


def test_async_plans_the_drivers_option_for_those_that_lack_it_and_bounds_the_gain(tmp_path: Path) -> None:
    without = host.ready() | {"nvidia-params.txt": UNMAPPED, "lsmod.txt": host.LSMOD.replace("gdrdrv", "other")}
    with_it = host.ready() | {"nvidia-params.txt": MAPPED}
    plan = make_plan(site({NAMES[0]: without, NAMES[1]: with_it}, tmp_path), "async")
    assert [change.place.key for change in plan.changes] == ["file:async-nvidia.conf", "file:async-nvshmem.env"]
    assert 'options nvidia NVreg_RegistryDwords="PeerMappingOverride=1;"' in str(plan.changes[0].new)
    assert plan.changes[0].why.startswith(f"for {NAMES[0]}: in force once nvidia.ko is loaded anew")
    assert any("us less a hop, an upper bound" in note for note in plan.notes)
    kept = make_plan(site({NAMES[0]: host.ready() | {"nvidia-params.txt": OTHER}}, tmp_path), "async").notes
    assert f"{NAMES[0]}: the driver has RegistryDwords RMSmallBarP2PPeerBar1=1;; keep these in the line, or they are lost" in kept
    with pytest.raises(RefusedError, match="it needs GPUDirect RDMA: ACS redirects"):
        make_plan(site({NAMES[0]: host.ready() | {"lspci.txt": host.lspci(host.ACS_ON)}}, tmp_path), "async")


# ---- remote GPUs ---------------------------------------------------------------------------------------------------------


def test_remote_gpus_for_rcuda_and_for_any_tool(tmp_path: Path) -> None:
    where = site({}, tmp_path, node=load_node("dgx-h100"))
    plan = make_plan(where, "remote-gpu", settings=[f"clients={NAMES[0]}", "gpus=2", "tool=rcuda"])
    assert [change.place.key for change in plan.changes] == [f"file:{NAMES[0]}-rcuda.env"]
    lines = str(plan.changes[0].new).splitlines()
    assert lines[0] == "RCUDA_DEVICE_COUNT=2"
    assert [line.partition("=")[0] for line in lines[1:]] == ["RCUDA_DEVICE_0", "RCUDA_DEVICE_1"]
    servers = {line.partition("=")[2].partition(":")[0] for line in lines[1:]}
    assert servers <= set(NAMES[1:])
    assert f"{NAMES[0]} drives GPU0 of" in plan.notes[0]
    assert "reached both ways" in plan.notes[0]
    listed = make_plan(where, "remote-gpu", settings=[f"clients={NAMES[0]}", f"servers={NAMES[6]}"])
    assert listed.changes[0].new == f"# client server gpu\n{NAMES[0]} {NAMES[6]} 0\n"


def test_hosts_of_jobs_lend_nothing_and_the_jobs_keep_a_share(tmp_path: Path) -> None:
    spec = parse_job(f"name: train\nhosts: {NAMES[1][:-1]}[2-5]\nranks_per_host: 8\npattern: ring\n", "job.yaml")
    where = site({}, tmp_path, node=load_node("dgx-h100"), jobs=place_jobs([spec], FABRIC))
    plan = make_plan(where, "remote-gpu", settings=[f"clients={NAMES[0]}", "gpus=3"])
    servers = {line.split()[1] for line in str(plan.changes[0].new).splitlines()[1:]}
    assert servers <= set(NAMES[5:])
    assert any(note.startswith("job 1 keeps 100% of its rate") for note in plan.notes)
    rows = assessed(REMOTE, {}, node=load_node("dgx-h100"), jobs=where.jobs)
    assert [rows[name].fact for name in NAMES[1:5]] == ["it runs a job"] * 4


def test_who_can_lend_gpus() -> None:
    rows = assessed(REMOTE, {NAMES[0]: only(lspci="00:00.0 Host bridge: Intel\n", topo=None) | {"nvidia-smi-L.txt": ""}})
    assert (rows[NAMES[0]].status, rows[NAMES[0]].fact) == ("cannot", "it has no GPU to lend")
    assert rows[NAMES[1]].status == "unknown"
    rows = assessed(REMOTE, {}, node=load_node("dgx-h100"))
    assert {(row.status, row.fact) for row in rows.values()} == {("can", "it can lend 8 GPUs")}
    rows = assessed(REMOTE, {}, node=load_node("dgx-1-v100"))
    assert {row.status for row in rows.values()} == {"cannot"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "which hosts want GPUs?"),
        (["clients=nobody"], "the fabric has no host 'nobody'"),
        ([f"clients={NAMES[0]}", "tool=ssh"], "tool is rcuda or hosts, not 'ssh'"),
        ([f"clients={NAMES[0]}", "gpus=none"], "gpus is a number, not 'none'"),
        ([f"clients={NAMES[0]}", "gpus=99"], "99 GPUs are wanted and 56 are free"),
    ],
)
def test_requests_for_remote_gpus_that_make_no_sense(settings: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises((UsageError, RefusedError)) as raised:
        make_plan(site({}, tmp_path, node=load_node("dgx-h100")), "remote-gpu", settings=settings)
    assert words in raised.value.message


def test_without_a_node_type_remote_gpus_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="what the servers are is not known"):
        make_plan(site({}, tmp_path), "remote-gpu", settings=[f"clients={NAMES[0]}"])


# ---- from the command line -----------------------------------------------------------------------------------------------


def test_from_captured_texts_to_scripts_and_back(
    run: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FABCTL_STATE_DIR", str(tmp_path / "state"))
    fabric = tmp_path / "fabric.yaml"
    fabric.write_text(SPEC)
    for name in NAMES:
        host.write(tmp_path / "hosts", name, host.ready())
    host.write(tmp_path / "hosts", NAMES[2], {"lspci.txt": host.lspci(host.ACS_ON)})
    captured = ["--captured", tmp_path / "hosts"]
    listed = run("offload", "list", fabric, *captured, "--feature", "gdr,async,remote-gpu", "-o", "json")
    rows = json.loads(listed.out)["data"]  # type: ignore[attr-defined]
    assert listed.code == 0  # type: ignore[attr-defined]
    assert NAMES[2] in json.dumps(rows)
    plan = tmp_path / "plan.json"
    words = ["gdr", fabric, *captured, "--driver", f"files:folder={tmp_path / 'out'}"]
    assert run("offload", "plan", *words, "--save", plan).code == 1  # type: ignore[attr-defined]
    done = run("offload", "apply", plan)
    assert done.code == 0, done.err  # type: ignore[attr-defined]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "gdr-nccl.env", f"{NAMES[2]}-gdr-undo.sh", f"{NAMES[2]}-gdr.sh",
    ]  # fmt: skip
    assert run("offload", "plan", *words).code == 0  # type: ignore[attr-defined]
    assert run("offload", "rollback", 1).code == 0  # type: ignore[attr-defined]
    assert list((tmp_path / "out").iterdir()) == []
