# SPDX-License-Identifier: GPL-2.0-or-later
"""Governors of idle states, written to be obvious: they keep all that ever happened and work everything out of it anew.

What they must do is in the comments at the head of the kernel's drivers/cpuidle/governors/*.c. Nothing here is taken from the
model; times are nanoseconds. States are ordered: a deeper one takes longer to leave and needs a longer stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field

US = 1000
EVER = 1 << 60


@dataclass(frozen=True)
class State:
    exit: int
    residency: int
    polling: bool = False
    off: bool = False


@dataclass(frozen=True)
class Now:
    """What a governor can see when it is asked. ``timer``: ns to the first timer; ``tick``: to the tick, None if it has stopped."""

    timer: int
    tick: int | None

    @property
    def event(self) -> int:
        """The next event if the tick goes on."""
        return self.timer if self.tick is None else min(self.timer, self.tick)


@dataclass(frozen=True)
class Idled:
    """How idling went. ``ns`` with the way out; ``span``: from choice to the end of it all."""

    state: int
    ns: int
    span: int
    by_tick: bool
    polled_out: bool


@dataclass(frozen=True)
class Choice:
    state: int
    stop_tick: bool


@dataclass
class Governor:
    states: list[State]
    tick_ns: int
    limit: int
    version: str

    def boot(self) -> None:
        """A device is zeroed: its first choice looks back at an idling of 0 ns in state 0, which menu takes for a refusal."""

    def on(self) -> list[int]:
        return [i for i, s in enumerate(self.states) if not s.off]

    def deepest_within(self, below: int, ns: int) -> int:
        """The deepest enabled state below one that pays within ``ns``, else the shallowest enabled one; itself if there is none."""
        shallower = [i for i in self.on() if i < below]
        return max([i for i in shallower if self.states[i].residency <= ns], default=min(shallower, default=below))

    def with_tick(self, idx: int, predicted: int, now: Now, event: int, first: int = 0) -> Choice:
        """The tick stops for a long stay in a state that is none of polling; one that goes on bounds the state."""
        if now.tick is None or (not self.states[idx].polling and predicted >= self.tick_ns):
            return Choice(idx, True)
        if idx > first and self.states[idx].residency > event:
            idx = self.deepest_within(idx, event)
        return Choice(idx, False)


@dataclass
class Menu(Governor):
    factors: list[tuple[int, int]] = field(default_factory=list)
    """(bucket, share of the timer's time in 1024ths) of each idling."""
    intervals: list[int | None] = field(default_factory=lambda: [0] * 8)
    asked: tuple[int, int] = (0, 0)
    """The timer and the bucket of the last choice."""

    def factor(self, bucket: int) -> int:
        f = 8192
        for b, share in self.factors:
            if b == bucket:
                f = f - f // 8 + share
        return f

    def typical(self, predicted_us: int) -> int | None:
        xs = [x for x in self.intervals[-8:] if x is not None]
        while xs:
            n, low, high = len(xs), min(xs), max(xs)
            if self.version == "6.1" and low >= predicted_us:
                return None
            if self.version != "6.1" and high == 0:
                return None
            avg = sum(xs) // n
            if self.version in ("6.1", "6.12"):
                var = sum((x - avg) ** 2 for x in xs) // n
            else:
                var = sum(x * x for x in xs) // n - avg * avg
            if var <= 400 or (n >= 6 and avg * avg > 36 * var):
                return avg
            if n <= 6:
                return None
            drop_low = self.version not in ("6.1", "6.12") and avg - low > high - avg
            xs = [x for x in xs if x != (low if drop_low else high)]
        return None

    def bucket(self, ns: int) -> int:
        return sum(ns >= 10**k * US for k in range(1, 6))

    def by_timer(self, now: Now) -> int:
        """The time to the timer, corrected, in us."""
        self.asked = now.timer, self.bucket(now.timer)
        return (now.timer * self.factor(self.asked[1]) + 8192 * 500) // (8192 * 1000)

    def choose(self, now: Now) -> Choice:
        event, limit = now.event, self.limit
        if self.version == "6.1":
            timer_us = self.by_timer(now)
            typical = self.typical(timer_us)
            predicted = US * (timer_us if typical is None else min(timer_us, typical))
            if now.tick is None and predicted < self.tick_ns:
                predicted = now.timer
        else:
            typical = self.typical(0)
            guess = (0xFFFFFFFF if typical is None else typical) * US
            if guess > 15 * US or now.tick is None:
                predicted = min(guess, self.by_timer(now) * US)
                near = self.version == "7.3" and now.timer <= 2 * self.tick_ns
                if now.tick is None and predicted < self.tick_ns and not near:
                    predicted = now.timer
            else:
                predicted, event = guess, self.tick_ns // 2
                self.asked = EVER, 5
        timer = self.asked[0]
        second = self.states[1]
        if limit == 0 or ((timer < second.residency or limit < second.exit) and not self.states[0].off):
            return Choice(0, not self.states[0].polling)
        if self.version == "6.1" and now.tick is not None:
            limit = min(limit, predicted)
        return self.fit(now, predicted, limit, timer, event)

    def fit(self, now: Now, predicted: int, limit: int, timer: int, event: int) -> Choice:
        s, on = self.states, self.on()
        old = self.version == "6.1"
        # The shallowest enabled state is not asked whether it fits.
        fitting = [i for i in on if s[i].residency <= predicted and s[i].exit <= limit]
        idx = max(fitting, default=min(on, default=0))
        beyond = [i for i in on if i not in fitting and (old or s[i].exit <= limit)]
        if not beyond or (old and s[beyond[0]].residency <= predicted):
            return self.with_tick(idx, predicted, now, event)
        more = s[beyond[0]]
        if (
            s[idx].polling
            and more.exit <= (limit if old else predicted)
            and more.residency <= timer
            and (old or more.residency < 15 * US)
        ):
            return self.with_tick(beyond[0], more.residency, now, event)
        if predicted < self.tick_ns:
            return self.with_tick(idx, predicted, now, event)
        if now.tick is not None:
            return self.with_tick(idx, s[idx].residency, now, event)
        return Choice(beyond[0] if s[idx].residency < self.tick_ns and more.residency <= event else idx, True)

    def boot(self) -> None:
        self.refused()

    def refused(self) -> None:
        self.intervals.append(None)

    def idled(self, how: Idled) -> None:
        timer, bucket = self.asked
        s = self.states[how.state]
        if how.by_tick and timer > self.tick_ns:
            ns = 45_000 * US
        elif s.polling and how.polled_out:
            ns = timer
        else:
            ns = how.ns - s.exit if how.ns > 2 * s.exit else how.ns // 2
        ns = min(ns, timer)
        self.factors.append((bucket, 1024 * ns // timer if timer and ns < 50_000 * US else 1024))
        self.intervals.append(ns // US)


@dataclass
class Teo(Governor):
    events: list[tuple[str, int]] = field(default_factory=list)
    """("hit" or "early", bin) of each idling; the bin above the deepest state is "after the tick" (6.12)."""
    notes: list[tuple[bool, bool, bool]] = field(default_factory=list)
    """(short, counted for the tick, by the tick) of each idling."""
    sleep: int = 0

    def boot(self) -> None:
        self.idled(Idled(0, 0, 0, False, False))

    def metric(self, kind: str, place: int) -> int:
        """What a bin holds: 1024 for each event, an eighth lost at each later one."""
        m = 0
        for k, b in self.events:
            m = self.decayed(m) + 1024 * (k == kind and b == place)
        return m

    def noted(self, which: int) -> int:
        m = 0
        for note in self.notes:
            m = self.decayed(m) + 1024 * note[which]
        return m

    def decayed(self, m: int) -> int:
        return 0 if self.version == "7.3" and m < 8 else m - m // 8

    def total(self) -> int:
        """All bins, or (6.18) a sum that decays by itself."""
        if self.version == "6.18":
            m = 0
            for _ in self.events:
                m = m - m // 8 + 1024
            return m
        bins = range(len(self.states) + (self.version == "6.12" and self.states[-1].residency < self.tick_ns))
        return sum(self.metric(kind, b) for kind in ("hit", "early") for b in bins)

    def choose(self, now: Now) -> Choice:
        return self.choose_old(now) if self.version == "6.1" else self.choose_new(now)

    def choose_old(self, now: Now) -> Choice:
        s, on = self.states, self.on()
        self.sleep = duration = now.timer
        first = min(on, default=0)
        candidates = [i for i in on if s[i].residency <= duration]
        if not on or len(candidates) < 2 or candidates[-1] == first:
            return self.with_tick(first, duration, now, now.event, first)
        idx = candidates[-1]
        early = [self.metric("early", b) for b in range(len(s))]
        recent = [b for k, b in self.events[-9:] if k == "early"]
        recents = [recent.count(b) for b in range(len(s))]
        hits = sum(self.metric("hit", b) for b in range(idx))
        by_early = 2 * sum(early[:idx]) > self.total() - hits
        by_recent = sum(recents[:idx]) > 4
        constraint = max([i for i in candidates if i and s[i].exit <= self.limit], default=0)
        if by_early or by_recent:
            good = (idx, duration)
            for i in reversed(range(idx)):
                span = (s[i].residency + s[i + 1].residency) // 2
                ok = now.tick is not None or span >= self.tick_ns
                enough = (not by_recent or 2 * sum(recents[i:idx]) > sum(recents[:idx])) and (
                    not by_early or 2 * sum(early[i:idx]) > sum(early[:idx])
                )
                if enough:
                    idx, duration = (i, span) if ok and not s[i].off else good
                    break
                if s[i].off:
                    continue
                if not ok and good[0] == idx:
                    break
                if ok:
                    good = (i, span)
        return self.with_tick(min(idx, constraint), duration, now, now.event, first)

    def choose_new(self, now: Now) -> Choice:
        s, on, tick = self.states, self.on(), self.tick_ns
        self.sleep, event = EVER, tick // 2
        if not on:
            return Choice(0, False)
        first, idx = (0 if not s[0].off else max(on)), max(on)
        if self.version != "6.1" and s[0].off:
            first = min(on)
        if idx == first:
            return self.with_tick(idx, s[idx].residency, now, event, first)
        early = [self.metric("early", b) for b in range(len(s))]
        hits = sum(self.metric("hit", b) for b in range(idx))
        total = self.total()
        constraint = max([i for i in on if i and s[i].exit <= self.limit], default=0)
        if 2 * sum(early[:idx]) > total - hits:
            idx = self.alternative(now, idx, first, early)
        if self.version == "6.12" and idx == 0:
            self.sleep = now.timer
            return Choice(0, False)
        idx = min(idx, constraint)
        near = idx == 0 or s[idx].residency < 15 * US
        if self.version == "6.12":
            knows = idx == 0 or (s[0].polling and near)
        else:
            knows = near and (2 * self.noted(0) >= total or self.limit < 7500) and (self.version == "6.18" or now.tick is not None)
        if knows:
            return Choice(idx, False)
        self.sleep = duration = now.timer
        event = now.event
        if self.version == "7.3" and now.tick is None and duration > 2 * tick and s[idx].residency < tick:
            return Choice(max([i for i in on if idx < i <= constraint and s[i].residency <= duration], default=idx), True)
        if idx == 0:
            return Choice(0, False)
        if s[idx].residency > duration:
            idx = self.deepest_within(idx, duration)
        many = {
            "6.12": sum(early) > total // 2 + total // 8,
            "6.18": self.noted(1) > total // 2 + total // 8,
            "7.3": 3 * self.noted(1) >= 2 * total,
        }[self.version]
        if s[idx].residency < tick and many:
            duration = tick // 2
        return self.with_tick(idx, duration, now, event, first)

    def alternative(self, now: Now, idx: int, first: int, early: list[int]) -> int:
        s, candidate = self.states, idx
        if self.version == "7.3":
            fullest = max(range(len(s) - 1), key=lambda b: (early[b], b))
            below = [i for i in self.on() if first <= i < candidate]
            good = [i for i in below if 2 * sum(early[i:candidate]) > sum(early[:candidate]) and i <= fullest]
            return max(good, default=min(below, default=idx))
        deep = [i for i in self.on() if i < candidate and (now.tick is not None or s[i].residency >= self.tick_ns)]
        most = max((i for i in range(candidate) if 2 * sum(early[i:candidate]) > sum(early[:candidate])), default=None)
        if most is None:
            return idx
        if most in deep:
            return most
        return min([i for i in deep if i > most], default=idx)

    def refused(self) -> None:
        """Nothing is learned."""

    def idled(self, how: Idled) -> None:
        s, tick = self.states, self.tick_ns
        lat = s[how.state].exit
        ns = how.ns - lat // 2 if how.ns >= lat else how.ns // 2
        net = how.polled_out or (how.by_tick and self.sleep > tick)
        if self.version in ("6.1", "6.12"):
            unknown = net or how.span >= self.sleep
        else:
            unknown = how.polled_out if self.version == "7.3" else net
        if unknown:
            ns = EVER
        timer_bin = max(i for i, x in enumerate(s) if x.residency <= self.sleep)
        place = max(i for i, x in enumerate(s) if x.residency <= min(self.sleep, ns))
        short = not unknown and (how.ns < lat or ns < 15 * US)
        if self.version == "6.12" and s[-1].residency < tick <= self.sleep:
            timer_bin = len(s)
            place = len(s) if tick <= ns else place
        hit = place == timer_bin
        if self.version == "7.3":
            self.idled_73(how, ns, hit and self.sleep - ns < lat // 2, timer_bin, place, short)
            return
        self.events.append(("hit" if hit else "early", place))
        self.notes.append((short, not hit and tick <= ns, False))

    def idled_73(self, how: Idled, ns: int, hit: bool, timer_bin: int, place: int, short: bool) -> None:
        decayed = sum(self.decayed(self.metric(kind, b)) for kind in ("hit", "early") for b in range(len(self.states)))
        ticks = self.decayed(self.noted(2)) + 1024 * how.by_tick
        early = self.decayed(self.noted(1))
        before = False
        if how.by_tick and 3 * ticks > 2 * (decayed + 1024):
            self.events.append(("hit", len(self.states) - 1))
        elif how.by_tick and 3 * early < 2 * decayed:
            self.events.append(("hit", timer_bin))
        elif hit:
            self.events.append(("hit", timer_bin))
        else:
            self.events.append(("early", place))
            before = ns <= self.tick_ns
        self.notes.append((short, before, how.by_tick))


@dataclass
class Haltpoll(Governor):
    poll: int = 0
    last: int = 0
    over: bool = False

    def choose(self, now: Now) -> Choice:
        if self.limit == 0:
            return Choice(0, False)
        if self.poll == 0 or (self.last == 0 and self.over):
            return Choice(1, True)
        return Choice(0, False)

    def refused(self) -> None:
        """Nothing is learned."""

    def idled(self, how: Idled) -> None:
        self.last, self.over = how.state, how.polled_out
        if how.state == 0:
            return
        if self.poll < how.ns <= 200 * US:
            self.poll = min(max(2 * self.poll, 50 * US), 200 * US)
        elif how.ns > 200 * US:
            self.poll //= 2
            if self.version != "6.1" and self.poll < 50 * US:
                self.poll = 0
