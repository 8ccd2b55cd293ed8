"""Switches and nodes that a spec can name, as far as drawing a fabric needs them.

Device ids are those of the PCI ID database and of real dumps; radixes and speeds those of the data sheets.
"""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.units import Speed

VENDOR_ID = 0x2C9
"""Vendor id that NVIDIA (Mellanox) devices report in InfiniBand's NodeInfo."""


@dataclass(frozen=True)
class SwitchModel:
    """An edge switch with one ASIC.

    Parameters
    ----------
    part : str
        As the switch puts it into its node description (``MF0;leaf-1:MQM8700/U1``).
    director_part : str
        The director switch that is made of the same ASICs (``MF0;core-A:MCS8500/L16/U2``).
    radix : int
        Ports for cables; an aggregation node sits on the port after the last.
    speed : Speed
        The fastest that its ports do.
    device_id : int
    """

    part: str
    director_part: str
    radix: int
    speed: Speed
    device_id: int


@dataclass(frozen=True)
class NodeType:
    """A machine as the compute fabric sees it.

    Parameters
    ----------
    devices : tuple of str
        RDMA devices on the compute fabric, one per rail, in rail order.
    speed : Speed
    device_id : int
    switch : str
        Key into `SWITCHES`: what its reference design is built with; empty where there is none.
    """

    devices: tuple[str, ...]
    speed: Speed = Speed.UNKNOWN
    device_id: int = 0
    switch: str = ""


SWITCHES = {
    "SX6036": SwitchModel("SX6036", "SX6536", 36, Speed.FDR, 0xC738),
    "SB7800": SwitchModel("MSB7800", "MCS7500", 36, Speed.EDR, 0xCF08),
    "QM8700": SwitchModel("MQM8700", "MCS8500", 40, Speed.HDR, 0xD2F0),
    "QM9700": SwitchModel("MQM9700", "MCS9500", 64, Speed.NDR, 0xD2F2),
    # Four Quantum-3 in one box, a lane of every port on each: drawn as the one switch of 144 ports that its manuals speak of.
    # Its node description is a guess after the others'.
    "Q3400": SwitchModel("Q3400", "Q3400", 144, Speed.XDR, 0xD2F4),
}
"""SwitchX-2, Switch-IB 2, Quantum, Quantum-2 and Quantum-3."""


def _mlx5(*numbers: int) -> tuple[str, ...]:
    return tuple(f"mlx5_{number}" for number in numbers)


NODE_TYPES = {
    # DGX-1 white paper WP-08437: four single-port ConnectX-4
    "dgx-1": NodeType(_mlx5(0, 1, 2, 3), Speed.EDR, 0x1013, "SB7800"),
    # The dump of Selene (Mellanox/ufm_sdk_3.0): eight ConnectX-6; mlx5_4 and mlx5_5 are on the storage fabric
    "dgx-a100": NodeType(_mlx5(0, 1, 2, 3, 6, 7, 8, 9), Speed.HDR, 0x101B, "QM8700"),
    # DGX H100 User Guide, table 6: eight ConnectX-7, in the order of their GPUs
    "dgx-h100": NodeType(_mlx5(0, 3, 4, 5, 6, 9, 10, 11), Speed.NDR, 0x1021, "QM9700"),
    # DGX B200 User Guide: eight ConnectX-7; it does not say how they are numbered
    "dgx-b200": NodeType(_mlx5(0, 1, 2, 3, 4, 5, 6, 7), Speed.NDR, 0x1021, "QM9700"),
    # DGX SuperPOD Reference Architecture with DGX B300 and XDR: eight ConnectX-8; it does not say how they are numbered
    "dgx-b300": NodeType(_mlx5(0, 1, 2, 3, 4, 5, 6, 7), Speed.XDR, 0x1023, "Q3400"),
    # DGX GB200 User Guide: a compute tray of the rack has four ConnectX-7; it does not say how they are numbered
    "gb200-nvl72": NodeType(_mlx5(0, 1, 2, 3), Speed.NDR, 0x1021, "QM9700"),
}
