"""What hosts print, for tests: lines as people posted them in public threads, put together into whole servers.

Shapes of the lines: Broadcom's switch ports and their buses from fastfetch-cli/fastfetch issue 1658, ``ACSCtl`` from NVIDIA/nccl
issues 304 and 523, ``lsmod`` from NVIDIA/nccl issue 1537, the kernel's complaints from Mellanox/nv_peer_memory issue 8 and
NVIDIA/gpu-operator issue 2868, ``setpci -v`` from NVIDIA/nccl issue 606.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ACS_ON = "SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-"
ACS_OFF = "SrcValid- TransBlk- ReqRedir- CmpltRedir- UpstreamFwd- EgressCtrl- DirectTrans-"

LSMOD = """\
Module                  Size  Used by
nvidia_peermem         12288  0
gdrdrv                 28672  0
ib_core               491520  9 rdma_cm,ib_ipoib,nvidia_peermem,iw_cm,ib_umad,rdma_ucm,ib_uverbs,mlx5_ib,ib_cm
nvidia              56344576  492 nvidia_uvm,nvidia_peermem,nvidia_modeset
"""
LSMOD_WITHOUT = "\n".join(line for line in LSMOD.splitlines() if not line.startswith("nvidia_peermem")) + "\n"
CLOSED_DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
OPEN_DRIVER = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22)  "
    "Tue Sep 23 09:55:41 UTC 2025\n"
)
NO_PEERS = "ls: cannot access '/sys/kernel/mm/memory_peers': No such file or directory\n"
COMPLAINT = """\
[Tue Sep  8 17:16:02 2026] nvidia_peermem: disagrees about version of symbol ib_register_peer_memory_client
[Tue Sep  8 17:16:02 2026] nvidia_peermem: Unknown symbol ib_register_peer_memory_client (err -22)
"""
CMDLINE = "BOOT_IMAGE=/boot/vmlinuz-5.15.0-1053-nvidia root=UUID=0f ro iommu=pt console=tty0\n"
GPUS = "".join(f"GPU {gpu}: NVIDIA H100 80GB HBM3 (UUID: GPU-{gpu:08x}-0000-0000-0000-000000000000)\n" for gpu in range(8))
DEVICES = ("mlx5_0", "mlx5_3", "mlx5_4", "mlx5_5", "mlx5_6", "mlx5_9", "mlx5_10", "mlx5_11")
"""RDMA devices of a DGX H100 on the compute fabric, as fabctl's own generator names them."""


def lspci(
    acs: str = ACS_OFF, *, units: int = 8, acs_of: Mapping[int, str] | None = None, denied: bool = False, together: bool = True
) -> str:
    """Return ``lspci -vvv``: in each unit a root port, and below it a PCIe switch with a GPU and an HCA, or only the GPU."""
    lines = []
    for unit in range(units):
        root, up, down = 0x10 + unit * 0x10, 0x11 + unit * 0x10, 0x12 + unit * 0x10
        flags = (acs_of or {}).get(unit, acs)
        lines += _bridge(f"{root:02x}:01.0", "Intel Corporation Device 352a (rev 30)", root, up, up + 4, "", denied=denied)
        lines += _bridge(
            f"{up:02x}:00.0", "Broadcom / LSI PEX890xx PCIe Gen 5 Switch (rev b0)", up, down, down + 3, "", denied=denied
        )
        for port, bus in ((0, down + 1), (4, down + 2)):
            title = "Broadcom / LSI PEX890xx PCIe Gen 5 Switch (rev b0)"
            lines += _bridge(f"{down:02x}:{port:02x}.0", title, down, bus, bus, flags, denied=denied)
        lines += [
            f"{down + 1:02x}:00.0 3D controller: NVIDIA Corporation GH100 [H100 SXM5 80GB] (rev a1)",
            "\tKernel driver in use: nvidia",
            "",
            f"{down + 2:02x}:00.0 Infiniband controller: Mellanox Technologies MT2910 Family [ConnectX-7]",
            "\tKernel driver in use: mlx5_core",
            "",
        ]
    if not together:
        lines = [line for line in lines if "Infiniband" not in line]
        for unit in range(units):
            root = 0x18 + unit * 0x10
            lines += _bridge(
                f"{root:02x}:01.0", "Intel Corporation Device 352a (rev 30)", root, root + 1, root + 1, "", denied=denied
            )
            lines.append(f"{root + 1:02x}:00.0 Infiniband controller: Mellanox Technologies MT2910 Family [ConnectX-7]")
    return "\n".join(lines)


def _bridge(bdf: str, title: str, primary: int, secondary: int, subordinate: int, flags: str, *, denied: bool) -> list[str]:
    lines = [
        f"{bdf} PCI bridge: {title} (prog-if 00 [Normal decode])",
        "\tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr+ Stepping- SERR+ FastB2B- DisINTx+",
        f"\tBus: primary={primary:02x}, secondary={secondary:02x}, subordinate={subordinate:02x}, sec-latency=0",
    ]
    if denied:
        lines.append("\tCapabilities: <access denied>")
    elif flags:
        lines += ["\tCapabilities: [b70 v1] Access Control Services", f"\t\tACSCtl:\t{flags}"]
    return [*lines, "\tKernel driver in use: pcieport", ""]


def topo(near: str = "PIX", gpus: int = 8) -> str:
    """Return ``nvidia-smi topo -m``: HCA n is `near` to GPU n."""
    names = [f"GPU{gpu}" for gpu in range(gpus)] + [f"NIC{nic}" for nic in range(gpus)]
    rows = ["\t" + "\t".join(names) + "\tCPU Affinity"]
    for a in range(2 * gpus):
        cells = []
        for b in range(2 * gpus):
            both_gpus, pair = a < gpus and b < gpus, a % gpus == b % gpus
            far = "NODE" if a % gpus // 4 == b % gpus // 4 else "SYS"
            cells.append(" X " if a == b else "NV18" if both_gpus else near if pair else far)
        rows.append("\t".join([names[a], *cells, "0-55" if a % gpus < gpus / 2 else "56-111"]))
    legend = "".join(f"  NIC{nic}: {device}\n" for nic, device in enumerate(DEVICES[:gpus]))
    return "\n".join(rows) + "\n\nLegend:\n\n  X    = Self\n\nNIC Legend:\n\n" + legend


def links() -> str:
    """Return ``ls -l /sys/class/infiniband``."""
    lines = ["total 0"]
    for unit, device in enumerate(DEVICES):
        root, bus = 0x10 + unit * 0x10, 0x14 + unit * 0x10
        way = f"pci0000:{root:02x}/0000:{root:02x}:01.0/0000:{root + 1:02x}:00.0/0000:{root + 2:02x}:04.0/0000:{bus:02x}:00.0"
        lines.append(f"lrwxrwxrwx 1 root root 0 Aug  9 11:00 {device} -> ../../devices/{way}/infiniband/{device}")
    return "\n".join(lines) + "\n"


def ready() -> dict[str, str]:
    """Return all texts of a host that is ready, by file name."""
    return {
        "lspci.txt": lspci(),
        "topo.txt": topo(),
        "nvidia-smi-L.txt": GPUS,
        "lsmod.txt": LSMOD,
        "memory_peers.txt": "nv_mem\n",
        "cmdline.txt": CMDLINE,
        "nvidia-version.txt": CLOSED_DRIVER,
        "uname.txt": "5.15.0-1053-nvidia\n",
        "infiniband.txt": links(),
    }


def write(folder: Path, host: str, texts: Mapping[str, str]) -> None:
    """Write the texts of a host into a folder of captures."""
    (folder / host).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / host / name).write_text(text)
