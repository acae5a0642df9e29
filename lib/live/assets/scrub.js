// Layer scrubber: what does the last token hold at each layer, a place or a colour?
import { board } from "./board.js";
import { chart } from "./chart.js";
import { ask } from "./client.js";
import { bars, buttons, choice, slider } from "./controls.js";
import { h, percent } from "./elements.js";
import { questionFor, range, rowOf } from "./scene.js";
import { DIRECTIONS, drawn, vertical } from "./trial.js";

const OPPOSITE = { left: "right", right: "left", above: "below", below: "above" };
const PAIRS = 10;

/**
 * A pair of runs in which place and colour predict different answers: five squares c0 .. c4; the first run asks what is
 * `direction` of c1 in (c0, c1, c2), the other asks for the opposite side in (c4, c1, c3).  Mirrored for right and below.
 */
function pairOf(kit, { direction, other }, seed) {
  const c = drawn(kit, "squares", seed, 5),
    turn = (names) => (["left", "above"].includes(direction) ? names : names.reverse());
  const scene = (names) => rowOf(kit, "squares", turn(names), vertical(direction));
  const run = (scene, direction) => ({
    view: { scene },
    question: questionFor(kit, "squares", direction, c[1]),
  });
  const picture = scene([c[4], c[1], c[3]]);
  return {
    clean: run(scene([c[0], c[1], c[2]]), direction),
    other: run(other === "blank" ? { task: "squares", items: [] } : picture, OPPOSITE[direction]),
    targets: [c[0], c[2], c[3]].map((name) => kit.answers.squares[name]),
  };
}

export const scrubber = {
  name: "layer-scrubber",
  title: "Layer scrubber",
  lead: "The model answers at the last token. Copy that token's state, at one layer, from a run with another picture and the opposite question. Does it bring a place, or a colour?",
  start: { direction: "left", seed: 1, slot: 0, other: "picture" },
  gate: {
    ask: "The state of the last token is about to be copied where layer 2 begins. What will the first run answer?",
    options: ["its own answer", "the item at the copied place", "the copied colour"],
    then: (state) => ({ ...state, slot: 2 }),
  },
  build({ kit, left, more, controls, result, say, set, state }) {
    const clean = board(kit, { label: "the run that answers" }),
      other = board(kit, { label: "the run that the state is copied from" });
    const asked = h("figcaption"),
      asks = h("figcaption");
    const slot = slider(
      "Copied where layer s begins",
      { min: 0, max: kit.layers, told: (s) => (s === kit.layers ? `slot ${s}, the end` : `slot ${s}`) },
      (slot) => set({ slot }),
    );
    const from = choice(
      "Copied from",
      { picture: "another picture", blank: "a blank picture (control)" },
      (other) => set({ other }),
    );
    const direction = choice("Ask what is", DIRECTIONS, (direction) => set({ direction }));
    const shown = bars("How probable each answer is");
    const curves = chart({
      label: "Three answers by slot",
      x: "slot, from input to output",
      y: "mean probability",
      most: kit.layers,
      ticks: Object.fromEntries(range(kit.layers + 1).map((s) => [s, String(s)])),
    });
    const told = h("p", { class: "note" });
    left.append(
      h("div", { class: "pair even" }, h("figure", {}, clean.el, asked), h("figure", {}, other.el, asks)),
    );
    more.append(curves.el, told);
    controls.append(
      slot.el,
      from.el,
      direction.el,
      buttons("Draw", { "other squares": () => set({ seed: state().seed + 1 }) }).el,
    );
    result.append(shown.el);

    const known = new Map(); // of all that was asked: the three targets' probabilities
    const look = async (now, seed, s) => {
      const key = [now.direction, now.other, seed, s].join();
      const pair = pairOf(kit, now, seed);
      if (!known.has(key))
        known.set(
          key,
          await ask(
            pair.clean,
            [{ slot: s, op: "copy", to: [-1], of: [-1], from: pair.other }],
            pair.targets,
          ),
        );
      return known.get(key);
    };
    const means = (now) => {
      const found = range(kit.layers + 1).map((s) =>
        range(PAIRS)
          .map((k) => known.get([now.direction, now.other, now.seed + k, s].join()))
          .filter(Boolean),
      );
      const n = Math.min(...found.map((one) => one.length));
      const of = (k) =>
        found.flatMap((some, s) =>
          some.length
            ? [[s, some.reduce((sum, one, i) => sum + Object.values(one.p)[k], 0) / some.length]]
            : [],
        );
      return { n, unchanged: of(0), ordering: of(1), attribute: of(2) };
    };
    const drawCurves = (now) => {
      const { n, unchanged, ordering, attribute } = means(now),
        ghost = kit.curves[now.direction];
      const stretch = (points) => points.map(([depth, p]) => [depth * kit.layers, p]);
      curves.show({
        at: now.slot,
        curves: [
          { name: "unchanged", points: unchanged, style: "one" },
          { name: "place", points: ordering, style: "two" },
          { name: "colour", points: attribute, style: "three" },
          { name: "place, Qwen2-VL-7B (paper)", points: stretch(ghost.ordering), style: "ghost-two" },
          { name: "colour, Qwen2-VL-7B (paper)", points: stretch(ghost.attribute), style: "ghost-three" },
        ],
        told: `By slot, place: ${ordering.map(([, p]) => percent(p)).join(", ")}; colour: ${attribute.map(([, p]) => percent(p)).join(", ")}`,
      });
      const mean = n ? `Mean of ${n} ${n > 1 ? "pairs" : "pair"}. ` : "";
      told.textContent = `${mean}Depths of the two models are put on one axis.`;
    };

    return {
      forget: () => known.clear(),
      show(now) {
        const pair = pairOf(kit, now, now.seed);
        clean.show({ scene: pair.clean.view.scene });
        other.show({ scene: pair.other.view.scene });
        asked.textContent = `${pair.clean.question}…`;
        asks.textContent = `${pair.other.question}…`;
        slot.show(now.slot);
        from.show(now.other);
        direction.show(now.direction);
        drawCurves(now);
      },
      async run(now, alive) {
        const { targets } = pairOf(kit, now, now.seed),
          names = ["unchanged", "place", "colour"];
        const here = await look(now, now.seed, now.slot);
        if (!alive()) return;
        shown.show(targets.map((word, k) => ({ word, p: here.p[word], note: names[k] })));
        const which = targets.indexOf(here.answer);
        say(
          `Copied at slot ${now.slot}, the last token makes the model say ${here.answer}:`,
          [
            "its own answer.",
            `the item of this picture at the copied place. ${
              now.other === "blank"
                ? "The other picture is empty: its question alone told the place."
                : "The place came from the other run."
            }`,
            "a colour that is not in this picture. The colour itself was copied.",
          ][which] ?? "none of the three.",
        );
        for (let k = 0; k < PAIRS; k++)
          for (let s = 0; s <= kit.layers; s++) {
            await look(now, now.seed + k, s);
            if (!alive()) return;
            if (k === 0 || s === kit.layers) drawCurves(now);
          }
      },
    };
  },
};
