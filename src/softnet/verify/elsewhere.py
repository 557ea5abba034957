# SPDX-License-Identifier: GPL-2.0-or-later
"""Searches on a cluster (softnet.cluster): what goes to its workers, and the outcomes in the order of the configurations.

A piece is what one process gets with ``--jobs``: a configuration, or those that share code and time. The verdicts are the same,
with the same counts: a search knows nothing of where it runs, but for the seconds that it may take.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softnet.cluster.client import Cluster
from softnet.cluster.shipped import Shipment
from softnet.errors import SoftnetError
from softnet.lang.native.compile import builder_kind
from softnet.verify.compiled import PackedCode, packed_code, unpack_code
from softnet.verify.model import build_model, shared_code
from softnet.verify.parallel import Found, Searches, Work, several, stopped_outcomes, work_of

if TYPE_CHECKING:
    from softnet.cluster.wanted import Wanted
    from softnet.verify.model import Config
    from softnet.verify.search import Limits, Outcome

STOP_SECONDS: Final = 3.0
"""How long a worker that is asked to stop may take to say how far its search came."""
NOT_TOLD: Final = SoftnetError("a search ended without an outcome")
LESS: Final = "if memory ran out: less for each search (--memory), or fewer workers on a machine"
ROOT: Final = str(Path(__file__).parents[1])


@dataclass
class SearchShipment(Shipment):
    """What searches need on another machine: patches, property files, and code that more than one of them needs."""

    root: str = ROOT
    """Where softnet is on the client."""
    coded: list[Config] = field(default_factory=list)
    """A configuration for each code that is sent."""

    def compiled(self, *, sent: bool) -> list[PackedCode]:
        """The code that the searches begin with."""
        codes = (packed_code(self.placed(config) if sent else config) for config in self.coded)
        return [code for code in codes if code is not None]

    def unpack(self) -> None:
        """In a worker: into its cache."""
        for packed in self.native.get(builder_kind(), []):
            unpack_code(packed)

    def placed(self, config: Config) -> Config:
        """The configuration with its files where this machine, a worker, has them."""
        patches, files = (tuple(map(self.place_of, paths)) for paths in (config.patches, config.property_files))
        return replace(config, patches=patches, property_files=files)

    def told(self, outcome: Outcome, config: Config) -> Outcome:
        """The outcome as the client would have it: with its own places of files."""
        places = {self.place_of(path): path for path in self.files} | {ROOT: self.root}

        def here(text: str) -> str:
            for there, place in places.items():
                text = text.replace(there, place)
            return text

        failure = outcome.failure
        if failure is not None:
            failure = replace(failure, text=here(failure.text), where=here(failure.where))
        return replace(outcome, config=config, failure=failure, changes=tuple(map(here, outcome.changes)))


@dataclass(frozen=True)
class Group:
    """A piece of work: searches one after the other, up to a violation."""

    work: Work

    @property
    def count(self) -> int:
        """How many searches, if none finds a violation."""
        return len(self.work.configs)

    def make(self, shipment: SearchShipment, tell: Callable[[int, Found], None], stopped: Callable[[], bool]) -> list[Found]:
        """In a worker: the outcomes, each with its seconds."""
        configs = self.work.configs
        work = replace(self.work, configs=tuple(map(shipment.placed, configs)), time=self.work.time.received())
        found: list[Found] = []
        for (outcome, seconds), config in zip(several(work, stopped), configs, strict=False):
            found.append((shipment.told(outcome, config), seconds))
            tell(len(found) - 1, found[-1])
        return found


def shipment_of(works: Sequence[Work]) -> SearchShipment:
    """What these searches need. Code that one process needs, it makes itself."""
    shipment = SearchShipment()
    for config in {(c.patches, c.property_files): c for work in works for c in work.configs}.values():
        for path in (*config.patches, *config.property_files):
            shipment.add_file(path)
    for config in {c.kernel: c for work in works for c in work.configs}.values():
        shipment.add_memo(build_model(replace(config, patches=(), property_files=())).program)
    needed_by = Counter(code for work in works for code in {shared_code(config) for config in work.configs})
    by_code = {shared_code(work.configs[0]): work.configs[0] for work in works}
    shipment.coded += [config for code, config in by_code.items() if needed_by[code] > 1]
    return shipment


def search_on(
    wanted: Wanted,
    configs: Sequence[Config],
    limits: Limits | Sequence[Limits],
    max_seconds: float,
    *,
    together: float | None = None,
    strict: bool = False,
) -> Searches:
    """The searches on a cluster, as search_all() has them in processes of this machine.

    A search whose worker died is done again by another one, with the seconds that the first one had. What they share
    ``together`` is the time of all workers there are when the first search is sent. Raises SoftnetError.
    """
    works = work_of(configs, limits, max_seconds, together, strict, jobs=1)
    with Cluster(wanted, shipment_of(works)) as cluster:
        # The clock starts when the workers have what they need.
        works = work_of(configs, limits, max_seconds, together, strict, jobs=cluster.workers)
        yield from _in_order(cluster, works)


def _in_order(cluster: Cluster, works: Sequence[Work]) -> Searches:
    firsts = list(itertools.accumulate((len(work.configs) for work in works), initial=0))

    def pieces() -> Iterator[tuple[int, Group]]:
        # Each is asked for when a worker has nothing to do: its seconds are counted from then on.
        for first, work in zip(firsts, works, strict=False):
            yield first, Group(replace(work, time=work.time.sent()))

    coming, there = cluster.run(pieces(), ahead=1), dict[int, Any]()
    for first, work in zip(firsts, works, strict=False):
        for at, config in enumerate(work.configs, first):
            try:
                while at not in there:
                    there.update([next(coming, (at, NOT_TOLD))])
            except KeyboardInterrupt:
                there.update(cluster.last(first, STOP_SECONDS))
                left = [there.get(number) for number in range(at, first + len(work.configs))]
                yield from stopped_outcomes(work.configs[at - first :], work.limits, left)
                return
            if isinstance(there[at], SoftnetError):
                raise SoftnetError(there[at].message, where=config.name, found=there[at].found, hint=LESS)
            yield there[at]
            if there[at][0].failure is not None:
                return
