"""The catalogue of GPUs, switches and HCAs: whole, consistent with itself and with what topology specs name."""

from __future__ import annotations

import catalog_page
import pytest

from fabctl.generate.hardware import NODE_TYPES, SWITCHES, SwitchModel
from fabctl.model.catalog import Gpu, Hca, SwitchAsic, gpu, gpus, hca, hcas, switch_asic, switch_asics
from fabctl.units import Speed

NVLINK_GB_S = {
    "P100": 160,
    "V100": 300,
    "A100": 600,
    "A800": 400,
    "H100": 900,
    "H800": 400,
    "H200": 900,
    "B200": 1800,
    "GB200": 1800,
}
"""Bandwidth of all NVLinks of a GPU, both directions together, as the data sheets print it."""


@pytest.mark.parametrize("name", NVLINK_GB_S)
def test_nvlinks_add_up_to_the_data_sheets_sum(name: str) -> None:
    model = gpu(name)
    assert model is not None
    assert 2 * model.nvlinks * model.nvlink_gb_s == NVLINK_GB_S[name]


@pytest.mark.parametrize("model", gpus().values(), ids=gpus())
def test_every_gpu_has_a_source_and_peaks_that_grow_as_precision_falls(model: Gpu) -> None:
    assert model.source
    order = [model.tflops[name] for name in ("fp32", "tf32", "fp16", "fp8") if name in model.tflops]
    assert order == sorted(order)
    assert model.tflops.get("bf16", model.tflops.get("fp16", 0)) == model.tflops.get("fp16", 0)
    assert model.memory_gb_s > 0


def test_names_are_found_in_upper_and_lower_case_and_unknown_ones_are_none() -> None:
    assert gpu("h100") is gpu("H100")
    assert gpu("V1000") is gpu("") is None
    assert switch_asic(0) is None
    assert hca(0) is None


@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES)
def test_switches_of_topology_specs_are_those_of_the_catalogue(switch: SwitchModel) -> None:
    asic = switch_asic(switch.device_id)
    assert asic is not None
    assert (asic.ports, Speed[asic.speed]) == (switch.radix, switch.speed)


def test_hcas_of_topology_specs_are_those_of_the_catalogue() -> None:
    for node in NODE_TYPES.values():
        model = hca(node.device_id)
        assert model is not None
        assert Speed[model.speed] == node.speed


def test_a_device_id_stands_once_and_speeds_are_known() -> None:
    devices: list[SwitchAsic | Hca] = [*switch_asics(), *hcas()]
    ids = [device_id for device in devices for device_id in device.device_ids]
    assert len(set(ids)) == len(ids)
    for device in devices:
        assert Speed[device.speed]
        assert device.source
    for asic in switch_asics():
        assert asic.streaming_trees in ("", "none", "per-switch", "per-port")
        assert (asic.streaming_trees == "none") == (asic.sharp == 1)
        assert asic.sharp > 0 or not asic.sharp_payload_bytes


def test_the_page_holds_the_catalogue() -> None:
    assert catalog_page.page_tables() == catalog_page.tables(), "python tests/catalog_page.py --write"
