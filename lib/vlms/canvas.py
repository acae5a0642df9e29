"""`Geometry`: the sizes of the synthetic canvases, which follow a token grid (all chapters)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """A square canvas aligned to a square token grid (paper Sec. 3.1, Table 4).

    grid: tokens per side; px: pixels per token side; item, gap: sizes in tokens; without: contents
    that the paper does not show this model (orange then stands in for brown).
    Raises ValueError if three items do not fit.
    """

    grid: int
    px: int
    item: int
    gap: int
    without: tuple[str, ...] = ()

    def __post_init__(self):
        if min(self.grid, self.px, self.item) < 1 or self.gap < 0:
            raise ValueError(f"grid, px and item must be positive and gap >= 0: {self}")
        self.cells(vertical=False)

    @property
    def side(self) -> int:
        """Canvas side in pixels."""
        return self.grid * self.px

    def cells(self, vertical: bool, n: int = 3) -> list[tuple[int, int]]:
        """(row, column) of the top-left token of each of n items, first to last."""
        span = n * self.item + (n - 1) * self.gap
        if span > self.grid:
            raise ValueError(f"{n} items need {span} tokens a side, the grid has {self.grid}")
        first, cross = (self.grid - span) // 2, (self.grid - self.item) // 2
        along = [first + i * (self.item + self.gap) for i in range(n)]
        return [(a, cross) if vertical else (cross, a) for a in along]


GEOMETRIES = {
    "mini": Geometry(12, 8, 2, 2),
    "qwen2-vl": Geometry(12, 28, 2, 2),
    "gemma3": Geometry(16, 56, 3, 3),
    "pixtral": Geometry(15, 16, 2, 2, without=("brown", "bomb")),
}
MINI = GEOMETRIES["mini"]
