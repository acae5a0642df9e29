// Strip lab: which tokens of the mirrored picture turn the answer around?
import { board } from "./board.js";
import { chart } from "./chart.js";
import { ask } from "./client.js";
import { bars, buttons, choice, slider } from "./controls.js";
import { h, percent } from "./elements.js";
import { flipped, free, random, range, shuffled, strip, tokensOf } from "./scene.js";
import { DIRECTIONS, drawn, trial, vertical } from "./trial.js";

const REGIONS = {
  none: "nothing",
  strip: "both strips",
  object: "both items",
  background: "strips without items",
  random: "as many at random",
  painted: "what I paint",
};
const START = {
  direction: "left",
  names: ["green square", "red square", "blue square"],
  region: "none",
  painted: [],
  slot: 0,
  seed: 1,
  trios: "one",
};

/**
 * The swap of a region: {to, of}, tokens to overwrite and those of the mirrored picture that they are taken from.  A token
 * of an outer strip is taken from the same place of the other outer strip; one of the middle strip from its own place; a
 * random one from its mirrored place, where the mirrored picture shows the same.
 */
export function swap(kit, { direction, region, painted, seed }, scene) {
  const along = vertical(direction),
    [first, last] = [0, 2].map((place) => strip(kit, place, along));
  const partner = new Map([
    ...first.map((token, k) => [token, last[k]]),
    ...last.map((token, k) => [token, first[k]]),
  ]);
  const across = (tokens) => ({ to: tokens, of: tokens.map((token) => partner.get(token) ?? token) });
  const empty = new Set(free(kit, scene));
  if (region === "strip") return across([...first, ...last]);
  if (region === "background") return across([...first, ...last].filter((token) => empty.has(token)));
  if (region === "painted") return across(painted);
  if (region === "object") {
    const [one, , other] = scene.items.map((item) => tokensOf(kit, item));
    return { to: [...one, ...other], of: [...other, ...one] };
  }
  if (region === "random") {
    const some = shuffled(range(kit.grid ** 2), random(seed)).slice(0, first.length + last.length);
    const home = flipped(kit, along);
    return { to: some, of: some.map((token) => home[token]) };
  }
  return { to: [], of: [] };
}

export const stripLab = {
  name: "strip-lab",
  title: "Strip lab",
  lead: "Two runs, one question. The second picture shows the same squares in mirror order. Take tokens from its run and put them into the first: which of them turn the answer around?",
  start: START,
  gate: {
    ask: "The left and the right strip are about to be swapped in from the mirrored picture: two thirds of all tokens. Which answer will the model give?",
    options: ["the same as before", "that of the mirrored picture", "the middle one"],
    then: (state) => ({ ...START, direction: state.direction, names: state.names, region: "strip" }),
  },
  build({ kit, left, more, controls, result, say, set, state }) {
    const paint = (tokens, on) => {
      const now = state(),
        have =
          now.region === "painted"
            ? now.painted
            : swap(kit, now, trial(kit, { ...now, task: "squares" }).scene).to;
      const rest = have.filter((token) => !tokens.includes(token));
      set({ region: "painted", painted: on ? [...rest, ...tokens].sort((a, b) => a - b) : rest });
    };
    const clean = board(kit, { label: "the picture", mark: "taken from the mirrored run", onpaint: paint });
    const other = board(kit, { label: "the mirrored picture", mark: "taken" });
    clean.painting(true);
    const region = choice("Swap", REGIONS, (region) => set({ region }));
    const direction = choice("Ask what is", DIRECTIONS, (direction) => set({ direction, painted: [] }));
    const slot = slider(
      "Swapped where layer s begins",
      {
        min: 0,
        max: kit.layers,
        told: (slot) => (slot === kit.layers ? `slot ${slot}, the end` : `slot ${slot}`),
      },
      (slot) => set({ slot }),
    );
    const question = h("p", { class: "question" }),
      count = h("p", { class: "count" });
    const shown = bars("How probable each answer is");
    const vote = chart({
      label: "Tries so far",
      x: "tokens from the mirrored run",
      y: "probability of its answer",
      most: kit.grid ** 2,
      ticks: { 0: "0", [kit.grid ** 2 / 2]: "half", [kit.grid ** 2]: "all" },
    });
    const tries = [];
    const trios = choice("Ask about", { one: "these squares", many: "20 trios of squares" }, (trios) =>
      set({ trios }),
    );
    left.append(
      question,
      h(
        "div",
        { class: "pair" },
        h("figure", {}, clean.el, h("figcaption", {}, "the run that answers: paint here")),
        h("figure", {}, other.el, h("figcaption", {}, "where tokens come from")),
      ),
    );
    more.append(h("p", { class: "heading" }, "The vote: every try is a dot"), vote.el);
    controls.append(
      region.el,
      slot.el,
      trios.el,
      direction.el,
      buttons("Draw", {
        "other squares": () => set({ names: drawn(kit, "squares", Date.now()), trios: "one" }),
        "other random tokens": () => set({ region: "random", seed: state().seed + 1 }),
      }).el,
    );
    result.append(shown.el, count);
    const points = (own) => tries.filter((one) => one.region === own).map(({ n, p }) => [n, p]);
    const STYLES = { strip: "one", object: "two", background: "three", random: "four", painted: "five" };
    const drawVote = () =>
      vote.show({
        curves: Object.entries(STYLES).map(([own, style]) => ({
          name: own === "painted" ? "painted" : REGIONS[own],
          points: points(own),
          style,
          dots: true,
        })),
        told: tries.map(({ region, n, p }) => `${REGIONS[region]}, ${n} tokens: ${percent(p)}`).join("; "),
      });
    drawVote();
    const edit = (now, asked, runs) => {
      const { to, of } = swap(kit, now, asked.scene);
      return to.length ? [{ slot: now.slot, op: "copy", to, of, from: runs.mirror }] : [];
    };
    const runsOf = ({ scene, mirror, question }) => ({
      clean: { view: { scene }, question },
      mirror: { view: { scene: mirror }, question },
    });

    return {
      forget() {
        tries.length = 0;
        drawVote();
      },
      show(now) {
        const asked = trial(kit, { ...now, task: "squares" }),
          { to, of } = swap(kit, now, asked.scene);
        clean.show({ scene: asked.scene, marked: to });
        other.show({ scene: asked.mirror, marked: of });
        slot.show(now.slot);
        region.show(now.region);
        trios.show(now.trios);
        direction.show(now.direction);
        question.textContent = `${asked.question}…`;
        const total = kit.grid ** 2;
        count.textContent = `${to.length} of ${total} tokens tell of the mirrored picture, ${total - to.length} of the first.`;
      },
      async run(now, alive) {
        const notes = ["unchanged", "the middle one", "mirrored"];
        const sums = [0, 0, 0].map(() => [0, 0]),
          all = now.trios === "many" ? range(20).map((k) => drawn(kit, "squares", k + 1)) : [now.names];
        let asked,
          after,
          flips = 0,
          n = 0;
        for (const names of all) {
          asked = trial(kit, { ...now, names, task: "squares" });
          const runs = runsOf(asked),
            before = await ask(runs.clean, [], asked.words);
          after = await ask(runs.clean, edit(now, asked, runs), asked.words);
          if (!alive()) return;
          n++;
          flips += after.answer === asked.wrong;
          [asked.right, asked.reference, asked.wrong].forEach((word, k) => {
            sums[k][0] += after.p[word];
            sums[k][1] += before.p[word];
          });
          const words = all.length > 1 ? notes : [asked.right, asked.reference, asked.wrong];
          shown.show(
            sums.map(([p, was], k) => ({
              word: words[k],
              p: p / n,
              was: was / n,
              note: all.length > 1 ? null : notes[k],
            })),
          );
        }
        const moved = swap(kit, now, asked.scene).to.length,
          p = sums[2][0] / n;
        if (now.region !== "none") tries.push({ region: now.region, n: moved, p });
        drawVote();
        if (n > 1)
          return say(
            `${flips} of ${n} trios get the mirrored answer after ${moved} tokens were swapped at slot ${now.slot}; its mean probability is ${percent(p)}.`,
          );
        const kind =
          after.answer === asked.right
            ? "as for the first picture"
            : after.answer === asked.wrong
              ? "the answer of the mirrored picture"
              : "which neither picture has there";
        say(
          `The model says ${after.answer}, ${kind}.`,
          moved ? `${moved} tokens were swapped at slot ${now.slot}.` : "Nothing is swapped.",
        );
      },
    };
  },
};
