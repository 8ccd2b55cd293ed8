"""`RemoteGpuPlan`: GPUs that hosts without any drive over the fabric, and what that costs them and the jobs that run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteGpu:
    """A GPU that a client drives over the fabric.

    Parameters
    ----------
    client : str
        Host that has no GPU of its own, or wants another.
    client_port : str
        HCA port that it uses.
    server, gpu : str
        Host and name of the GPU there.
    server_port : str
        HCA port that serves the GPU.
    switches : int
        Switches on the way there.
    call_us : float
        Round trip of a call and its answer on the network, microseconds: the least that a call takes longer than a local one.
    local_gb_s : float
        What a copy from host memory to this GPU reaches on the server itself, GB/s.
    alone_gb_s : float
        The same from the client's memory, nothing else on the fabric.
    shared_gb_s : float
        The same beside the jobs and the other clients, in the slower direction.
    bound : str
        What bounds it beside the jobs: a cable, or a link inside the server.
    """

    client: str
    client_port: str
    server: str
    gpu: str
    server_port: str
    switches: int
    call_us: float
    local_gb_s: float
    alone_gb_s: float
    shared_gb_s: float
    bound: str

    @property
    def kept(self) -> float:
        """What others leave of the bandwidth that it has alone: 1 is all of it."""
        return self.shared_gb_s / self.alone_gb_s


@dataclass(frozen=True)
class Burden:
    """What a running job loses to remote GPUs.

    Parameters
    ----------
    job : str
    phase : str
        Its busiest phase.
    kept : float
        Share of its rate that the flow which loses most keeps, while all copies run.
    """

    job: str
    phase: str
    kept: float


@dataclass(frozen=True)
class RemoteGpuPlan:
    """Which GPUs clients get.

    Parameters
    ----------
    node : str
        Node type of the servers.
    routes : str
    free_hosts, free_gpus : int
        What there was to choose from.
    chosen : tuple of RemoteGpu
        By client.
    burdens : tuple of Burden
        Of the jobs that run.
    assumptions, notes : tuple of str
    """

    node: str
    routes: str
    free_hosts: int
    free_gpus: int
    chosen: tuple[RemoteGpu, ...]
    burdens: tuple[Burden, ...]
    assumptions: tuple[str, ...]
    notes: tuple[str, ...] = ()
