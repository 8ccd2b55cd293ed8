"""Max-min fairness by its definition, and completion times against progressive filling in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabctl.congestion.maxmin import Completion, FairRates, complete, fair_rates
from fabctl.errors import InputError
from fabctl.model.phases import Channels

ENDLESS = Fraction(-1)


class Traffic(NamedTuple):
    """Flows in fractions: the channels of each with its share on them, sizes, and the channels' rates."""

    paths: list[dict[int, Fraction]]
    sizes: list[Fraction]
    rates: list[Fraction]
    split: bool

    @property
    def channels(self) -> Channels:
        ptr = np.cumsum([0, *(len(path) for path in self.paths)])
        return Channels(ptr, np.array([channel for path in self.paths for channel in path], dtype=np.int32))

    @property
    def share(self) -> np.ndarray | None:
        return np.array([float(part) for path in self.paths for part in path.values()]) if self.split else None

    @property
    def capacity(self) -> np.ndarray:
        return np.array([float(rate) for rate in self.rates])

    def complete(self) -> Completion:
        sizes = np.array([np.inf if size == ENDLESS else float(size) for size in self.sizes])
        return complete(self.channels, sizes, self.capacity, self.share)

    def fair_rates(self) -> FairRates:
        return fair_rates(self.channels, self.capacity, self.share)


@st.composite
def traffics(draw: st.DrawFn, *, max_channels: int = 6, max_flows: int = 9) -> Traffic:
    """Few channels and small numbers, so that ties are common."""
    n_channels, n_flows = draw(st.integers(1, max_channels)), draw(st.integers(0, max_flows))
    split = draw(st.booleans())
    part = st.fractions(Fraction(1, 3), 2, max_denominator=3) if split else st.just(Fraction(1))
    path = st.dictionaries(st.integers(0, n_channels - 1), part, max_size=4)
    size = st.one_of(st.integers(0, 6).map(Fraction), st.fractions(0, 9, max_denominator=7), st.just(ENDLESS))
    return Traffic(
        draw(st.lists(path, min_size=n_flows, max_size=n_flows)),
        draw(st.lists(size, min_size=n_flows, max_size=n_flows)),
        draw(st.lists(st.integers(1, 4).map(Fraction), min_size=n_channels, max_size=n_channels)),
        split,
    )


def filled(traffic: Traffic, running: set[int]) -> dict[int, Fraction]:
    """Return the max-min fair rates of running flows: raise all, fix those of the channel that is full first, and so on."""
    rates: dict[int, Fraction] = {}
    free = {flow for flow in running if traffic.paths[flow]}
    left = list(traffic.rates)
    while free:
        wanted = [sum(traffic.paths[flow].get(channel, Fraction(0)) for flow in free) for channel in range(len(left))]
        level = min(rest / want for rest, want in zip(left, wanted, strict=True) if want)
        full = {channel for channel, want in enumerate(wanted) if want and left[channel] / want == level}
        for flow in sorted(free):
            if full & set(traffic.paths[flow]):
                rates[flow] = level
                free.remove(flow)
                for channel, part in traffic.paths[flow].items():
                    left[channel] -= part * level
    return rates


def ends(traffic: Traffic) -> list[Fraction]:
    """Return when each flow ends, filling all channels again whenever one does."""
    left = {flow: size for flow, size in enumerate(traffic.sizes) if size}
    done = {flow: Fraction(0) for flow in range(len(traffic.sizes)) if flow not in left or (not traffic.paths[flow])}
    done |= {flow: ENDLESS for flow, size in left.items() if size == ENDLESS}
    left = {flow: size for flow, size in left.items() if traffic.paths[flow]}
    now = Fraction(0)
    while any(size != ENDLESS for size in left.values()):
        rates = filled(traffic, set(left))
        wait = min(size / rates[flow] for flow, size in left.items() if size != ENDLESS)
        now += wait
        for flow, size in list(left.items()):
            if size == ENDLESS:
                continue
            left[flow] -= wait * rates[flow]
            if not left[flow]:
                done[flow] = now
                del left[flow]
    return [done[flow] for flow in range(len(traffic.sizes))]


@settings(max_examples=200, deadline=None)
@given(traffics())
def test_flows_end_when_exact_fractions_say(traffic: Traffic) -> None:
    wanted = [np.inf if end == ENDLESS else float(end) for end in ends(traffic)]
    found = traffic.complete()
    np.testing.assert_allclose(found.seconds, wanted, rtol=1e-12)
    assert found.makespan == max([end for end in found.seconds if np.isfinite(end)], default=0.0)


@settings(max_examples=120, deadline=None)
@given(traffics(max_flows=14))
def test_rates_are_fair_by_definition(traffic: Traffic) -> None:
    """No channel carries more than it can; every flow has a full channel on which no other flow is faster."""
    found = traffic.fair_rates()
    exact = filled(traffic, set(range(len(traffic.paths))))
    load = np.zeros(len(traffic.rates))
    for flow, path in enumerate(traffic.paths):
        for channel, part in path.items():
            load[channel] += float(part) * found.rate[flow]
    assert np.all(load <= traffic.capacity * (1 + 1e-12))
    for flow, path in enumerate(traffic.paths):
        if not path:
            assert (found.rate[flow], found.bottleneck[flow]) == (np.inf, -1)
            continue
        assert found.rate[flow] == pytest.approx(float(exact[flow]), rel=1e-12)
        limit = int(found.bottleneck[flow])
        assert limit in path
        assert load[limit] == pytest.approx(traffic.capacity[limit], rel=1e-12)
        others = [found.rate[other] for other, channels in enumerate(traffic.paths) if limit in channels]
        assert found.rate[flow] >= max(others) * (1 - 1e-12)


@settings(max_examples=60, deadline=None)
@given(traffics())
def test_the_first_rates_are_those_of_the_flows_that_run(traffic: Traffic) -> None:
    found = traffic.complete()
    running = [flow for flow, size in enumerate(traffic.sizes) if size and traffic.paths[flow]]
    only = traffic._replace(paths=[traffic.paths[flow] for flow in running])
    np.testing.assert_array_equal(found.first_rate[running], only.fair_rates().rate)
    np.testing.assert_array_equal(found.bottleneck[running], only.fair_rates().bottleneck)
    idle = np.setdiff1d(np.arange(len(traffic.sizes)), running)
    assert np.all(found.first_rate[idle] == np.inf)
    assert np.all(found.bottleneck[idle] == -1)


@settings(max_examples=60, deadline=None)
@given(traffics(), st.integers(0, 99), st.floats(1e-6, 1e12))
def test_scale_and_order_do_not_matter(traffic: Traffic, seed: int, factor: float) -> None:
    found = traffic.complete()
    sizes = np.array([np.inf if size == ENDLESS else float(size) for size in traffic.sizes])
    more_bytes = complete(traffic.channels, sizes * factor, traffic.capacity, traffic.share)
    faster = complete(traffic.channels, sizes, traffic.capacity * factor, traffic.share)
    np.testing.assert_allclose(more_bytes.seconds, found.seconds * factor, rtol=1e-11)
    np.testing.assert_allclose(faster.seconds, found.seconds / factor, rtol=1e-11)
    rng = np.random.default_rng(seed)
    flows, channels = rng.permutation(len(sizes)), rng.permutation(len(traffic.rates))
    rates = list(traffic.rates)
    for old, new in enumerate(channels.tolist()):
        rates[new] = traffic.rates[old]
    renamed = [{int(channels[channel]): part for channel, part in traffic.paths[flow].items()} for flow in flows]
    other = traffic._replace(paths=renamed, sizes=[traffic.sizes[flow] for flow in flows], rates=rates).complete()
    np.testing.assert_allclose(other.seconds, found.seconds[flows], rtol=1e-12)


def random_flows(seed: int, n_flows: int, n_channels: int) -> tuple[Channels, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    paths = [rng.choice(n_channels, rng.integers(1, 6), replace=False) for _ in range(n_flows)]
    channels = Channels(np.cumsum([0, *map(len, paths)]), np.concatenate(paths).astype(np.int32))
    return channels, rng.choice([1.0, 2.0, 2.5, 10.0], n_channels), rng


@pytest.mark.parametrize("seed", range(5))
def test_flows_of_one_size_never_fill_again(seed: int) -> None:
    """The fastest end first, and nothing slower gains by that: all is said by the first rates and the hottest channel."""
    channels, rates, _ = random_flows(seed, 1000, 200)
    found = complete(channels, np.full(1000, 3e9), rates * 1e9)
    assert found.solves == 1
    np.testing.assert_allclose(found.seconds, 3e9 / found.first_rate, rtol=1e-15)
    drain_s = 3 * np.bincount(channels.index, minlength=200) / rates
    assert found.makespan == pytest.approx(drain_s.max(), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_no_channel_carries_more_than_it_can(seed: int) -> None:
    """Until a channel's last flow ends, it has carried all its bytes."""
    channels, rates, rng = random_flows(seed, 1000, 200)
    sizes = 10 ** rng.uniform(0, 9, 1000)
    share = rng.uniform(0.1, 1.0, len(channels.index))
    found = complete(channels, sizes, rates, share)
    flow = np.repeat(np.arange(1000), np.diff(channels.ptr))
    carried = np.bincount(channels.index, weights=share * sizes[flow], minlength=200)
    last = np.zeros(200)
    np.maximum.at(last, channels.index, found.seconds[flow])
    assert np.all(carried <= last * rates * (1 + 1e-12))
    assert found.solves > 500


def plain_ends(use: np.ndarray, sizes: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return when flows end, filling everything again whenever one does: row f of `use` has the shares of flow f."""
    left, done, now = sizes.copy(), np.full(len(sizes), np.inf), 0.0
    running = np.ones(len(sizes), dtype=bool)
    while np.any(running & np.isfinite(left)):
        rate, free, rest = np.zeros(len(sizes)), running.copy(), rates.copy()
        while free.any():
            wanted = use[free].sum(axis=0)
            level = np.divide(rest, wanted, out=np.full(len(rates), np.inf), where=wanted > 0)
            fixed = free & np.any(use[:, level <= level.min() * (1 + 1e-12)] > 0, axis=1)
            rate[fixed] = level.min()
            rest -= rate[fixed] @ use[fixed]
            free &= ~fixed
        wait = np.divide(left, rate, out=np.full(len(sizes), np.inf), where=running)
        ending = wait <= wait.min() * (1 + 1e-12)
        now += wait.min()
        left[running] -= rate[running] * wait.min()
        done[ending] = now
        running &= ~ending
    return done


@pytest.mark.parametrize("seed", range(12))
def test_flows_end_as_if_all_were_filled_again(seed: int) -> None:
    """From few channels that all share to many that hardly meet, with and without splitting and endless flows."""
    n_channels = [8, 30, 100, 300][seed % 4]
    channels, rates, rng = random_flows(seed, 150, n_channels)
    share = rng.uniform(0.05, 1.0, len(channels.index)) if seed % 2 else np.ones(len(channels.index))
    sizes = 10 ** rng.uniform(0, 3, 150)
    sizes[rng.random(150) < seed / 40] = np.inf
    use = np.zeros((150, n_channels))
    use[np.repeat(np.arange(150), np.diff(channels.ptr)), channels.index] = share
    found = complete(channels, sizes, rates, share if seed % 2 else None)
    np.testing.assert_allclose(found.seconds, plain_ends(use, sizes, rates), rtol=1e-9)
    assert found.solves > 20


def test_ends_that_rounding_keeps_apart_are_one() -> None:
    """1,000 flows end after a third of a second by ten times as many roundings; what they leave is filled again once."""
    scale = np.random.default_rng(1).uniform(1e-3, 1e6, 1000)
    pair = np.arange(1000, dtype=np.int32).repeat(2)
    sizes = np.column_stack([scale * 0.1, scale * 0.2]).ravel()
    found = complete(Channels(np.arange(2001), pair), sizes, scale * 0.6)
    assert len(np.unique(found.seconds[::2])) > 1
    np.testing.assert_allclose(found.seconds[::2], 1 / 3, rtol=1e-15)
    np.testing.assert_allclose(found.seconds[1::2], 1 / 2, rtol=1e-15)
    assert found.solves == 2


def test_a_million_to_one_ends_together() -> None:
    """What is left for the last flow of a channel is a millionth of it, and still exact."""
    n = 200_000
    index = np.column_stack([np.zeros(n), np.arange(1, n + 1)]).ravel().astype(np.int32)
    rates = np.full(n + 1, 50e9)
    found = complete(Channels(np.arange(0, 2 * n + 1, 2), index), np.full(n, 1e9), rates)
    np.testing.assert_allclose(found.seconds, n / 50, rtol=1e-13)
    assert found.solves == 1


def test_small_shares_are_not_lost_beside_large_ones() -> None:
    """A flow that puts a ten-millionth of itself on a channel that a thousand others fill, and the rest on one of its own."""
    n = 1000
    index = np.append(np.zeros(n), [0, 1]).astype(np.int32)
    channels = Channels(np.append(np.arange(n + 1), n + 2), index)
    share = np.append(np.linspace(0.5, 1.5, n), [1e-7, 1.0])
    rate = fair_rates(channels, np.array([1.0, 1.0]), share).rate
    np.testing.assert_allclose(rate[:n], 1 / (n + 1e-7), rtol=1e-13)
    alone = Channels(np.append(np.arange(n + 1), n + 1), index[: n + 1])
    assert fair_rates(alone, np.array([1.0]), share[: n + 1]).rate[n] == pytest.approx(1 / (n + 1e-7), rel=1e-13)
    held = np.append(np.arange(0, 2 * n + 1, 2), 2 * n + 1)
    paths = np.append(np.column_stack([np.zeros(n), np.arange(1, n + 1)]).ravel(), 0).astype(np.int32)
    shares = np.append(np.column_stack([np.linspace(0.5, 1.5, n), np.ones(n)]).ravel(), 1e-7)
    found = fair_rates(Channels(held, paths), np.append(1.0, np.full(n, 5e-4)), shares)
    assert found.rate[n] == pytest.approx(0.5 / 1e-7, rel=1e-12)
    assert found.bottleneck[n] == 0


def test_endless_flows_keep_their_share() -> None:
    """One channel of 6 B/s: 3 B beside an endless flow take a second, then it runs alone, and another channel is not its concern."""
    channels = Channels(np.arange(4), np.array([0, 0, 1], dtype=np.int32))
    found = complete(channels, np.array([3.0, np.inf, 6.0]), np.array([6.0, 2.0]))
    assert found.seconds.tolist() == [1.0, np.inf, 3.0]
    assert found.first_rate.tolist() == [3.0, 3.0, 2.0]
    assert (found.makespan, found.solves) == (3.0, 2)


def test_nothing_to_do() -> None:
    none = complete(Channels(np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int32)), np.empty(0), np.empty(0))
    assert (len(none.seconds), none.makespan, none.solves) == (0, 0.0, 0)
    channels = Channels(np.array([0, 0, 1, 1]), np.array([0], dtype=np.int32))
    found = complete(channels, np.array([5.0, 0.0, np.inf]), np.ones(1))
    assert found.seconds.tolist() == [0.0, 0.0, np.inf]
    assert (found.makespan, found.solves) == (0.0, 0)


@pytest.mark.parametrize(
    ("sizes", "rates", "share", "message"),
    [
        ([1.0, -2.0], [1.0, 1.0], None, "flow 1 has a size of -2 bytes"),
        ([np.nan, 1.0], [1.0, 1.0], None, "flow 0 has a size of nan bytes"),
        ([1.0, 1.0], [1.0, 0.0], None, "1 directed channels .* the first: channel 1"),
        ([1.0, 1.0], [np.nan, 0.0], None, "2 directed channels .* the first: channel 0"),
        ([1.0, 1.0], [np.inf, 1.0], None, "1 directed channels"),
        ([1.0, 1.0], [1.0, 1.0], [1.0, 0.0], "not above zero"),
        ([1.0, 1.0], [1.0, 1.0], [1.0, np.inf], "not above zero"),
    ],
)
def test_bad_numbers_are_refused(sizes: list[float], rates: list[float], share: list[float] | None, message: str) -> None:
    channels = Channels(np.arange(3), np.array([0, 1], dtype=np.int32))
    with pytest.raises(InputError, match=message):
        complete(channels, np.array(sizes), np.array(rates), None if share is None else np.array(share))


def test_a_channel_that_nobody_uses_may_have_no_rate() -> None:
    channels = Channels(np.arange(2), np.array([1], dtype=np.int32))
    assert complete(channels, np.array([4.0]), np.array([0.0, 2.0])).seconds.tolist() == [2.0]


def test_any_arrays_run_the_same_kernel() -> None:
    """Read-only, strided and other types of arrays are not compiled for."""
    from fabctl.congestion.maxmin_kernel import run_flows

    ptr, index = np.arange(3)[::1].astype(np.uint16), np.array([0, 9, 1, 9])[::2]
    sizes, rates = np.array([2, 6]), np.broadcast_to(np.float32(2), 2)
    for array in (ptr, index, sizes):
        array.flags.writeable = False
    assert complete(Channels(ptr, index), sizes, rates).seconds.tolist() == [1.0, 3.0]
    assert complete(Channels(ptr, index), sizes, rates, np.broadcast_to(0.5, 2)).seconds.tolist() == [0.5, 1.5]
    assert len(run_flows.signatures) == 1
