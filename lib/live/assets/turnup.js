// Turn it up: scale the signal of order in a hundred scenes, and count what it repairs and what it breaks.
import { board } from "./board.js";
import { ask, extras } from "./client.js";
import { choice, slider } from "./controls.js";
import { h, svg } from "./elements.js";
import { random, range } from "./scene.js";

const ALPHAS = [0, 0.25, 0.5, 1, 2, 4, 8, 15];
const KINDS = { signal: "the order", null: "noise of equal size" };
const OUTCOMES = {
  right: "right before and after",
  wrong: "wrong before and after",
  repaired: "repaired",
  broken: "broken",
};

/** A random direction of d normal numbers. */
function noise(d, seed) {
  const uniform = random(seed);
  return range(d).map(() => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}

const outcome = (before, after) => (before ? (after ? "right" : "broken") : after ? "repaired" : "wrong");

export const turnUp = {
  name: "turn-it-up",
  title: "Turn it up",
  lead: "A hundred scenes whose order is hard to see. Turn up the signal of order in all visual tokens, by a factor alpha, and ask again. Does it help, and does noise of the same size?",
  start: { alpha: 0, kind: "signal", count: "honest", how: "projection", scene: 1 },
  gate: {
    ask: "The signal is about to be turned up by alpha 4 in all scenes. What will happen to the right answers?",
    options: ["more of them", "as many, but others", "fewer"],
    then: (state) => ({ ...state, alpha: 4 }),
  },
  build({ kit, left, controls, result, say, set }) {
    const alpha = slider("Alpha", { min: 0, max: ALPHAS.length - 1, told: (k) => String(ALPHAS[k]) }, (k) =>
      set({ alpha: ALPHAS[k] }),
    );
    const kind = choice("Turn up", KINDS, (kind) => set({ kind }));
    const how = choice("How", { projection: "scale what is there", constant: "add the same to all" }, (how) =>
      set({ how }),
    );
    const count = choice("Count", { honest: "all scenes", flattering: "failures only (flatters)" }, (count) =>
      set({ count }),
    );
    const scene = slider("Look at scene", { min: 1, max: 100 }, (scene) => set({ scene }));
    const picture = board(kit, { label: "the scene" }),
      told = h("p", { class: "note" }),
      look = h("div", { class: "look" }, picture.el, told);
    const dots = svg("svg", {
      class: "dots",
      viewBox: "0 0 200 200",
      role: "img",
      "aria-label": "No scene asked yet",
    });
    const key = h(
      "p",
      { class: "key" },
      ...Object.entries(OUTCOMES).map(([name, text]) =>
        h(
          "span",
          {},
          svg("svg", { class: "swatch", viewBox: "0 0 20 20", "aria-hidden": "true" }, dot(name, 10, 10)),
          text,
        ),
      ),
    );
    const body = h("tbody"),
      last = h("th", { scope: "col" });
    const table = h(
      "table",
      {},
      h("caption", {}, "What it does"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ...["turned up", "repaired", "broken"].map((text) => h("th", { scope: "col" }, text)),
          last,
        ),
      ),
      body,
    );
    left.append(dots, key);
    result.append(table);
    controls.append(
      alpha.el,
      kind.el,
      how.el,
      count.el,
      scene.el,
      look,
    );
    let kept = null;
    const known = new Map();
    const keyOf = (k, kind, { alpha, how }) => [k, kind, kind && alpha, kind && how].join(),
      had = (k, kind, now) => known.get(keyOf(k, kind, now)); // kind "": without an edit
    const learn = async (k, kind, now) => {
      if (had(k, kind, now)) return;
      const { question, answer } = kept.kept[k];
      const edit = { slot: 0, op: "amplify", directions: kept.directions, alpha: now.alpha, how: now.how };
      if (kind === "null") edit.null = noise(kept.directions[0].length, 1);
      const clean = { view: { scene: { kept: k } }, question },
        found = await ask(clean, kind && now.alpha ? [edit] : [], []);
      known.set(keyOf(k, kind, now), { said: found.answer, right: found.answer === answer });
    };

    function tally(now, kind) {
      const out = { right: 0, wrong: 0, repaired: 0, broken: 0, n: 0 };
      range(100).forEach((k) => {
        const before = had(k, "", now),
          after = had(k, kind, now);
        if (before && after) (out[outcome(before.right, after.right)]++, out.n++);
      });
      return out;
    }

    function draw(now) {
      const spots = range(100).map((k) => {
        const before = had(k, "", now),
          after = had(k, now.kind, now),
          what = before && after ? outcome(before.right, after.right) : "open";
        const spot = dot(what, 10 + 20 * (k % 10), 10 + 20 * Math.floor(k / 10));
        spot.append(svg("title", {}, `scene ${k + 1}: ${OUTCOMES[what] ?? "not asked yet"}`));
        spot.addEventListener("click", () => set({ scene: k + 1 }));
        return spot;
      });
      const at = now.scene - 1;
      dots.replaceChildren(
        svg("rect", {
          class: "chosen",
          x: 20 * (at % 10) + 1,
          y: 20 * Math.floor(at / 10) + 1,
          width: 18,
          height: 18,
          rx: 3,
        }),
        ...spots,
      );
      const mine = tally(now, now.kind);
      dots.setAttribute(
        "aria-label",
        `${mine.n} scenes: ${Object.entries(OUTCOMES)
          .map(([name, text]) => `${mine[name]} ${text}`)
          .join(", ")}`,
      );
      const honest = now.count === "honest";
      last.textContent = honest ? "change of accuracy" : "failures fixed";
      body.replaceChildren(
        ...Object.entries(KINDS).map(([kind, text]) => {
          const { repaired, broken, wrong, n } = tally(now, kind);
          const change = honest
            ? n
              ? `${repaired - broken >= 0 ? "+" : "−"}${Math.abs(Math.round((100 * (repaired - broken)) / n))} points`
              : "–"
            : repaired + wrong
              ? `${Math.round((100 * repaired) / (repaired + wrong))} %`
              : "–";
          return h(
            "tr",
            {},
            h("th", { scope: "row" }, text),
            ...[repaired, honest ? broken : "not asked", change].map((x) => h("td", {}, String(x))),
          );
        }),
      );
    }

    return {
      forget: () => known.clear(),
      show(now) {
        alpha.show(ALPHAS.indexOf(now.alpha));
        scene.show(now.scene);
        for (const [control, value] of [
          [kind, now.kind],
          [how, now.how],
          [count, now.count],
        ])
          control.show(value);
        draw(now);
        look.style.visibility = known.size ? "visible" : "hidden"; // its place stays, so that nothing jumps
        if (!kept) return;
        const { question, answer } = kept.kept[now.scene - 1],
          before = had(now.scene - 1, "", now),
          after = had(now.scene - 1, now.kind, now);
        picture.show({ scene: { kept: now.scene - 1 } });
        told.textContent = `${question}… Right: ${answer}. Model: ${before?.said ?? "?"}, turned up: ${after?.said ?? "?"}.`;
      },
      async run(now, alive) {
        if (!kept) {
          kept = await extras();
          kit.kept = kept.kept;
        }
        if (!alive()) return;
        this.show(now);
        for (let k = 0; k < 100; k++) {
          for (const kind of ["", "signal", "null"]) await learn(k, kind, now);
          if (!alive()) return;
          if (k % 5 === 4) this.show(now);
        }
        const { repaired, broken, right } = tally(now, now.kind),
          noisy = tally(now, "null");
        say(
          now.alpha === 0
            ? `With alpha 0 nothing changes: ${right} of 100 scenes are right.`
            : `Alpha ${now.alpha} on ${KINDS[now.kind]}: ${repaired} repaired, ${broken} broken, ${right + repaired} of 100 right.`,
          now.alpha && now.kind === "signal"
            ? `Noise of equal size: ${noisy.repaired} repaired, ${noisy.broken} broken.`
            : "",
        );
      },
    };
  },
};

/** An outcome as a form: full or empty circle, triangle up or down. */
function dot(what, x, y) {
  if (what === "repaired")
    return svg("path", { class: "mark repaired", d: `M${x} ${y - 7}L${x + 7} ${y + 6}L${x - 7} ${y + 6}Z` });
  if (what === "broken")
    return svg("path", { class: "mark broken", d: `M${x} ${y + 7}L${x + 7} ${y - 6}L${x - 7} ${y - 6}Z` });
  return svg("circle", { class: `mark ${what}`, cx: x, cy: y, r: what === "open" ? 2 : 5 });
}
