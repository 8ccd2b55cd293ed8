"""Texts captured on hosts: sorted, parsed as people posted them, and damaged in every way."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from host_texts import (
    ACS_OFF,
    ACS_ON,
    CLOSED_DRIVER,
    COMPLAINT,
    DEVICES,
    GPUS,
    LSMOD,
    NO_PEERS,
    OPEN_DRIVER,
    links,
    lspci,
    ready,
    topo,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fabctl.offload.hosts import captures
from fabctl.offload.hosts.captures import COMMANDS, sort_captures
from fabctl.offload.hosts.facts import HostFacts, read_facts
from fabctl.offload.hosts.gather import live_texts
from fabctl.offload.hosts.lspci import REDIRECTS, acs_word, parse
from fabctl.offload.hosts.lspci_tree import parse as parse_tree
from fabctl.offload.hosts.readiness import readiness

HOSTS = ("gpu-1", "gpu-2", "gpu-2.rack", "io-1.cluster.local")


def facts(**texts: str) -> HostFacts:
    return read_facts("gpu-1", texts)


# ---- sorting ------------------------------------------------------------------------------------------------------------


def test_a_folder_per_host_and_files_named_after_hosts() -> None:
    sorted_texts = sort_captures(
        {
            "gpu-1/lspci.txt": "a",
            "gpu-1/deep/memory_peers": "nv_mem",
            "gpu-2.lsmod": "b",
            "gpu-2.rack.cmdline.txt": "c",
            "io-1/dmesg": "d",
            "gpu-1.cluster.local/uname.txt": "5.15.0",
            "stranger/lspci.txt": "e",
            "README": "f",
            "opensm.conf": "routing_engine updn\n",
            "elsewhere.txt": "==> lsmod <==\nModule  Size  Used by\n",
            "gpu-1/notes.md": "nothing that is known",
        },
        HOSTS,
    )
    assert {host: sorted(texts) for host, texts in sorted_texts.of_host.items()} == {
        "gpu-1": ["kernel", "lspci", "peers"],
        "gpu-2": ["modules"],
        "gpu-2.rack": ["cmdline"],
        "io-1.cluster.local": ["dmesg"],
    }
    assert sorted_texts.strangers == ("stranger", "elsewhere.txt")
    assert sorted_texts.unread == ("gpu-1/notes.md",)


def test_one_file_with_headings_or_a_terminal_log_holds_everything() -> None:
    with_headings = (
        "==> lspci -vvv <==\n00:00.0 Host bridge: Intel\n==> cat /proc/cmdline <==\niommu=pt\n==> what is this <==\nx\n"
    )
    log = "[root@n120 ~]# lsmod | grep nvidia_peermem\n[root@n120 ~]# uname -r\n5.15.0-91-generic\n[root@n120 ~]# ls\nfile\n"
    found = sort_captures({"gpu-1.txt": with_headings, "gpu-2.txt": log}, HOSTS).of_host
    assert found["gpu-1"] == {"lspci": "00:00.0 Host bridge: Intel", "cmdline": "iommu=pt"}
    assert found["gpu-2"]["modules"] == ""
    assert found["gpu-2"]["kernel"].startswith("5.15.0-91-generic")


def test_a_text_is_told_by_its_content_where_its_name_does_not_say() -> None:
    contents = {
        "lspci": lspci(units=1), "topo": topo(), "gpus": GPUS, "modules": LSMOD, "driver": CLOSED_DRIVER, "hcas": links(),
        "cmdline": "BOOT_IMAGE=/vmlinuz iommu=pt", "ofed": "MLNX_OFED_LINUX-24.10-1.1.4.0:", "dmesg": "[    0.000000] Linux version",
        "params": 'RegistryDwords: ""', "acs": "0000:00:07.1 (ecap 000d @2a0) @2a6 = 001d",
    }  # fmt: skip
    for kind, text in contents.items():
        assert list(sort_captures({"gpu-1/a": text}, HOSTS).of_host["gpu-1"]) == [kind]


def test_a_listing_filtered_for_something_else_does_not_say_that_a_module_is_missing() -> None:
    text = "$ lsmod | grep mlx5\nmlx5_core  1  2\n"
    assert sort_captures({"gpu-1.txt": text}, HOSTS).of_host.get("gpu-1", {}) == {}


def test_each_command_that_is_asked_for_is_known_by_its_words() -> None:
    assert {key: captures.kind_of(command) for key, command in COMMANDS.items()} == {key: key for key in COMMANDS}


# ---- lspci --------------------------------------------------------------------------------------------------------------


def test_the_tree_and_acs_of_a_server() -> None:
    tree = parse(lspci(ACS_ON))
    assert tree is not None
    assert (len(tree.gpus), len(tree.hcas)) == (8, 8)
    gpu = tree.gpus[3]
    assert [bridge.bdf for bridge in tree.chain(gpu)] == ["0000:42:00.0", "0000:41:00.0", "0000:40:01.0"]
    ((hca, way),) = tree.nearest(gpu, tree.hcas)
    assert (hca.bdf, [bridge.bdf for bridge in way.bridges]) == ("0000:44:00.0", ["0000:42:00.0", "0000:42:04.0"])
    assert (way.root, way.switches) == (False, 1)
    assert tree.between(gpu, tree.hcas[0]).root


@pytest.mark.parametrize(
    ("flags", "word"),
    [(ACS_ON, 0x1D), (ACS_OFF, 0), ("SrcValid+ TransBlk- ReqRedir- CmpltRedir- UpstreamFwd- EgressCtrl- DirectTrans-", 1),
     ("SrcValid- TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd- EgressCtrl- DirectTrans-", 0xC)],
)  # fmt: skip
def test_acs_words(flags: str, word: int) -> None:
    assert acs_word(flags) == word


@pytest.mark.parametrize(
    ("name", "redirects"), [("ReqRedir", True), ("CmpltRedir", True), ("UpstreamFwd", True), ("SrcValid", False)]
)
def test_each_redirect_counts_and_validation_does_not(name: str, *, redirects: bool) -> None:
    tree = parse(lspci(ACS_OFF.replace(f"{name}-", f"{name}+"), units=1))
    assert tree is not None
    assert [bridge.redirects for bridge in tree.functions if bridge.acs is not None] == [redirects] * 2


def test_what_people_posted() -> None:
    """PLX 8725 with domains (HeyMeco/Rockchip-pcie-devices issue 6), ids (lspci -nn), quotes of setpci -v (nccl issue 606)."""
    text = """\
0000:02:08.0 PCI bridge: PLX Technology, Inc. PEX 8725 24-Lane, 10-Port PCI Express Gen 3 (8.0 GT/s) (rev ca) (prog-if 00)
        Bus: primary=02, secondary=82, subordinate=82, sec-latency=0
                ACSCap: SrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl+ DirectTrans+
                ACSCtl: SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-
98:00.0 Infiniband controller [0207]: Mellanox Technologies MT28908 Family [ConnectX-6] [15b3:101b]
98:00.1 Infiniband controller [0207]: Mellanox Technologies MT28908 Family [ConnectX-6 Virtual Function] [15b3:101c]
07:00.0 3D controller [0302]: Device [10de:20b0] (rev a1)
        LnkSta: Speed 8GT/s (downgraded), Width x8 (downgraded)
05:00.0 Bridge: NVIDIA Corporation GH100 [H100 NVSwitch] (rev a1)
0000:00:07.1 (ecap 000d @2a0) @2a6 0000
0000:98:00.0 (ecap 000d @2a0) @2a6 = 001d
"""
    tree = parse(text)
    assert tree is not None
    bridge = tree.at("0000:02:08.0")
    assert bridge is not None
    assert (bridge.kind, bridge.buses, bridge.acs, bridge.redirects) == ("pci bridge", (0x82, 0x82), 0x1D, True)
    assert [hca.bdf for hca in tree.hcas] == ["0000:98:00.0"]
    assert tree.hcas[0].acs == 0x1D
    assert [(gpu.bdf, gpu.narrow) for gpu in tree.gpus] == [("0000:07:00.0", True)]


TREE = r"""
-+-[0000:00]-+-00.0  Intel Corporation Device 09a2
 |           +-01.0-[01-08]----00.0-[02-08]--+-00.0-[03]----00.0  NVIDIA Corporation GH100 [H100 SXM5 80GB]
 |           |                               +-01.0-[04]--+-00.0  Mellanox Technologies MT2910 Family [ConnectX-7]
 |           |                               |            \-00.1  Mellanox Technologies MT2910 Family [ConnectX-7]
 |           |                               +-04.0-[05]--
 |           |                               \-0a.0-[08]----00.0  NVIDIA Corporation GH100 [H100 NVSwitch]
 |           \-1f.0  Intel Corporation Device [00.0]
 \-[10000:e0]-+-06.0-[e1]----00.0  NVIDIA Corporation GA100 [A100 SXM4 80GB]
              \-17.0  Intel Corporation Device
"""


def test_a_drawn_tree() -> None:
    """Shapes of lines: noonghunna/club-3090 issue 1120, and a VMD's domain from the kernel's log (bugzilla 218394)."""
    tree = parse_tree(TREE)
    assert tree is not None
    assert [gpu.bdf for gpu in tree.gpus] == ["0000:03:00.0", "10000:e1:00.0"]
    assert [hca.bdf for hca in tree.hcas] == ["0000:04:00.0", "0000:04:00.1"]
    assert [bridge.bdf for bridge in tree.chain(tree.gpus[0])] == ["0000:02:00.0", "0000:01:00.0", "0000:00:01.0"]
    assert [bridge.bdf for bridge in tree.chain(tree.gpus[1])] == ["10000:e0:06.0"]
    near, far = (tree.between(gpu, tree.hcas[0]) for gpu in tree.gpus)
    assert (near.root, near.switches, far.root) == (False, 1, True)
    texts = sort_captures(
        {f"gpu-1/{name}": text for name, text in (ready() | {"lspci.txt": TREE, "topo.txt": ""}).items()}, HOSTS
    )
    found = readiness(read_facts("gpu-1", texts.of_host["gpu-1"]), (), None)
    assert found.fact.startswith("not known: lspci -vvv as root")
    assert sort_captures({"gpu-1/a": TREE}, HOSTS).of_host["gpu-1"].keys() == {"lspci"}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(TREE)), st.text(alphabet="-+[]\\|0123456789abcdef:. \n", max_size=30))
def test_any_drawing_is_read(cut: int, junk: str) -> None:
    tree = parse_tree(TREE[:cut] + junk + TREE[cut:])
    for function in tree.functions if tree else ():
        assert tree is not None
        assert len(tree.chain(function)) < len(tree.functions) + 1


def test_bridges_that_lie_in_a_circle_end() -> None:
    text = "".join(
        f"{bus}:00.0 PCI bridge: x\n\tBus: primary={bus}, secondary={next_}, subordinate=ff, sec-latency=0\n"
        for bus, next_ in (("01", "02"), ("02", "01"))
    )
    tree = parse(text + "01:01.0 3D controller: NVIDIA Corporation GH100\n")
    assert tree is not None
    assert len(tree.chain(tree.gpus[0])) == 2


# ---- facts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "driver", "is_open"),
    [
        (CLOSED_DRIVER, "535.104.05", False),
        (OPEN_DRIVER, "580.95.05", True),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.126.09  Release Build", "580.126.09", True),
        ("filename: /lib/modules/nvidia.ko\nversion:        550.54.15\nlicense:        Dual MIT/GPL\n", "550.54.15", True),
        ("version:        535.104.05\nlicense:        NVIDIA\n", "535.104.05", False),
        ("modinfo: ERROR: Module nvidia not found.", "", None),
        ("", "", None),
    ],
)
def test_drivers(text: str, driver: str, *, is_open: bool | None) -> None:
    assert (facts(driver=text).driver, facts(driver=text).open_driver) == (driver, is_open)


@pytest.mark.parametrize(
    ("texts", "mode"),
    [
        ({"iommu": "DMA-FQ\nDMA-FQ\nidentity\n"}, "translated"),
        ({"iommu": "identity\nidentity\n"}, "passthrough"),
        ({"iommu": ""}, "off"),
        ({"iommu": "cat: '/sys/kernel/iommu_groups/*/type': No such file or directory"}, "off"),
        ({"dmesg": "[    0.074010] iommu: Default domain type: Translated "}, ""),
        ({"dmesg": "iommu: Default domain type: Translated \npci 0000:00:07.1: Adding to iommu group 3"}, "translated"),
        ({"dmesg": "iommu: Default domain type: Passthrough (set via kernel command line)"}, "passthrough"),
        ({"cmdline": "BOOT_IMAGE=/vmlinuz intel_iommu=on iommu=pt"}, "passthrough"),
        ({"cmdline": "BOOT_IMAGE=/vmlinuz intel_iommu=on"}, "translated"),
        ({"cmdline": "BOOT_IMAGE=/vmlinuz iommu.passthrough=0 iommu.strict=1"}, "translated"),
        ({"cmdline": "BOOT_IMAGE=/vmlinuz amd_iommu=off"}, "off"),
        ({"cmdline": "BOOT_IMAGE=/vmlinuz"}, ""),
        ({"cmdline": "intel_iommu=on", "iommu": "identity"}, "passthrough"),
    ],
)
def test_iommu(texts: dict[str, str], mode: str) -> None:
    assert facts(**texts).iommu == mode


@pytest.mark.parametrize(
    ("files", "registered"),
    [
        ({"memory_peers.txt": "nv_mem\n"}, True),
        ({"memory_peers.txt": "nvidia-peermem\n"}, True),
        ({"memory_peers.txt": "amdkfd\n"}, False),
        ({"memory_peers.txt": ""}, False),
        ({"memory_peers.txt": NO_PEERS}, False),
        ({"sys/kernel/mm/memory_peers/nv_mem/version": "1.3\n"}, True),
        ({"log.txt": "# cat /sys/kernel/mm/memory_peers/nv_mem/version\n1.3\n"}, True),
        ({"log.txt": "# cat /sys/kernel/mm/memory_peers/nv_mem/version\ncat: /sys/kernel/mm/memory_peers/nv_mem/version: "
          "No such file or directory\n"}, False),
        ({"lsmod.txt": LSMOD}, None),
    ],
)  # fmt: skip
def test_who_has_registered(files: dict[str, str], *, registered: bool | None) -> None:
    texts = sort_captures({f"gpu-1/{name}": text for name, text in files.items()}, HOSTS).of_host["gpu-1"]
    assert read_facts("gpu-1", texts).registered is registered


def test_modules_gpus_links_and_complaints() -> None:
    found = facts(
        modules=LSMOD, gpus=GPUS, hcas=links(), dmesg=COMPLAINT, kernel="6.8.0-90-generic", ofed="MLNX_OFED_LINUX-24.10-3.2.5.0:",
        params='EnableStreamMemOPs: 1\nRegistryDwords: "PeerMappingOverride=1;"\n',
    )  # fmt: skip
    assert (found.loaded, found.gdrcopy, found.n_gpus, found.peer_mapping) == (True, True, 8, True)
    assert found.gpu is not None
    assert (found.gpu.name, found.kernel, found.ofed) == ("H100", "6.8.0-90-generic", "MLNX_OFED_LINUX-24.10-3.2.5.0")
    assert found.hcas == {device: f"0000:{0x14 + 16 * unit:02x}:00.0" for unit, device in enumerate(DEVICES)}
    assert found.complaint == "nvidia_peermem: disagrees about version of symbol ib_register_peer_memory_client"


# ---- damage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ready()))
def test_every_cut_of_a_text_is_read_and_never_makes_a_host_ready_that_is_not(name: str) -> None:
    broken = {"lspci.txt": lspci(ACS_ON), "memory_peers.txt": NO_PEERS, "cmdline.txt": "BOOT_IMAGE=/vmlinuz intel_iommu=on\n"}
    whole = ready() | {key: text for key, text in broken.items() if key == name}
    cuts = sorted(random.Random(name).sample(range(len(whole[name])), min(60, len(whole[name]))))
    for cut in cuts:
        texts = sort_captures({f"gpu-1/{key}": text for key, text in (whole | {name: whole[name][:cut]}).items()}, HOSTS)
        found = readiness(read_facts("gpu-1", texts.of_host["gpu-1"]), DEVICES, None)
        assert found.fact
        if name in broken:
            assert found.status != "on"


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(COMMANDS)), st.text(max_size=400), max_size=6))
def test_any_text_is_read(texts: dict[str, str]) -> None:
    assert readiness(read_facts("gpu-1", texts), DEVICES, None).fact


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(ready())), st.integers(0, 10**6), st.text(max_size=20))
def test_damage_inside_a_text_is_survived(name: str, at: int, junk: str) -> None:
    text = ready()[name]
    cut = at % (len(text) + 1)
    texts = ready() | {name: text[:cut] + junk + text[cut + len(junk) :]}
    sorted_texts = sort_captures({f"gpu-1/{key}": value for key, value in texts.items()}, HOSTS)
    assert readiness(read_facts("gpu-1", sorted_texts.of_host["gpu-1"]), DEVICES, None).fact


@pytest.mark.parametrize(
    "unit",
    [
        "root@h" + " " * 200,
        "NVIDIA UNIX ",
        "a",
        "\n",
        "GPU 0: x (UUID ",
        "\tACSCtl: SrcValid",
        "-[0000:00]-+-00.0-[01]",
        "# ",
        "x -> /",
        "[00-",
    ],
)
def test_texts_that_are_made_to_be_slow_are_not(unit: str) -> None:
    """Nothing is timed: an expression that takes its time over one of these would not end."""
    text = unit * (400_000 // len(unit))
    for name in ("a", *ready()):
        texts = sort_captures({f"gpu-1/{name}": text}, HOSTS).of_host.get("gpu-1", {})
        assert readiness(read_facts("gpu-1", texts), DEVICES, None).fact


# ---- live ---------------------------------------------------------------------------------------------------------------


def test_this_machine_is_read_from_files_and_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool, text in (("lspci", lspci()), ("nvidia-smi", topo()), ("ofed_info", "MLNX_OFED_LINUX-24.10-1.1.4.0:")):
        (tools / f"{tool}.txt").write_text(text)
        (tools / tool).write_text(f"#!/bin/sh\nexec /bin/cat {tools / tool}.txt\n")
        (tools / tool).chmod(0o755)
    (tools / "dmesg").write_text("#!/bin/sh\necho 'dmesg: read kernel buffer failed: Operation not permitted' >&2\nexit 1\n")
    (tools / "dmesg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    root = tmp_path / "root"
    for name, text in (
        ("proc/modules", "nvidia_peermem 12288 0 - Live 0x0\n"),
        ("proc/cmdline", "BOOT_IMAGE=/vmlinuz\n"),
        ("proc/driver/nvidia/version", CLOSED_DRIVER),
        ("sys/kernel/mm/memory_peers/nv_mem/version", "1.3\n"),
        ("sys/kernel/iommu_groups/7/type", "identity\n"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "sys/class/infiniband").mkdir(parents=True)
    (root / "sys/class/infiniband/mlx5_0").symlink_to("../../devices/pci0000:10/0000:10:01.0/0000:14:00.0/infiniband/mlx5_0")
    texts = live_texts(root)
    assert "dmesg" not in texts
    found = read_facts("gpu-1", texts)
    assert (found.loaded, found.registered, found.iommu, found.driver) == (True, True, "passthrough", "535.104.05")
    assert found.hcas == {"mlx5_0": "0000:14:00.0"}
    assert readiness(found, (), None).status == "on"
    assert acs_word(ACS_ON) & REDIRECTS == REDIRECTS


def test_the_commands_of_the_manual_are_those_that_are_known_and_run_anywhere(project: Path) -> None:
    script = (project / "docs/host-readiness.md").read_text().partition("```sh\n")[2].partition("```")[0]
    asked = [captures.kind_of(line.removeprefix("ask ")) for line in script.splitlines() if line.startswith("ask ")]
    assert sorted(asked) == sorted(COMMANDS)
    done = subprocess.run(["/bin/sh", "-s"], input=script, capture_output=True, text=True, timeout=60, check=False)
    texts = sort_captures({"gpu-1.txt": done.stdout}, HOSTS).of_host["gpu-1"]
    assert {"cmdline", "kernel", "peers", "iommu"} <= set(texts)
    assert read_facts("gpu-1", texts).registered is False


@pytest.mark.parametrize(
    "text",
    [
        "bash: lsmod: command not found\n",
        "sh: 1: lsmod: not found\n",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that it runs.\n",
        "dmesg: read kernel buffer failed: Operation not permitted\n",
    ],
)
def test_a_command_that_failed_says_nothing(text: str) -> None:
    files = {f"gpu-1/{name}.txt": text for name in ("lsmod", "nvidia-smi-L", "topo", "dmesg")}
    found = sort_captures(files, HOSTS)
    assert found.of_host == {}
