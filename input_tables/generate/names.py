"""Readable names for synthetic topics."""

from __future__ import annotations

_BROAD = {
    "cooking": "baking grilling soups vegan fermenting pastry spices noodles",
    "travel": "trains islands camping cities hostels deserts cruises maps",
    "music": "jazz techno opera folk guitar choir vinyl drums",
    "sport": "climbing football rowing tennis running judo skiing chess-boxing",
    "science": "physics genetics astronomy geology chemistry ecology optics statistics",
    "garden": "roses compost bonsai orchards bees herbs ponds succulents",
    "cinema": "westerns animation documentaries noir silent-film musicals horror editing",
    "games": "puzzles strategy roleplay chess racing arcade cards speedruns",
    "craft": "knitting pottery woodwork leather origami weaving glass printing",
    "history": "rome vikings railways castles archives maritime mediaeval coins",
    "photo": "portraits macro street darkroom drones wildlife lenses landscapes",
    "money": "saving stocks taxes pensions housing insurance budgets startups",
    "health": "sleep yoga nutrition running-injuries mindfulness teeth allergies posture",
    "tech": "python databases robots networks security compilers retro-computing sensors",
    "books": "poetry crime fantasy essays biographies comics short-stories translations",
    "home": "tiling lighting heating painting storage tools insulation furniture",
}


def topic_names(broad: int, fine: int) -> tuple[list[str], list[int]]:
    """Returns (names of `broad` broad then `fine` sub-topics, broad topic of each sub-topic)."""
    words = list(_BROAD)
    names = [words[n] if n < len(words) else f"field-{n + 1}" for n in range(broad)]
    parents = [n % broad for n in range(fine)]
    for n, parent in enumerate(parents):
        rank = n // broad
        known = _BROAD.get(names[parent], "").split()
        names.append(known[rank] if rank < len(known) else f"{names[parent]}-{rank + 1}")
    return names, parents
