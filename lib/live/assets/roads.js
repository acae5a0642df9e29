// Two roads: the encoder's ordering and the tokens' positions, each switched off or turned around.
import { board } from "./board.js";
import { ask } from "./client.js";
import { bars, buttons, choice } from "./controls.js";
import { h, percent } from "./elements.js";
import { flipped, random, range, shuffled } from "./scene.js";
import { DIRECTIONS, drawn, trial, vertical } from "./trial.js";

const ENCODER = { own: "this order", removed: "no order", mirror: "the mirrored order" };
const PLACES = { own: "in place", shuffled: "shuffled", mirror: "mirrored" };

/** The view {scene, removed, order} of visual tokens whose encoder and whose positions tell what is wanted. */
export function roadView(kit, { encoder, places, direction, seed }, { scene, mirror }) {
  const all = range(kit.grid ** 2),
    turn = flipped(kit, vertical(direction));
  // A mirrored picture, turned over: every token stays under the same content, and tells of the mirrored order.
  const base = encoder === "mirror" ? turn : all;
  const order = { own: all, shuffled: shuffled(all, random(seed)), mirror: turn }[places].map(
    (token) => base[token],
  );
  const view = { scene: encoder === "mirror" ? mirror : scene, order };
  return encoder === "removed" ? { ...view, removed: true } : view;
}

export const twoRoads = {
  name: "two-roads",
  title: "Two roads",
  lead: "Two things could tell the language model what is left of what: the encoder, which writes the order into the tokens, and the places of the tokens in the prompt. Switch each off, or set one against the other.",
  start: {
    direction: "left",
    names: ["green square", "red square", "blue square"],
    encoder: "own",
    places: "own",
    seed: 1,
  },
  gate: {
    ask: "The tokens are about to change places, left to right. The encoder's order stays in them. Whom will the model follow?",
    options: ["the encoder: same answer", "the places: the other answer", "neither"],
    then: (state) => ({ ...state, encoder: "own", places: "mirror" }),
  },
  build({ kit, left, more, controls, result, say, set, state }) {
    const tokens = board(kit, { label: "the tokens as the language model gets them" });
    const seen = board(kit, { label: "what the encoder saw" });
    const caption = h("figcaption"),
      question = h("p", { class: "question" });
    const encoder = choice("The encoder tells of", ENCODER, (encoder) => set({ encoder }));
    const places = choice("The tokens stand", PLACES, (places) => set({ places }));
    const direction = choice("Ask what is", DIRECTIONS, (direction) => set({ direction }));
    const shown = bars("How probable each answer is"),
      body = h("tbody");
    const table = h(
      "table",
      {},
      h("caption", {}, "All nine settings: the model's answer"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "encoder"),
          ...Object.values(PLACES).map((name) => h("th", { scope: "col" }, name)),
        ),
      ),
      body,
    );
    left.append(
      question,
      h(
        "div",
        { class: "pair" },
        h("figure", {}, tokens.el, h("figcaption", {}, "the tokens, as the language model gets them")),
        h("figure", {}, seen.el, caption),
      ),
    );
    more.append(table);
    controls.append(
      encoder.el,
      places.el,
      direction.el,
      buttons("Draw", {
        "other squares": () => set({ names: drawn(kit, "squares", Date.now()) }),
        "another shuffle": () => set({ places: "shuffled", seed: state().seed + 1 }),
      }).el,
    );
    result.append(shown.el);
    const cells = Object.fromEntries(
      Object.keys(ENCODER).flatMap((e) =>
        Object.keys(PLACES).map((p) => [
          `${e} ${p}`,
          h(
            "button",
            {
              type: "button",
              onclick: () => set({ encoder: e, places: p }),
              "aria-label": `${ENCODER[e]}, ${PLACES[p]}`,
            },
            "–",
          ),
        ]),
      ),
    );
    body.append(
      ...Object.keys(ENCODER).map((e) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, ENCODER[e]),
          ...Object.keys(PLACES).map((p) => h("td", {}, cells[`${e} ${p}`])),
        ),
      ),
    );
    const run = (now, asked) =>
      ask({ view: roadView(kit, now, asked), question: asked.question }, [], asked.words);
    const trialOf = (now) => trial(kit, { ...now, task: "squares" });

    return {
      forget: () => {}, // show() empties the table
      show(now) {
        const asked = trialOf(now),
          order = roadView(kit, { ...now, encoder: "own" }, asked).order;
        tokens.show({ scene: asked.scene, order });
        const middle = Math.floor((kit.grid - kit.item) / 2),
          alone = { task: "squares", items: [{ ...asked.scene.items[1], row: middle, col: middle }] };
        seen.show({ scene: { own: asked.scene, mirror: asked.mirror, removed: alone }[now.encoder] });
        caption.textContent = `what the encoder saw${now.encoder === "removed" ? ": each item alone" : ""}`;
        question.textContent = `${asked.question}…`;
        encoder.show(now.encoder);
        places.show(now.places);
        direction.show(now.direction);
        for (const [key, cell] of Object.entries(cells)) {
          cell.textContent = "–";
          cell.toggleAttribute("data-here", key === `${now.encoder} ${now.places}`);
        }
      },
      async run(now, alive) {
        const asked = trialOf(now),
          here = await run(now, asked);
        if (!alive()) return;
        const { right, wrong, reference } = asked,
          by = { own: right, mirror: wrong };
        shown.show(
          [right, reference, wrong].map((word) => ({
            word,
            p: here.p[word],
            note: { [right]: "true order", [wrong]: "mirrored order" }[word] ?? "the middle one",
          })),
        );
        const [enc, pos] = [by[now.encoder], by[now.places]];
        say(
          enc ? `The encoder says ${enc}.` : "The encoder says nothing of the order.",
          pos ? `The places say ${pos}.` : "The places say nothing.",
          `The model says ${here.answer}, with ${percent(here.p[here.answer] ?? 0)}.`,
        );
        for (const e of Object.keys(ENCODER))
          for (const p of Object.keys(PLACES)) {
            const { answer, p: found } = await run({ ...now, encoder: e, places: p }, asked);
            if (!alive()) return;
            cells[`${e} ${p}`].textContent = `${answer} ${percent(found[answer] ?? 0)}`;
            cells[`${e} ${p}`].setAttribute("aria-label", `${ENCODER[e]}, ${PLACES[p]}: ${answer}`);
          }
      },
    };
  },
};
