"""Which axes are one loop: unification, the order of loops, and the axes that are unrolled.

Every variable and every statement owns its axes. Axes that meet in an access are united, so that producer and
consumer can share a loop, unless the union would give one owner the same axis twice (`W[i]` and `W[j]` in one
statement): such an edge stays a boundary, where the variable needs memory along that axis.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from graphad.ir.sizes import Extent, Size, evaluate, names
from graphad.loops.ir import Access, Program, Statement
from graphad.loops.lower import DEFAULT_SIZE, UNROLL_ALWAYS

UNROLL_UP_TO = 16
UNROLLED_COPIES = 64
SIBLINGS_UP_TO = 60


class Axes:
    """The classes of united axes of a program.

    `order` lists the classes that become loops, outermost first; `rank_of` gives a class its place in it.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.parent = list(range(len(program.extents)))
        self.owners: list[set[int]] = [set() for _ in self.parent]
        for statement in program.statements:
            for access in statement.accesses():
                self._own(access.var.axes, id(access.var))
            self._own(statement.axes, id(statement))
        self.made: dict[tuple[Extent, int], int] = {}
        self.unroll_limit = self._unroll_limit()
        self._unify()
        self.order: list[int] = self._order()
        self.rank_of = {c: k for k, c in enumerate(self.order)}

    def _own(self, axes: Iterable[int], owner: int) -> None:
        for axis in axes:
            self.owners[axis].add(owner)

    def find(self, axis: int) -> int:
        """The class of an axis."""
        while self.parent[axis] != axis:
            self.parent[axis] = self.parent[self.parent[axis]]
            axis = self.parent[axis]
        return axis

    def unite(self, left: int, right: int) -> bool:
        """Unite two classes; refused where an owner would have the class twice."""
        left, right = self.find(left), self.find(right)
        if left == right:
            return True
        if self.owners[left] & self.owners[right]:
            return False
        self.parent[right] = left
        self.owners[left] |= self.owners[right]
        return True

    def like(self, axis: int) -> int:
        """A new axis in the class of another."""
        new = self.program.axis(self.program.extents[axis])
        found = self.find(axis)
        self.parent.append(found)
        if found not in self.rank_of and not self.unrolled(found):
            self.rank_of[found] = len(self.order)
            self.order.append(found)
        self.owners.append(set())
        return new

    def new(self, extent: Extent, level: int = 0) -> int:
        """An axis for loops that are made after the classes were: one for each length, and level of such loops."""
        known = self.made.get((extent, level))
        if known is not None:
            return self.like(known)
        new = self.made[extent, level] = self.program.axis(extent)
        self.parent.append(new)
        self.owners.append(set())
        if not self.unrolled(new):
            self.rank_of[new] = len(self.order)
            self.order.append(new)
        return new

    def extent(self, axis: int) -> Extent:
        """The length of an axis."""
        return self.program.extents[axis]

    def size(self, axis: int) -> int:
        """The length of an axis at the hints."""
        return self.estimate(self.extent(axis))

    def estimate(self, extent: Extent) -> int:
        """An extent at the hints."""
        return evaluate(extent, {n: self.program.hints.get(n, DEFAULT_SIZE) for n in names(extent)})

    def unrolled(self, axis: int) -> bool:
        """Whether the axis has no loop: its points are written out."""
        extent = self.extent(axis)
        return isinstance(extent, int) and extent <= self.unroll_limit

    def loops(self, statement: Statement) -> list[int]:
        """The classes around a statement, outermost first."""
        classes = {self.find(a) for a in statement.axes if not self.unrolled(a)} | set(statement.extra)
        return sorted(classes, key=self.rank_of.__getitem__)

    def aligned(self, access: Access, dimension: int) -> int | None:
        """The class of a dimension, where the access runs along it from end to end; else None."""
        axis = access.indices[dimension].axis
        if axis is None:
            return None
        found = self.find(axis)
        return found if found == self.find(access.var.axes[dimension]) else None

    def aligned_on(self, access: Access, axis: int) -> int | None:
        """The dimension along which an access is aligned on a class, or None."""
        for dimension in range(len(access.indices)):
            if self.aligned(access, dimension) == axis:
                return dimension
        return None

    # ------------------------------------------------------------------ decisions

    def _unroll_limit(self) -> int:
        """The largest literal extent to unroll: 4, or up to 16 while statements stay few."""
        for limit in range(UNROLL_UP_TO, UNROLL_ALWAYS, -1):
            copies = [self._copies(s, limit) for s in self.program.statements]
            if max(copies, default=1) <= UNROLLED_COPIES and sum(copies) <= 4 * UNROLLED_COPIES + len(copies):
                return limit
        return UNROLL_ALWAYS

    def _copies(self, statement: Statement, limit: int) -> int:
        total = 1
        for axis in statement.axes:
            extent = self.extent(axis)
            if isinstance(extent, int) and extent <= limit:
                total *= max(extent, 1)
        return total

    def _unify(self) -> None:
        """Kruskal: the edges that are dearest to break (largest variables) first, inputs last, then siblings."""
        edges = [a for s in self.program.statements for a in s.accesses() if a.indices]
        edges.sort(key=lambda a: (a.var.role in ("input", "constant"), -_symbolic(a), -len(a.var.shape)))
        for access in edges:
            for dimension, index in enumerate(access.indices):
                axis = index.axis
                if axis is not None and self.extent(axis) == access.var.shape[dimension]:
                    self.unite(axis, access.var.axes[dimension])
        classes = self._loop_classes()
        if len(classes) <= SIBLINGS_UP_TO:
            for left, right in itertools.combinations(classes, 2):
                if self.extent(left) == self.extent(right):
                    self.unite(left, right)

    def _loop_classes(self) -> list[int]:
        return sorted({self.find(a) for s in self.program.statements for a in s.axes if not self.unrolled(a)})

    def _order(self) -> list[int]:
        """Fewest broken edges outermost, then as the arrays lie in memory, then the longest.

        Of loops that are equal in all that, as over the two bodies of a pair, those with the fewest sums are outside.
        """
        classes = self._loop_classes()
        broken = dict.fromkeys(classes, 0)
        layout = dict.fromkeys(classes, 0.0)
        summed = dict.fromkeys(classes, 0)
        writers = self.program.writers()
        for reader in self.program.statements:
            if reader.kind == "call":
                continue
            inside = {self.find(a) for a in reader.axes}
            for access in reader.reads():
                for writer in writers.get(access.var, ()):
                    for c in inside & {self.find(a) for a in writer.axes} & broken.keys():
                        broken[c] += not self._carried(writer.out, access, c)
            for access in reader.accesses():
                if access.var.fixed:
                    self._weigh(access, layout)
            if reader.accumulates:
                for c in (inside & summed.keys()) - {self.find(a) for a in reader.out.axes()}:
                    summed[c] += 1
        order = sorted(classes, key=lambda c: (broken[c], layout[c], -self.size(c), c))
        alike: dict[object, list[int]] = {}
        for place, c in enumerate(order):
            alike.setdefault((broken[c], layout[c], self.extent(c)), []).append(place)
        for places in alike.values():
            members = sorted((order[place] for place in places), key=lambda c: (summed[c], c))
            for place, c in zip(places, members, strict=True):
                order[place] = c
        return order

    def _carried(self, written: Access, read: Access, axis: int) -> bool:
        return any(self.aligned(written, d) == axis and self.aligned(read, d) == axis for d in range(len(read.indices)))

    def _weigh(self, access: Access, layout: dict[int, float]) -> None:
        stored = [access.indices[d] for d in access.var.order] if access.indices else []
        lying = [self.find(a) for index in stored for a in index.axes() if self.find(a) in layout]
        for place, c in enumerate(lying):
            layout[c] += place - (len(lying) - 1) / 2


def _symbolic(access: Access) -> int:
    return sum(isinstance(extent, Size) for extent in access.var.shape)
