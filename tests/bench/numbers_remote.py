"""Remote GPUs: rCUDA's published numbers."""

from __future__ import annotations

from published import Number

from fabctl.bench.remote_copy import copy_gb_s

LOCAL_GB_S = 10.06
"""bandwidthTest on the K40's own host, as published."""
CONNECT_IB_GB_S = 2 * 54.54 / 8 * 0.9937
"""Two ports of 4xFDR: payload."""

NUMBERS = [
    Number(
        what="rCUDA over dual-port Connect-IB, K40: copies",
        unit="GB/s",
        published=9.91,
        source="rcuda.net, Connect-IB performance: 98.5 % of 10.06 GB/s",
        predicted=lambda: copy_gb_s(min(CONNECT_IB_GB_S, 12.0), LOCAL_GB_S),
        tolerance=0.005,
        reason="the pipeline's chunk, 512 KiB, is set to meet it",
        fitted=True,
    ),
    Number(
        what="rCUDA over Connect-IB: longer run of an application",
        unit="% of its time",
        published=0.19,
        source="CLUSTER 2014, 10.1109/CLUSTER.2014.6968737",
        predicted=lambda: 100 * (LOCAL_GB_S / copy_gb_s(min(CONNECT_IB_GB_S, 12.0), LOCAL_GB_S) - 1),
        tolerance=0.1,
        reason="",
        explained="predicted is the bound, for an application that does nothing but copy; 0.19 % is one that copies for an eighth of "
        "its time, which is not published",
    ),
]
