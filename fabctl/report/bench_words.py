"""What reports of ``fabctl bench`` and its subcommands say alike: the head, what binds, times, sizes, the closing lines."""

from __future__ import annotations

from collections.abc import Sequence

from fabctl.report.output import counted

KINDS = {
    "latency": "latency",
    "nvlink": "NVLink",
    "c2c": "C2C",
    "pcie": "PCIe",
    "smp": "socket link",
    "memory": "host memory",
    "hca": "HCA",
    "cable": "cable",
    "switch": "switch",
    "nccl": "NCCL",
}
"""What binds, for people."""
UNKNOWN_HOSTS = "unknown: only the fabric is predicted, by rings; --node NODE says what they are"
LONGEST = 80
"""Characters of a node set that a line shows."""


def entry(label: str, *lines: str, width: int = 8) -> list[str]:
    """Return lines of a report's head, the first behind its label, the others below it."""
    return [f"{'' if number else label:{width}}{line}" for number, line in enumerate(lines)]


def job_words(hosts: str, n_hosts: int, ranks_per_host: int) -> str:
    """Return how many ranks a job has, and where.

    Examples
    --------
    >>> job_words("n[1-2]", 2, 8)
    '2 hosts x 8 ranks = 16 ranks: n[1-2]'
    """
    return f"{n_hosts} hosts x {counted(ranks_per_host, 'rank')} = {n_hosts * ranks_per_host} ranks: {cut(hosts)}"


def unknown_hosts(fitting: Sequence[str]) -> list[str]:
    """Return what there is to say of hosts of which nothing says what they are; `fitting` are types whose HCAs fit."""
    return [UNKNOWN_HOSTS, *([f"(by their HCAs they could be: {', '.join(fitting)})"] if fitting else [])]


def counting_on(offloads: Sequence[str]) -> str:
    """Return which offloads a prediction counts on."""
    return f"counting on {', '.join(offloads) or 'no offload'}"


def closing(assumptions: Sequence[str], notes: Sequence[str], title: str = "Assumptions") -> list[str]:
    """Return a report's last lines: assumptions, and notes where there are any."""
    return [
        line for name, lines in ((title, assumptions), ("Notes", notes)) if lines for line in (f"\n{name}", *_indented(lines))
    ]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def limit_words(kind: str, name: str) -> str:
    """Return what binds, for people: ``PCIe PLX0 -> ROOT0``, ``NCCL's channels``, ``latency``."""
    if kind == "nccl":
        return "NCCL's channels"
    return name if kind == "memory" else f"{KINDS[kind]} {name}".strip()


def time_words(time_us: float) -> str:
    """Return a time with nccl-tests' decimals: two below 100 us, one below 10 ms, none above."""
    return f"{time_us:.{0 if time_us >= 10000 else 1 if time_us >= 100 else 2}f}"


def size_words(size_bytes: int) -> str:
    """Return a size to three digits, in powers of 1024 as nccl-tests takes it.

    Examples
    --------
    >>> size_words(8), size_words(1 << 20), size_words((1 << 30) - 4096)
    ('8B', '1M', '1G')
    """
    unit = next((unit for unit in range(3, 0, -1) if size_bytes >= 0.9995 * 1024**unit), 0)
    return f"{size_bytes / 1024**unit:.3g}{'BKMG'[unit]}"


def cut(text: str, longest: int = LONGEST) -> str:
    """Return a text, or its beginning and three dots."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
