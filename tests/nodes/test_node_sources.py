"""Node YAML, nvidia-smi's matrices and NCCL's XML: real ones, and every way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabctl.errors import InputError, UsageError
from fabctl.model.node_graph import NVLINK, NodeGraph
from fabctl.nodes import NODE_SOURCES, nccl_xml, nvidia_smi, spec
from fabctl.nodes.figures import pcie_gb_s, smp_gb_s
from fabctl.nodes.matrix import matrix
from fabctl.nodes.paths import PathType, find_path, serving_hcas
from fabctl.nodes.reading import load_node
from fabctl.nodes.shipped import ALIASES, node_names, shipped_path

# ---- names ---------------------------------------------------------------------------------------------------------


def test_names_aliases_and_files(project: Path) -> None:
    assert load_node("dgx-1").name == "dgx-1-v100"
    assert load_node("dgx-1").notes[0].startswith("dgx-1 is taken for dgx-1-v100")
    path = str(project / "topologies" / "nodes" / "dgx-2.yaml")
    assert load_node(path).devices == load_node("dgx-2").devices
    assert load_node(path).name == "dgx-2.yaml"
    assert set(ALIASES.values()) <= set(node_names())
    assert shipped_path("../nodes/dgx-2") is None


def test_an_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        load_node("dgx-a10")
    assert "did you mean 'dgx-a100'?" in error.value.hint
    with pytest.raises(InputError, match="directory"):
        load_node(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# out-of-place\n 8 2 float sum -1 9.1 0.00\n", "this holds no node: the text begins with '# out-of-place"),
        ("\x00\x01", "binary"),
    ],
)
def test_what_is_no_node_at_all(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "node.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_node(str(path))


# ---- YAML ----------------------------------------------------------------------------------------------------------

YAML = """title: two GPUs
devices:
  gpu: {names: "GPU[0-1]", model: V100}
  hca: {names: mlx5_0}
  pcie-switch: {names: PLX0}
links:
  - {kind: nvlink, gb_s: 20, latency_us: 0.5, source: test, join: [GPU0 GPU1 x2]}
  - {kind: pcie, gb_s: 12, join: [[GPU0 PLX0, GPU1 PLX0], mlx5_0 PLX0]}
"""


def test_yaml_of_ones_own() -> None:
    node = spec.parse(YAML, "n.yaml", "n")
    link = node.links[0]
    assert (link.kind, link.count, link.gb_s, link.source) == (NVLINK, 2, 40, "test")
    assert (node.gpu_model, node.gpus, node.hcas, node.cpu_vendor) == ("V100", ("GPU0", "GPU1"), ("mlx5_0",), "")
    assert find_path(node, "GPU0", "mlx5_0").type is PathType.PIX


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gpu:", "gpus:", "n.yaml:3:3: unknown key 'gpus'\n  hint: did you mean 'gpu'"),
        ("GPU[0-1]", "GPU[0-", "n.yaml:3:16: "),
        ("mlx5_0}", "GPU0}", "n.yaml:4:16: device 'GPU0' is here twice"),
        ("GPU[0-1]", "GPU[0-5000]", "n.yaml:3:16: more than 1000 devices"),
        ("nvlink", "nvlnk", "n.yaml:7:12: unknown kind 'nvlnk'\n  hint: did you mean 'nvlink'"),
        ("gb_s: 20", "gb_s: -1", "n.yaml:7:26: 'gb_s' must be at least 0"),
        ("gb_s: 20", "gb_s: fast", "n.yaml:7:26: 'gb_s' must be a number"),
        ("GPU0 GPU1 x2", "GPU0", "n.yaml:7:68: 'GPU0' joins nothing"),
        ("GPU0 GPU1 x2", "GPU0 GPU9", "n.yaml:7:68: unknown device 'GPU9'"),
        ("GPU0 GPU1 x2", "GPU0 GPU0", "n.yaml:7:68: 'GPU0' is joined with itself"),
        ("GPU0 GPU1 x2", "GPU0 GPU1, GPU1 GPU0", "n.yaml:7:79: GPU1 and GPU0 are joined twice"),
        ("title: two GPUs", "cpu_vendor: amdd", "n.yaml:1:13: unknown cpu_vendor 'amdd'"),
        ("links:", "lnks:", "n.yaml:6:1: unknown key 'lnks'"),
        ("  pcie-switch", "\tpcie-switch", "n.yaml:5"),
    ],
)
def test_mistakes_in_yaml_have_their_place(old: str, new: str, message: str) -> None:
    assert old in YAML
    with pytest.raises(InputError) as error:
        spec.parse(YAML.replace(old, new), "n.yaml", "n")
    assert str(error.value).startswith(message)


# ---- nvidia-smi topo -m --------------------------------------------------------------------------------------------

# NVIDIA/DCGM issue 149, a DGX A100 (rows of four GPUs and their HCAs), with nvidia-smi -L before it
A100 = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-1)

        GPU0    GPU1    GPU2    GPU3    NIC0    NIC1    NIC2    NIC3    CPU Affinity    NUMA Affinity   GPU NUMA ID
GPU0     X      NV12    NV12    NV12    PXB     PXB     SYS     SYS     48-63,176-191   3               N/A
GPU1    NV12     X      NV12    NV12    PXB     PXB     SYS     SYS     48-63,176-191   3               N/A
GPU2    NV12    NV12     X      NV12    SYS     SYS     PXB     PXB     16-31,144-159   1               N/A
GPU3    NV12    NV12    NV12     X      SYS     SYS     PXB     PXB     16-31,144-159   1               N/A
NIC0    PXB     PXB     SYS     SYS      X      PXB     SYS     SYS
NIC1    PXB     PXB     SYS     SYS     PXB      X      SYS     SYS
NIC2    SYS     SYS     PXB     PXB     SYS     SYS      X      PXB
NIC3    SYS     SYS     PXB     PXB     SYS     SYS     PXB      X

Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)

NIC Legend:

  NIC0: mlx5_0
  NIC1: mlx5_1
  NIC2: mlx5_2
  NIC3: mlx5_3
"""


def smi(text: str) -> NodeGraph:
    return nvidia_smi.parse(text, "topo.txt", "n")


def test_a_real_dgx_1_comes_back_as_the_shipped_one(fixtures: Path) -> None:
    node = load_node(str(fixtures / "nvidia-smi-topo" / "dgx1.txt"))
    shipped = load_node("dgx-1-v100")
    assert matrix(node) == matrix(shipped)
    assert serving_hcas(node) == serving_hcas(shipped)
    assert node.hcas == ("mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3")
    assert node.gpu_model == ""
    assert {link.gb_s for link in node.links} == {0}
    assert "nvidia-smi -L" in node.notes[0]
    for a in shipped.gpus:
        for b in shipped.gpus + shipped.hcas:
            assert find_path(node, a, b).type == find_path(shipped, a, b).type


def test_a_dgx_a100_with_its_gpus_listed() -> None:
    node = smi(A100)
    assert (node.gpu_model, node.hcas, node.notes) == ("A100", ("mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3"), ())
    assert find_path(node, "GPU0", "GPU3").devices == ("GPU0", "NVSWITCH", "GPU3")
    assert find_path(node, "GPU0", "GPU3").gb_s == 240
    assert find_path(node, "GPU0", "mlx5_1").type is PathType.PXB
    assert find_path(node, "GPU0", "mlx5_1").gb_s == 24
    assert serving_hcas(node) == ("mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3")
    own = matrix(node)
    assert [own["GPU2"][name] for name in node.hcas] == ["SYS", "SYS", "PXB", "PXB"]


def test_old_drivers_wrote_soc_and_spaces(fixtures: Path) -> None:
    text = (fixtures / "nvidia-smi-topo" / "dgx1.txt").read_text()
    old = smi(text.replace("SYS", "SOC").replace("\t", "    "))
    assert matrix(old) == matrix(smi(text))
    assert old.notes == smi(text).notes


def test_gpus_alone_are_grouped_by_their_cpus() -> None:
    text = "\tGPU0\tGPU1\tGPU2\tCPU Affinity\nGPU0\t X \tNV4\tNV4\t0-9\nGPU1\tNV4\t X \tNV4\t0-9\nGPU2\tNV4\tNV4\t X \t10-19\n"
    node = smi(text)
    assert node.hcas == ()
    assert {(link.a, link.b) for link in node.links if link.kind == NVLINK} == {
        ("GPU0", "GPU1"),
        ("GPU0", "GPU2"),
        ("GPU1", "GPU2"),
    }
    assert find_path(node, "GPU0", "CPU0").type is PathType.PHB
    assert find_path(node, "GPU2", "CPU0").type is PathType.SYS


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NIC3    SYS     SYS     PXB     PXB     SYS     SYS     PXB      X\n", "", "topo.txt:4: the matrix is not square: 8 columns, 7 rows, none for 'NIC3'"),
        ("NIC3    SYS     SYS     PXB     PXB     SYS     SYS     PXB      X\n", "NIC3    SYS     SYS\n", "topo.txt:12: row 'NIC3' has 2 cells, not 8"),
        ("PXB     PXB     SYS     SYS     48", "PXB     PBX     SYS     SYS     48", "topo.txt:5: 'PBX' between GPU0 and NIC1"),
        ("GPU1    NV12     X      NV12", "GPU1    NV12    NV12    NV12", "topo.txt:6: 'NV12' between GPU1 and GPU1"),
        ("GPU1    NV12     X      NV12", "GPU1    NV8     X      NV12", "topo.txt:6: GPU0 and GPU1 are NV12 apart in row GPU0, and NV8 in row GPU1"),
        ("GPU3    NV12    NV12    NV12", "GPU9    NV12    NV12    NV12", "topo.txt:8: 'GPU9' is a row without a column"),
        ("GPU3    NV12    NV12    NV12", "GPU2    NV12    NV12    NV12", "topo.txt:8: 'GPU2' has two rows\n  hint: the first is at line 7"),
    ],
)  # fmt: skip
def test_mistakes_in_a_matrix_have_their_line(old: str, new: str, message: str) -> None:
    assert A100.count(old) >= 1
    with pytest.raises(InputError) as error:
        smi(A100.replace(old, new, 1))
    assert str(error.value).startswith(message)


def test_a_word_counts_more_than_cpu_affinity() -> None:
    """Two of the eight GPUs of a virtual machine (NVIDIA/nccl issue 1264): one CPU by affinity, SYS by word."""
    text = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0)
\tGPU0\tGPU1\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID
GPU0\t X \tNV18\tPIX\tSYS\t0-55,112-167\t0\t\tN/A
GPU1\tNV18\t X \tSYS\tPIX\t0-55,112-167\t0\t\tN/A
NIC0\tPIX\tSYS\t X \tSYS\t\t\t\t
NIC1\tSYS\tPIX\tSYS\t X \t\t\t\t
"""
    node = smi(text)
    assert (node.gpu_model, node.notes, serving_hcas(node)) == ("H100", (), ("NIC0", "NIC1"))
    assert matrix(node)["GPU0"]["NIC1"] == "SYS"
    assert find_path(node, "GPU0", "NIC0").gb_s == 48


def test_a_matrix_that_contradicts_itself_is_said() -> None:
    """PIX with two devices that are PHB apart from each other, as virtual machines show it."""
    text = "\tGPU0\tNIC0\tNIC1\tCPU Affinity\nGPU0\t X \tPIX\tPIX\t0-9\nNIC0\tPIX\t X \tPHB\nNIC1\tPIX\tPHB\t X \n"
    assert smi(text).notes[-1] == "the matrix contradicts itself, and the shorter ways were taken; it has NIC0-NIC1 PHB"


# ---- NCCL's XML ----------------------------------------------------------------------------------------------------

# Written as NCCL_TOPO_DUMP_FILE writes it; the PCIe tree is that of NVIDIA/nccl issue 1505, a DGX A100
XML = """<system version="1">
  <cpu host_hash="0x1" numaid="3" affinity="ffff" arch="x86_64" vendor="AuthenticAMD" familyid="23" modelid="49">
    <pci busid="0000:01:00.0" class="0x060400" vendor="0x1000" device="0xc010" subsystem_vendor="0x1000" subsystem_device="0xa096" link_speed="16.0 GT/s PCIe" link_width="16">
      <pci busid="0000:0a:00.0" class="0x060400" vendor="0x1000" device="0xc010" subsystem_vendor="0x1000" subsystem_device="0xa096" link_speed="16.0 GT/s PCIe" link_width="16">
        <pci busid="0000:07:00.0" class="0x030200" vendor="0x10de" device="0x20b0" link_speed="16.0 GT/s PCIe" link_width="16">
          <gpu dev="0" sm="80" rank="0" gdr="1">
            <nvlink target="0000:c4:00.0" count="6" tclass="0x068000"/>
            <nvlink target="0000:c5:00.0" count="6" tclass="0x068000"/>
          </gpu>
        </pci>
        <pci busid="0000:0c:00.0" class="0x020700" vendor="0x15b3" device="0x101b" link_speed="16.0 GT/s PCIe" link_width="16">
          <nic>
            <net name="mlx5_0" dev="0" speed="200000" port="1" latency="0.000000" guid="0xa262550003a1420c" maxconn="131072" gdr="1"/>
          </nic>
        </pci>
      </pci>
    </pci>
  </cpu>
  <cpu host_hash="0x1" numaid="1" affinity="ffff0000" arch="x86_64" vendor="AuthenticAMD" familyid="23" modelid="49">
    <pci busid="0000:47:00.0" class="0x030200" vendor="0x10de" device="0x20b0" link_speed="8.0 GT/s PCIe" link_width="8">
      <gpu dev="1" sm="80" rank="1" gdr="1">
        <nvlink target="0000:c4:00.0" count="12" tclass="0x068000"/>
      </gpu>
    </pci>
  </cpu>
</system>
"""


def xml(text: str) -> NodeGraph:
    return nccl_xml.parse(text, "topo.xml", "n")


def test_a_dump_of_a_dgx_a100() -> None:
    node = xml(XML)
    assert (node.gpus, node.hcas, node.gpu_model, node.cpu_vendor) == (("GPU0", "GPU1"), ("mlx5_0",), "A100", "amd")
    near = find_path(node, "GPU0", "mlx5_0")
    assert (near.type, near.gb_s) == (PathType.PIX, 24)  # the Broadcom chip's two levels are one switch
    assert find_path(node, "GPU0", "GPU1").gb_s == 240
    far = find_path(node, "GPU1", "mlx5_0")
    assert far.type is PathType.SYS
    assert {link.gb_s for link in far.links if link.kind == "pcie"} == {6, 24}  # eight lanes of Gen3
    assert {link.gb_s for link in far.links if link.kind == "smp"} == {16}


def test_other_switches_stay_two_levels() -> None:
    assert find_path(xml(XML.replace("0xc010", "0xc012")), "GPU0", "mlx5_0").type is PathType.PIX
    deeper = XML.replace(
        '<pci busid="0000:0c:00.0"', '</pci><pci busid="0000:0b:00.0" class="0x060400"><pci busid="0000:0c:00.0"'
    )
    assert find_path(xml(deeper.replace("0xc010", "0xc012")), "GPU0", "mlx5_0").type is PathType.PXB


def test_links_between_gpus_and_c2c() -> None:
    direct = XML.replace(
        'target="0000:c4:00.0" count="12" tclass="0x068000"', 'target="0000:07:00.0" count="4" tclass="0x030200"'
    )
    node = xml(direct)
    assert find_path(node, "GPU0", "GPU1").devices == ("GPU0", "GPU1")
    assert find_path(node, "GPU0", "GPU1").gb_s == 80
    tray = xml(XML.replace('<nvlink target="0000:c4:00.0" count="12" tclass="0x068000"/>', '<c2c bw="44712" count="5"/>'))
    assert find_path(tray, "GPU1", "CPU1").type is PathType.C2C
    assert find_path(tray, "GPU1", "CPU1").gb_s == pytest.approx(223.56)


def test_models_by_compute_capability_where_no_device_id_is() -> None:
    node = xml(XML.replace('device="0x20b0" ', ""))
    assert node.gpu_model == "A100"
    assert node.notes == ("GPUs taken for A100: compute capability 8.0, 12 NVLinks",)


def test_azures_files_have_pci_devices_alone(fixtures: Path) -> None:
    a100 = load_node(str(fixtures / "nccl-xml" / "ndv4-topo.xml"))
    h100 = load_node(str(fixtures / "nccl-xml" / "ndv5-topo.xml"))
    assert (a100.cpu_vendor, h100.cpu_vendor) == ("amd", "intel")
    assert a100.gpus == h100.gpus == tuple(f"GPU{number}" for number in range(8))
    assert serving_hcas(h100) == h100.hcas == tuple(f"NIC{number}" for number in range(8))
    near = find_path(a100, "GPU2", "NIC2")  # 0003:00:00.0 and 0103:00:00.0 under one switch
    assert (near.type, near.gb_s) == (PathType.PIX, 24)
    assert find_path(h100, "GPU0", "NIC0").gb_s == 48
    assert find_path(h100, "GPU0", "NIC1").type is PathType.PHB
    assert a100.gpu_model == ""
    assert any("no NVLinks" in note for note in a100.notes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</system>\n", "", "topo.xml:26: this is no XML: no element found\n  hint: was the file cut?"),
        ("<nic>", "<nix>", "topo.xml:14: this is no XML: mismatched tag"),
        (
            "<system version",
            "<!DOCTYPE x [<!ENTITY a 'b'>]><system version",
            "topo.xml:1: a topology of NCCL has no document type",
        ),
        ('<system version="1">', "<graphs>", "topo.xml:26: this is no XML: mismatched tag"),
        ('dev="0" sm="80"', 'dev="0" sm="Ampere"', "topo.xml:6: sm='Ampere' is no number"),
        ('busid="0000:07:00.0" ', "", "topo.xml:5: a <pci> has no busid"),
    ],
)
def test_mistakes_in_xml_have_their_line(old: str, new: str, message: str) -> None:
    assert old in XML
    with pytest.raises(InputError) as error:
        xml(XML.replace(old, new, 1))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<graphs version='1'/>", "topo.xml:1: <graphs> is no topology of NCCL: <system> is"),
        ("<system/>", "topo.xml:1: this topology has no <cpu>"),
        ("<system>" + "<pci busid='1'>" * 5000, "topo.xml:1: more than 100,000 elements, or 64 levels"),
        ("<system><cpu numaid='0'/></system>", "topo.xml:1: this topology has no GPU"),
        ("<system><cpu><pci busid='1' class='0x030200'/></cpu></system>", "topo.xml:1: this topology has no network device"),
    ],
)
def test_xml_without_the_needful(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        xml(text)
    assert str(error.value).startswith(message)


# ---- all formats ---------------------------------------------------------------------------------------------------

SAMPLES = {"yaml": YAML, "nvidia-smi": A100, "nccl-xml": XML}


def test_every_format_has_a_sample_that_it_alone_recognises() -> None:
    assert set(SAMPLES) == set(NODE_SOURCES.names())
    for name, text in SAMPLES.items():
        assert [other for other in NODE_SOURCES.names() if NODE_SOURCES.load(other).recognises(text)] == [name]


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_damage_is_an_error_or_a_node(name: str, data: st.DataObject) -> None:
    """A text that is cut, or has something else in its middle, is read or refused with a place, never a traceback."""
    text = SAMPLES[name]
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 40)))
    damaged = text[:begin] + data.draw(st.sampled_from(["", "\n", "X", "<", "&a;", "NV99", "- ", "\t", '"'])) + text[end:]
    try:
        node = NODE_SOURCES.load(name).parse(damaged, "file", "n")
    except InputError as error:
        refused = error
        assert refused.where.startswith("file")
    else:
        matrix(node)
        serving_hcas(node)


# ---- figures -------------------------------------------------------------------------------------------------------


def test_figures_are_nccls() -> None:
    assert [pcie_gb_s(gt_s) for gt_s in (2.5, 5, 8, 16, 32, 64)] == [3, 6, 12, 24, 48, 96]
    assert pcie_gb_s(0, 8) == 6
    assert [smp_gb_s("x86_64", "GenuineIntel", 6, model) for model in (0x4F, 0x55, 0x8F, 0xCF)] == [6, 10, 22, 40]
    assert [smp_gb_s("x86_64", "AuthenticAMD", family, 1) for family in (23, 25, 26)] == [16, 24, 32]
    assert smp_gb_s("ppc64", "", 0, 0) == 32
    assert smp_gb_s("x86_64", "", 0, 0) == 0
