"""Two evaluations of the same sentences: what has changed, and how sure that is."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Counts = Mapping[int, tuple[float, float]]  # sentence -> its part of a figure's numerator and denominator
DRAWS = 2000  # of the bootstrap


def figure(parts: np.ndarray) -> np.ndarray:
    """Ratio of the sums of (..., sentences, 2), 0 where there is nothing to divide by."""
    above, below = parts[..., 0].sum(-1), parts[..., 1].sum(-1)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def change(before: Counts, after: Counts) -> dict[str, Any]:
    """A figure over the sentences that both have: before, after, and the 95 % interval of the difference, which is that of a paired
    bootstrap: sentences are drawn with replacement, the same for both."""
    both = sorted(before.keys() & after.keys())
    first, second = (np.array([counts[i] for i in both], float).reshape(-1, 2) for counts in (before, after))
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, len(both), len(both)) for _ in range(DRAWS)] if both else []
    differences = [float(figure(second[rows]) - figure(first[rows])) for rows in drawn]
    low, high = np.percentile(differences, [2.5, 97.5]).tolist() if both else (0.0, 0.0)
    return {"sentences": len(both), "before": float(figure(first)), "after": float(figure(second)), "low": low, "high": high}


def changes(before: list[dict], after: list[dict]) -> list[dict]:
    """The figures of two tables that are known sentence by sentence, in the tables' order."""
    earlier = {row["task"]: row.get("each", {}) for row in before}
    return [
        {"task": row["task"], "figure": name, **change(earlier[row["task"]][name], counts)}
        for row in after
        for name, counts in row.get("each", {}).items()
        if name in earlier.get(row["task"], {})
    ]


def markdown(rows: list[dict], titles: Mapping[str, str]) -> str:
    """The changes as a Markdown table. titles: what the figures are called."""
    lines = ["| task | figure | sentences | before | after | change | 95 % interval |", "|---|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        numbers = (
            f"{row['before']:.1f} | {row['after']:.1f} | {row['after'] - row['before']:+.1f} | {row['low']:+.1f} to {row['high']:+.1f}"
        )
        lines.append(f"| {row['task']} | {titles[row['figure']]} | {row['sentences']} | {numbers} |")
    return "\n".join(lines)
