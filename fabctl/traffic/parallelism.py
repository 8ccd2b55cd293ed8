"""Ranks of a training to places in its grid, and the groups that share all places but one.

Megatron-LM numbers ranks in the order tp-cp-ep-dp-pp, tensor parallel ranks first (``RankGenerator`` in
``megatron/core/parallel_state.py``), or tp-cp-ep-pp-dp (``--use-tp-pp-dp-mapping``), as the Llama 3 training did. Attention and
dense layers see the grid (pp, dp, cp, tp); experts see the same ranks as (pp, edp, ep, etp), where ``edp = dp cp tp / (ep etp)``
ranks hold copies of the same experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.traffic.training_spec import RANK_ORDERS, Parallelism

Int32 = NDArray[np.int32]

DENSE = ("pp", "dp", "cp", "tp")
EXPERT = ("pp", "edp", "ep", "etp")
"""Axes, slowest first."""


@dataclass(frozen=True)
class Grid:
    """Sizes of the axes along which a training is cut; rank 0 has place 0 on each.

    Parameters
    ----------
    tp, cp, dp, pp : int
    ep, etp, edp : int
        Of the experts: ``ep * etp * edp == dp * cp * tp``.
    pp_last : bool
        Whether the stages are the slowest axis, and not the replicas.
    """

    tp: int
    cp: int
    dp: int
    pp: int
    ep: int
    etp: int
    edp: int
    pp_last: bool = True

    @property
    def n_ranks(self) -> int:
        """Number of ranks."""
        return self.tp * self.cp * self.dp * self.pp

    def groups(self, *axes: str) -> Int32:
        """Return the groups of ranks that differ in some axes only.

        Parameters
        ----------
        axes : str
            Of `DENSE` or of `EXPERT`, fastest first.

        Returns
        -------
        int32 array of shape (n_groups, members)
            Groups in the order of their first rank, members in that of their communicator.
        """
        names = DENSE if set(axes) <= set(DENSE) else EXPERT
        names = names if self.pp_last else (names[1], names[0], *names[2:])
        ranks = np.arange(self.n_ranks, dtype=np.int32).reshape([getattr(self, name) for name in names])
        last = [names.index(axis) for axis in reversed(axes)]
        kept = [axis for axis in range(len(names)) if axis not in last]
        groups = ranks.transpose([*kept, *last]).reshape(-1, int(np.prod([ranks.shape[axis] for axis in last])))
        return groups[np.argsort(groups[:, 0], kind="stable")]

    def stage(self, ranks: Int32) -> Int32:
        """Return the pipeline stage of each rank, same shape."""
        return ranks // (self.n_ranks // self.pp if self.pp_last else self.tp * self.cp) % self.pp


def grid(cut: Parallelism, n_ranks: int) -> Grid:
    """Return the grid of a number of ranks.

    Raises
    ------
    InputError
        If the degrees do not multiply to the number of ranks, a group is larger than the job, or experts would be on other
        stages than dense layers.
    """
    degrees = {"tp": cut.tp, "cp": cut.cp, "pp": cut.pp, "dp": cut.dp or 1}
    for key, degree in {**degrees, "ep": cut.ep}.items():
        if degree > n_ranks:
            raise InputError(f"groups of {key} {degree} are larger than the job, {n_ranks} ranks", where=cut.where(key))
    said = " x ".join(f"{key} {degree}" for key, degree in degrees.items() if degree > 1) or "tp 1"
    product = cut.inner * (cut.dp or 1)
    if n_ranks % product or (cut.dp and product != n_ranks):
        raise InputError(
            f"the job has {n_ranks} ranks, and {said} is {product}",
            where=cut.where(*(("dp",) if cut.dp else ()), ""),
            hint=_other_dp(cut, n_ranks),
        )
    dp = n_ranks // cut.inner
    shared = cut.tp * cut.cp * dp
    ep, etp = cut.ep, cut.etp
    if shared % (ep * etp):
        raise InputError(
            f"{shared} ranks of a stage do not divide into ep {ep} x etp {etp} = {ep * etp}",
            where=cut.where("ep", "etp"),
            hint="tp x cp x dp must be a multiple of ep x etp",
        )
    pp_last = cut.rank_order == RANK_ORDERS[0]
    if not pp_last and cut.pp > 1 and (ep, etp) != (1, cut.tp) and ep * etp != cut.tp * cut.cp:
        raise InputError(
            f"in the order {cut.rank_order} experts and dense layers are on the same stages only where ep x etp is tp x cp",
            where=cut.where("rank_order"),
            hint=f"ep x etp is {ep * etp}, tp x cp is {cut.tp * cut.cp}; {RANK_ORDERS[0]} takes any",
        )
    return Grid(cut.tp, cut.cp, dp, cut.pp, ep, etp, shared // (ep * etp), pp_last)


def stage_layers(cut: Parallelism, layers: int) -> NDArray[np.int64]:
    """Return the layers of each virtual stage.

    Returns
    -------
    int64 array of shape (pp * interleave,)
        Stage `k` runs on pipeline rank ``k % pp``.
    """
    stages = cut.pp * cut.interleave
    if cut.layers_per_stage:
        return np.array(cut.layers_per_stage, dtype=np.int64)
    dealt = np.full(stages, (layers + 2 * cut.ends_as_layers) // stages, dtype=np.int64)
    if cut.ends_as_layers:
        dealt[0] -= 1
        dealt[-1] -= 1
    return dealt


def _other_dp(cut: Parallelism, n_ranks: int) -> str:
    if n_ranks % cut.inner == 0:
        return f"dp: {n_ranks // cut.inner} uses all ranks; without 'dp' it is what is left"
    return f"tp x cp x pp = {cut.inner} must divide the ranks of the job, hosts x ranks_per_host"
