// The worker's side of the page: one model, asked by messages {id, name, given}, so that the page never freezes.
import { Model } from "./engine.js";
import { hasSimd } from "./matrix.js";
import { Lab } from "./lab.js";

let lab = null;

const offers = {
  load({ model, kit, simd = hasSimd() }) {
    lab = new Lab(new Model(model, simd), kit);
    return { layers: lab.model.layers, simd };
  },
  keep: (kept) => {
    lab.kit.kept = kept;
  },
  ask: (given) => lab.ask(given),
  logits: ({ clean, edits }) => lab.logits(clean, edits),
  probe: (given) => lab.probe(given),
};

self.onmessage = ({ data: { id, name, given } }) => {
  try {
    self.postMessage({ id, result: offers[name](given) });
  } catch (error) {
    self.postMessage({ id, error: error.message });
  }
};
