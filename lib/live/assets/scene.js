// Draws the library's stimuli, byte for byte, and knows which tokens are where.
//
// A scene is {task, items: [{name, row, col}]}: items with their top-left corner on a token of the grid; or {kept: k},
// one of the pictures that came with the page.  `kit` is what the library exported: {grid, px, item, sprites, kept}.

/** The pixels of a scene: bytes (side, side, 3). */
export function draw(kit, scene) {
  if (scene.kept !== undefined) return kit.kept[scene.kept].pixels;
  const side = kit.grid * kit.px,
    size = kit.item * kit.px;
  const canvas = new Float64Array(3 * side * side).fill(255);
  for (const { name, row, col } of scene.items) {
    if (!inside(kit, row, col)) throw new Error(`the ${name} leaves the canvas`);
    const { palette, index } = kit.sprites[scene.task][name];
    for (let i = 0; i < size * size; i++) {
      const colour = palette[index[i]],
        at = 3 * ((row * kit.px + Math.floor(i / size)) * side + col * kit.px + (i % size));
      for (let ch = 0; ch < 3; ch++) canvas[at + ch] += (colour[ch] - canvas[at + ch]) * colour[3];
    }
  }
  return Uint8ClampedArray.from(canvas, (x) => Math.floor(x + 0.5));
}

export const inside = (kit, row, col) => Math.min(row, col) >= 0 && Math.max(row, col) + kit.item <= kit.grid;

/** Whether two items at these corners share a token. */
export const overlap = (kit, a, b) =>
  Math.abs(a.row - b.row) < kit.item && Math.abs(a.col - b.col) < kit.item;

/** Three items in a centred row or column, first to last from left or top. */
export function rowOf(kit, task, names, vertical) {
  const span = names.length * kit.item + (names.length - 1) * kit.gap;
  const first = Math.floor((kit.grid - span) / 2),
    across = Math.floor((kit.grid - kit.item) / 2);
  const items = names.map((name, k) => {
    const along = first + k * (kit.item + kit.gap);
    return vertical ? { name, row: along, col: across } : { name, row: across, col: along };
  });
  return { task, items };
}

/** The same row or column of items in mirror order. */
export function mirrored(scene) {
  const names = scene.items.map((item) => item.name).reverse();
  return { ...scene, items: scene.items.map((item, k) => ({ ...item, name: names[k] })) };
}

/** The question what is `direction` of an item. */
export const questionFor = (kit, task, direction, reference) =>
  kit.questions[task][direction].replace("{reference}", reference);

// --- tokens: raster indices of the grid, row * grid + column ---

export const tokensOf = (kit, { row, col }) =>
  range(kit.item ** 2).map((i) => (row + Math.floor(i / kit.item)) * kit.grid + col + (i % kit.item));

/** Tokens that no item covers. */
export function free(kit, scene) {
  const owned = new Set(scene.items.flatMap((item) => tokensOf(kit, item)));
  return range(kit.grid ** 2).filter((token) => !owned.has(token));
}

/** All tokens in the band of place 0, 1 or 2: full-height columns, or full-width rows.  The outer bands are equally wide. */
export function strip(kit, place, vertical) {
  const outer = Math.floor(kit.grid / 3),
    edges = [0, outer, kit.grid - outer, kit.grid];
  const along = (token) => (vertical ? Math.floor(token / kit.grid) : token % kit.grid);
  return range(kit.grid ** 2).filter((t) => along(t) >= edges[place] && along(t) < edges[place + 1]);
}

/** Where each token comes from if the grid is turned over: left to right, or top to bottom. */
export const flipped = (kit, vertical) =>
  range(kit.grid ** 2).map((token) => {
    const row = Math.floor(token / kit.grid),
      col = token % kit.grid;
    return vertical ? (kit.grid - 1 - row) * kit.grid + col : row * kit.grid + kit.grid - 1 - col;
  });

// --- chance, from a seed ---

/** A generator of uniform numbers in [0, 1) (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function shuffled(list, uniform) {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

export const range = (n) => Array.from({ length: n }, (_, i) => i);
