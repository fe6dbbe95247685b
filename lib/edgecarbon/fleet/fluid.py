"""What the simulator's time is made of: events, links that share bandwidth, and machines that share processor cores.

Sharing is fluid: rates are constant between events, and change at once when a transfer or a task begins or ends.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgecarbon.fleet.model import Network

_SAME_MOMENT = 1e-12
_CLOSE = 1e-9
_OWN_PACE = -1

Call = Callable[..., None]


class Clock:
    """Events in order of time. Those of one moment go together: only then are shared rates worked out anew."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Call, tuple[Any, ...]]] = []
        self._count = 0

    def at(self, time_s: float, call: Call, *arguments: Any) -> None:
        self._count += 1  # of two events at one time, the first that was made comes first
        heapq.heappush(self._events, (time_s, self._count, call, arguments))

    def run(self, settle: Iterable[Call]) -> None:
        """Until nothing is left to happen; `settle` are called before, and after each moment."""
        events, settle = self._events, tuple(settle)
        for one in settle:
            one()
        while events:
            until_s = events[0][0] + _SAME_MOMENT * (1 + events[0][0])
            while events and events[0][0] <= until_s:
                self.now_s, _, call, arguments = heapq.heappop(events)
                call(*arguments)
            for one in settle:
                one()


@dataclass(slots=True, eq=False)
class Flow:
    """A transfer. Bytes are on the wire.

    Attributes:
        cap: what the pair's own link carries, bytes a second.
        uses: which shared resources it takes bandwidth of, and how many times over.
        limit: the resource that holds `rate` down, or -1 for its own cap.
        label: what the caller knows it by.
    """

    source: int
    target: int
    wire_bytes: float
    delay_s: float
    cap: float
    uses: tuple[tuple[int, int], ...]
    departed: Call
    arrived: Call
    label: int | None
    start_s: float = 0.0
    end_s: float = 0.0
    left: float = 0.0
    rate: float = 0.0
    limit: int = _OWN_PACE
    since_s: float = 0.0
    version: int = 0


@dataclass(slots=True, eq=False)
class _Bucket:
    """What a machine may send at once; it fills up at the machine's bandwidth while nothing is under way."""

    held_bytes: float
    since_s: float = 0.0
    under_way: int = 0

    def take(self, wire_bytes: float, now_s: float, bytes_per_s: float, most_bytes: float) -> float:
        if not most_bytes:
            return 0.0
        if not self.under_way:
            self.held_bytes = min(most_bytes, self.held_bytes + bytes_per_s * (now_s - self.since_s))
        self.under_way += 1
        taken = min(wire_bytes, self.held_bytes)
        self.held_bytes -= taken
        return taken

    def rest(self, now_s: float) -> None:
        self.under_way, self.since_s = self.under_way - 1, now_s


@dataclass(eq=False)
class Links:
    """Transfers between machines: one at a time for each directed pair, in the order of `send`.

    Shared by what is under way, max-min fairly (Bertsekas & Gallager 1992, section 6.5.2): each machine's bandwidth up and
    down, and each access point's airtime. A change is followed only as far as it has an effect: the rates of a region are
    worked out with all others held, and the region grows until every transfer has a bottleneck, where it is full and none
    is faster. Rates of which that holds are the max-min fair ones, and no others are.

    Attributes:
        delay_blocks: a transfer holds its pair for its delay also, as in A = max(F, A') + τ with the delay in τ; else the
            next follows while it is still in flight.
        record: is called with each transfer that has arrived.
        burst_bytes: what a machine sends at once after a rest that was long enough, before its bandwidth holds it (tc-tbf(8)
            calls it a token bucket).
    """

    clock: Clock
    network: Network
    delay_blocks: bool = True
    record: Callable[[Flow], None] | None = None
    burst_bytes: float = 0.0
    _queues: dict[tuple[int, int], deque[Flow]] = field(default_factory=lambda: defaultdict(deque))
    _on: dict[int, dict[Flow, int]] = field(default_factory=lambda: defaultdict(dict))
    _new: list[Flow] = field(default_factory=list)
    _touched: dict[int, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        network = self.network
        parts = (network.up_bytes_per_s, network.down_bytes_per_s, network.airtime_bytes_per_s)
        self._capacity: list[float] = np.concatenate(parts).astype(float).tolist()
        self._media: list[int] = network.access_point.tolist()
        self._buckets = [_Bucket(self.burst_bytes) for _ in self._media]

    def send(
        self, source: int, target: int, wire_bytes: float, departed: Call, arrived: Call,
        label: int | None = None, delay_s: float | None = None,
    ) -> None:  # fmt: skip
        """Queue a transfer; `departed` is called when the sender is done with it, `arrived` when the receiver has it."""
        if delay_s is None:
            delay_s = float(self.network.delay_s[source, target])
        cap = float(self.network.bytes_per_s[source, target])
        flow = Flow(source, target, wire_bytes, delay_s, cap, self._uses(source, target), departed, arrived, label)
        queue = self._queues[source, target]
        queue.append(flow)
        if len(queue) == 1:
            self._begin(flow)

    def _uses(self, source: int, target: int) -> tuple[tuple[int, int], ...]:
        machines = len(self._media)
        crossings = {source: 1, machines + target: 1}
        for machine in (source, target):
            if self._media[machine] >= 0:
                medium = 2 * machines + self._media[machine]
                crossings[medium] = crossings.get(medium, 0) + 1
        return tuple((resource, times) for resource, times in crossings.items() if self._capacity[resource] < np.inf)

    def _begin(self, flow: Flow) -> None:
        flow.start_s = self.clock.now_s
        if self.delay_blocks and flow.delay_s > 0:
            self.clock.at(flow.start_s + flow.delay_s, self._flow, flow)
        else:
            self._flow(flow)

    def _flow(self, flow: Flow) -> None:
        bucket = self._buckets[flow.source]
        free_bytes = bucket.take(flow.wire_bytes, self.clock.now_s, self._capacity[flow.source], self.burst_bytes)
        flow.left, flow.since_s = flow.wire_bytes - free_bytes, self.clock.now_s
        if flow.left <= 0 or not flow.uses:
            self.clock.at(self.clock.now_s + max(0.0, flow.left) / flow.cap, self._finish, flow, 0)
            return
        self._new.append(flow)
        for resource, times in flow.uses:
            self._on[resource][flow] = times
            self._touched[resource] = None

    def _finish(self, flow: Flow, version: int) -> None:
        if version != flow.version:
            return  # its rate has changed since
        if version:
            for resource, _ in flow.uses:
                del self._on[resource][flow]
                self._touched[resource] = None
        self._buckets[flow.source].rest(self.clock.now_s)
        queue = self._queues[flow.source, flow.target]
        queue.popleft()
        if queue:
            self._begin(queue[0])
        flow.departed()
        if self.delay_blocks or flow.delay_s <= 0:
            self._arrive(flow)
        else:
            self.clock.at(self.clock.now_s + flow.delay_s, self._arrive, flow)

    def _arrive(self, flow: Flow) -> None:
        flow.end_s = self.clock.now_s
        if self.record is not None:
            self.record(flow)
        flow.arrived()

    # -- rates --------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Give the transfers under way their rates, after some have begun or ended."""
        region = dict.fromkeys(self._new)
        for resource in self._touched:
            region.update((flow, None) for flow in self._on[resource] if flow.limit == resource)
        self._new, self._touched = [], {}
        while region:
            rates = self._filled(region)
            affected = self._affected(region, rates)
            if not affected:
                self._commit(rates)
                return
            region.update(affected)

    def _filled(self, region: dict[Flow, None]) -> dict[Flow, tuple[float, int]]:
        """Rate and limit of each flow of the region, the others' held: all rise together until something holds them."""
        spare: dict[int, float] = {}
        weight: dict[int, int] = {}
        for flow in region:
            for resource, times in flow.uses:
                if resource not in spare:
                    others = (n * other.rate for other, n in self._on[resource].items() if other not in region)
                    spare[resource], weight[resource] = self._capacity[resource] - sum(others), 0
                weight[resource] += times
        rising, rates = dict(region), dict[Flow, tuple[float, int]]()
        while rising:
            levels = {resource: max(0.0, spare[resource]) / n for resource, n in weight.items() if n}
            level = min(levels.values())
            held = {flow: (flow.cap, _OWN_PACE) for flow in rising if flow.cap <= level}
            if not held:
                full = [resource for resource, value in levels.items() if value <= level * (1 + _SAME_MOMENT)]
                held = {flow: (level, resource) for resource in full for flow in self._on[resource] if flow in rising}
            for flow, (rate, _) in held.items():
                del rising[flow]
                for resource, times in flow.uses:
                    spare[resource] -= times * rate
                    weight[resource] -= times
            rates |= held
        return rates

    def _affected(self, region: dict[Flow, None], rates: dict[Flow, tuple[float, int]]) -> dict[Flow, None]:
        """Flows outside whose rate cannot stay as it is beside the region's new rates."""
        affected: dict[Flow, None] = {}
        for resource in dict.fromkeys(resource for flow in region for resource, _ in flow.uses):
            on, capacity = self._on[resource], self._capacity[resource]
            inside = [rates[flow] for flow in on if flow in region]
            if len(inside) == len(on):
                continue
            used = sum(times * (rates[flow][0] if flow in region else flow.rate) for flow, times in on.items())
            loose, over = used < capacity * (1 - _CLOSE), used > capacity * (1 + _CLOSE)
            fastest = max(rate for rate, _ in inside)
            slowed = min((rate for rate, limit in inside if limit == resource), default=np.inf)
            for flow in on:
                if flow in region:
                    continue
                freed = flow.limit == resource and (loose or fastest > flow.rate * (1 + _CLOSE))
                if freed or over or flow.rate > slowed * (1 + _CLOSE):
                    affected[flow] = None
        return affected

    def _commit(self, rates: dict[Flow, tuple[float, int]]) -> None:
        now_s = self.clock.now_s
        for flow, (rate, limit) in rates.items():
            flow.limit = limit
            if abs(rate - flow.rate) <= _SAME_MOMENT * rate:
                continue
            flow.left = max(0.0, flow.left - flow.rate * (now_s - flow.since_s))
            flow.rate, flow.since_s, flow.version = rate, now_s, flow.version + 1
            self.clock.at(now_s + flow.left / rate, self._finish, flow, flow.version)


class Cores:
    """Processor time: every task at full speed, or all at the same share of it while there are more tasks than cores.

    `slowdown` is the time of a task while all cores are busy over that of the task alone.

    With `count` cores, a virtual clock runs at the speed that each task has, so that a task's end on it never moves
    (processor sharing: Parekh & Gallager 1993, virtual time).
    """

    def __init__(self, clock: Clock, count: int | None, slowdown: float = 1.0) -> None:
        self.clock, self.count, self.slowdown = clock, count, slowdown
        self._tasks: list[tuple[float, int, Call]] = []
        self._virtual_s = self._since_s = 0.0
        self._started = self._version = 0
        self._changed = False

    def run(self, work_s: float, done: Call) -> None:
        """A task of `work_s` seconds at full speed."""
        if self.count is None:
            self.clock.at(self.clock.now_s + work_s, done)
            return
        self._advance()
        self._started += 1
        heapq.heappush(self._tasks, (self._virtual_s + work_s, self._started, done))
        self._changed = True

    def settle(self) -> None:
        if self._changed and self._tasks:
            self._version += 1
            left_s = max(0.0, self._tasks[0][0] - self._virtual_s)
            self.clock.at(self.clock.now_s + left_s / self._speed(), self._finish, self._version)
        self._changed = False

    def _speed(self) -> float:
        count, tasks = self.count or 1, max(1, len(self._tasks))
        # Busy neighbours take caches, memory and clock rate: by so much when all cores are busy, less when fewer are.
        crowd = min(1.0, (tasks - 1) / (count - 1)) if count > 1 else 0.0
        return min(1.0, count / tasks) / (1 + (self.slowdown - 1) * crowd)

    def _advance(self) -> None:
        self._virtual_s += (self.clock.now_s - self._since_s) * self._speed()
        self._since_s = self.clock.now_s

    def _finish(self, version: int) -> None:
        if version != self._version:
            return
        self._advance()
        done = [heapq.heappop(self._tasks)]
        while self._tasks and self._tasks[0][0] <= done[0][0] * (1 + _SAME_MOMENT):
            done.append(heapq.heappop(self._tasks))
        self._changed = True
        for _, _, call in done:
            call()
