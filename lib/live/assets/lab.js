// Runs of the model that are kept, and edits that go on from them.  What the worker offers to the page.
import { amplify, copy, steer } from "./edits.js";
import { draw, range, tokensOf } from "./scene.js";

const BLANK = { task: "squares", items: [] };

export class Lab {
  constructor(model, kit) {
    Object.assign(this, { model, kit });
    this.images = new Kept(300); // visual tokens of a scene
    this.runs = new Kept(24); // residuals of a scene and a question
  }

  /** The encoder's visual tokens (tokens, d) of a scene. */
  encoded(scene) {
    return this.images.get(JSON.stringify(scene), () => this.model.encode(draw(this.kit, scene)));
  }

  /**
   * Visual tokens of a view {scene, removed, order}: with `removed`, without the encoder's ordering; with `order`, token
   * k of the grid is token order[k] of the picture.
   */
  visual({ scene, removed, order }) {
    const states = removed ? this.orderingRemoved(scene) : this.encoded(scene),
      { d } = this.model;
    if (!order) return states;
    const out = new Float32Array(states.length);
    copy(out, d, range(order.length), states, order);
    return out;
  }

  /** Each item's tokens come from a picture of that item alone in the centre, all others from an empty one. */
  orderingRemoved(scene) {
    const { kit, model } = this,
      middle = Math.floor((kit.grid - kit.item) / 2);
    const out = Float32Array.from(this.encoded(BLANK));
    for (const item of scene.items) {
      const centred = { ...item, row: middle, col: middle };
      copy(
        out,
        model.d,
        tokensOf(kit, item),
        this.encoded({ ...scene, items: [centred] }),
        tokensOf(kit, centred),
      );
    }
    return out;
  }

  /** A kept run of {view, question}: where its visual tokens stand, and its residual at any slot. */
  run({ view, question }) {
    return this.runs.get(JSON.stringify([view, question]), () => {
      const { resid, at } = this.model.begin(question, this.visual(view));
      return { at, states: [resid] };
    });
  }

  /** The residual of a run at a slot (do not change it). */
  state(run, slot) {
    while (run.states.length <= slot)
      run.states.push(this.model.step(run.states.at(-1), run.states.length - 1));
    return run.states[slot];
  }

  /** Sequence positions of tokens: raster indices, or negative and then counted from the end of the prompt. */
  positions(run, tokens) {
    const seq = run.states[0].length / this.model.d;
    return tokens.map((token) => (token < 0 ? seq + token : run.at[token]));
  }

  /**
   * Logits after edits: [{slot, op: "copy", to, of, from} | {slot, op: "steer", at, vector} |
   * {slot, op: "amplify", at, directions, alpha, how, null}].  from: another run; without it, the same one.  The edits
   * of a slot are made one after the other, but every copy takes what was there before.
   */
  logits(clean, edits = []) {
    const { model } = this,
      { d } = model,
      run = this.run(clean);
    for (const { slot } of edits)
      if (!(slot >= 0 && slot <= model.layers))
        throw new Error(`slot ${slot} is out of range: 0 .. ${model.layers}`);
    const first = Math.min(model.layers, ...edits.map((edit) => edit.slot));
    let resid = Float32Array.from(this.state(run, first));
    for (let slot = first; slot <= model.layers; slot++) {
      if (slot > first) resid = model.step(resid, slot - 1);
      const before = Float32Array.from(resid);
      for (const edit of edits.filter((one) => one.slot === slot)) {
        const at = this.positions(run, edit.to ?? edit.at ?? range(model.tokens));
        const other = edit.from && this.run(edit.from);
        if (edit.op === "copy")
          copy(resid, d, at, other ? this.state(other, slot) : before, this.positions(other ?? run, edit.of));
        else if (edit.op === "steer") steer(resid, d, at, edit.vector);
        else if (edit.op === "amplify") amplify(resid, d, at, edit);
        else throw new Error(`unknown edit "${edit.op}"`);
      }
    }
    return model.head(resid);
  }

  /** {answer, p: {word: probability}, ms} of a run {view, question} after edits. */
  ask({ clean, edits, words = [] }) {
    const began = performance.now(),
      logits = this.logits(clean, edits),
      names = this.model.words;
    const top = Math.max(...logits),
      all = logits.map((z) => Math.exp(z - top)),
      sum = all.reduce((a, b) => a + b);
    const p = Object.fromEntries(words.map((word) => [word, all[names.indexOf(word)] / sum]));
    return { answer: names[logits.indexOf(top)], p, ms: performance.now() - began };
  }

  /** Class probabilities (tokens, classes) of a linear probe {weights (d, classes), bias} on a view's visual tokens. */
  probe({ view, weights, bias }) {
    const states = this.visual(view),
      { d, tokens } = this.model;
    return range(tokens).map((token) => {
      const z = bias.map((b, c) => weights.reduce((sum, row, i) => sum + row[c] * states[token * d + i], b));
      const all = z.map((x) => Math.exp(x - Math.max(...z))),
        sum = all.reduce((a, b) => a + b);
      return all.map((x) => x / sum);
    });
  }
}

/** At most `size` values by key; the one not asked for the longest goes first. */
class Kept {
  constructor(size) {
    Object.assign(this, { size, found: new Map() });
  }

  get(key, compute) {
    const value = this.found.get(key) ?? compute();
    this.found.delete(key);
    this.found.set(key, value);
    if (this.found.size > this.size) this.found.delete(this.found.keys().next().value);
    return value;
  }
}
