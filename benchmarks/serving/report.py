"""Markdown tables of the figures."""

from __future__ import annotations

from typing import Any


def tables(found: dict[str, Any]) -> str:
    """Returns the tables of one catalogue."""
    return "\n\n".join([_paths(found), _stages(found), _models(found)]) + "\n"


def _paths(found: dict[str, Any]) -> str:
    base = found["paths"][0]
    lines = [
        f"### {found['items']:,} items, {found['results']} results, 12 embeddings per user",
        "",
        "| path | tuned to | recall@100 | 1 user p50 ms | p99 ms | CPU ms | x ScaNN | "
        "32 users p50 ms | users/s | users/CPU-s | x ScaNN |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for path in found["paths"]:
        one, many = (path[f"cpu_b{size}_p50_ms"] for size in (1, 32))
        lines.append(
            f"| {path['name']} | {path['note']} | {path['recall']:.3f} | "
            f"{path['wall_b1_p50_ms']:.2f} | {path['wall_b1_p99_ms']:.2f} | {one:.2f} | "
            f"{one / base['cpu_b1_p50_ms']:.2f} | {path['wall_b32_p50_ms']:.1f} | "
            f"{32e3 / path['wall_b32_p50_ms']:,.0f} | {32e3 / many:,.0f} | "
            f"{many / base['cpu_b32_p50_ms']:.2f} |"
        )
    return "\n".join(lines)


def _stages(found: dict[str, Any]) -> str:
    lines = [
        "| ScaNN path, CPU ms | users | embed | search | topic filter | seen and merge | "
        "ids and other outputs | whole | merge share |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row, parts in found["stages"].items():
        for size in (1, 32):
            embed, implicit, both, merged, whole = (part[f"cpu_b{size}_p50_ms"] for part in parts)
            lines.append(
                f"| {row} | {size} | {embed:.2f} | {implicit - embed:.2f} | "
                f"{both - implicit:.2f} | {merged - both:.2f} | {whole - merged:.2f} | "
                f"{whole:.2f} | {(merged - both) / whole:.0%} |"
            )
    return "\n".join(lines)


def _models(found: dict[str, Any]) -> str:
    lines = [
        "| SavedModel | MB on disk | graph MB | save s | load and first call s | resident MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in [path["name"] for path in found["paths"] if path["name"] in found]:
        facts = found[name]
        lines.append(
            f"| {name} | {facts['mb']:.0f} | {facts['graph_mb']:.1f} | {facts['save_s']:.1f} | "
            f"{facts['load_s']:.1f} | {facts['resident_mb']:.0f} |"
        )
    return "\n".join([*lines, "", f"Lists shorter than asked: {found['short_lists']}."])
