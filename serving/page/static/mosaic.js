// The picture of a tile: a small mosaic, the same for the same item every time.
// Its colour is that of the interest that brought the item; stones in other
// colours stand for the other interests that found it too.

const SVG = "http://www.w3.org/2000/svg";
const SHADES = 5;

/** Returns a generator of numbers in [0, 1) that depends on the text alone (FNV-1a, mulberry32). */
function chance(text) {
  let seed = 2166136261;
  for (let place = 0; place < text.length; place += 1) {
    seed = Math.imul(seed ^ text.charCodeAt(place), 16777619);
  }
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let value = Math.imul(seed ^ (seed >>> 15), seed | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
}

/** Returns the corners of a jittered grid; the rim stays straight. */
function corners(columns, rows, random) {
  return Array.from({ length: rows + 1 }, (_, y) => Array.from({ length: columns + 1 }, (_, x) => {
    const dx = x === 0 || x === columns ? 0 : (random() - 0.5) * 0.56;
    const dy = y === 0 || y === rows ? 0 : (random() - 0.5) * 0.56;
    return `${((x + dx) * 20).toFixed(1)} ${((y + dy) * 20).toFixed(1)}`;
  }));
}

/**
 * Draws the mosaic of an item.
 * @param {string} id of the item.
 * @param {string[]} others colour classes of further interests that found it.
 * @param {number} columns, rows of stones.
 */
export function mosaic(id, others, columns = 7, rows = 3) {
  const random = chance(id);
  const grid = corners(columns, rows, random);
  const paths = new Map();
  const stones = columns * rows;
  const guests = new Map();
  for (const other of others) {
    for (let stone = 0; stone < Math.max(1, Math.round(stones / 14)); stone += 1) {
      guests.set(Math.floor(random() * stones), other);
    }
  }
  for (let stone = 0; stone < stones; stone += 1) {
    const x = stone % columns, y = (stone - x) / columns;
    const guest = guests.get(stone);
    const name = guest ? `guest ${guest}` : `shade${Math.floor(random() * SHADES)}`;
    const outline = `M${grid[y][x]}L${grid[y][x + 1]}L${grid[y + 1][x + 1]}L${grid[y + 1][x]}Z`;
    paths.set(name, (paths.get(name) ?? "") + outline);
  }
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${columns * 20} ${rows * 20}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "art");
  svg.setAttribute("aria-hidden", "true");
  for (const [name, outline] of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    path.setAttribute("d", outline);
    svg.append(path);
  }
  return svg;
}
