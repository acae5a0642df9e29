// Runs the engine in node: node live_node.mjs ASSETS REQUEST.json -> JSON on standard output.
// REQUEST: {weights: path, model, kit, simd, calls: [[name, given], ...]}; for each call, what the lab returns.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [assets, request] = process.argv.slice(2);
const from = (name) => import(pathToFileURL(`${assets}/${name}`));
const { Lab } = await from("lab.js");
const { Model } = await from("engine.js");
const scene = await from("scene.js");
const matrix = await from("matrix.js");
const { weights, model, kit, simd, calls } = JSON.parse(readFileSync(request, "utf8"));
const file = readFileSync(weights);
const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.length);
const lab = new Lab(new Model({ ...model, weights: bytes }, simd), kit);
const work = { seen: 0, layers: 0 }; // pictures encoded and layers run so far
for (const [name, counted] of [["encode", "seen"], ["step", "layers"]]) {
  const done = lab.model[name].bind(lab.model);
  lab.model[name] = (...given) => (work[counted]++, done(...given));
}

const offers = {
  work: () => ({ ...work }),
  logits: ({ clean, edits }) => [...lab.logits(clean, edits)],
  ask: (given) => lab.ask(given),
  probe: (given) => lab.probe(given),
  draw: ({ scene: given }) => Buffer.from(scene.draw(kit, given)).toString("base64"),
  regions: ({ scene: given }) => ({
    strips: [false, true].map((vertical) => [0, 1, 2].map((place) => scene.strip(kit, place, vertical))),
    items: given.items.map((item) => scene.tokensOf(kit, item)),
    free: scene.free(kit, given),
    flipped: [false, true].map((vertical) => scene.flipped(kit, vertical)),
  }),
  // both products of the same random matrices, and whether SIMD was there
  product: ({ n, k, m }) => [true, false].map((fast) => {
    const { F, alloc, product } = matrix.makeMemory(n * k + k * m + n * m + 16, fast);
    const [a, b, c] = [alloc(n * k), alloc(k * m), alloc(n * m)], uniform = scene.random(1);
    for (let i = 0; i < n * k + k * m; i++) F[i] = uniform() - 0.5;
    product(a, b, c, n, k, m);
    return { a: [...F.slice(a, a + n * k)], b: [...F.slice(b, b + k * m)], c: [...F.slice(c, c + n * m)] };
  }),
};
const results = calls.map(([name, given]) => {
  try {
    return { result: offers[name](given) };
  } catch (error) {
    return { error: error.message };
  }
});
process.stdout.write(JSON.stringify({ hasSimd: matrix.hasSimd(), results }));
