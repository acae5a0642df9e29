// Erase & ask: paint tokens away and see what the model still knows.
import { board } from "./board.js";
import { ask } from "./client.js";
import { bars, buttons, choice } from "./controls.js";
import { h, list, percent } from "./elements.js";
import { free, questionFor, range, rowOf, tokensOf } from "./scene.js";
import { DIRECTIONS, TASKS, drawn, vertical } from "./trial.js";

const START = {
  task: "squares",
  names: ["green square", "red square", "blue square"],
  direction: "left",
  cells: null,
  erased: [],
  tool: "move",
};

/** The scene of a state: a row or column, unless the reader moved an item. */
function sceneOf(kit, { task, names, direction, cells }) {
  const scene = rowOf(kit, task, names, vertical(direction));
  return cells
    ? { task, items: names.map((name, k) => ({ name, row: cells[k][0], col: cells[k][1] })) }
    : scene;
}

export const erase = {
  name: "erase-ask",
  title: "Erase and ask",
  lead: "A vision-language model cuts a picture into tokens, here 12 by 12, and its language model reads them like words. This one runs in your browser. Erase tokens, then ask.",
  start: START,
  gate: {
    ask: "All tokens of the green square are about to be erased, before the language model sees them. What will the model say is left of the red square?",
    options: ["still green", "blue, the one it can see", "a guess"],
    then: (state, kit) => ({
      ...START,
      tool: state.tool,
      erased: tokensOf(kit, sceneOf(kit, START).items[0]),
    }),
  },
  build({ kit, left, controls, result, say, set, state }) {
    const picture = board(kit, {
      label: "the picture",
      mark: "erased",
      onmove: (k, row, col) =>
        set({
          cells: sceneOf(kit, state()).items.map((item, i) => (i === k ? [row, col] : [item.row, item.col])),
        }),
      onpaint: (tokens, on) => {
        const rest = state().erased.filter((token) => !tokens.includes(token));
        set({ erased: on ? [...rest, ...tokens].sort((a, b) => a - b) : rest });
      },
    });
    const tool = choice("Your finger", { move: "moves items", erase: "erases tokens" }, (tool) =>
      set({ tool }),
    );
    const direction = choice("Ask what is", DIRECTIONS, (direction) => set({ direction }));
    const task = choice("Kind of items", TASKS, (task) =>
      set({ task, names: drawn(kit, task, 1), cells: null, erased: [] }),
    );
    const question = h("p", { class: "question" });
    const erased = (tokens) =>
      set({ erased: [...new Set([...state().erased, ...tokens])].sort((a, b) => a - b) });
    const one = (k) => () => erased(tokensOf(kit, sceneOf(kit, state()).items[k]));
    const wipe = buttons("Erase");
    const shown = bars("How probable each answer is");
    left.append(question, picture.el, tool.el);
    controls.append(
      wipe.el,
      direction.el,
      task.el,
      buttons("Items", {
        "Draw others": () => set({ names: drawn(kit, state().task, Date.now()), cells: null, erased: [] }),
        "Back in line": () => set({ cells: null }),
      }).el,
    );
    result.append(shown.el);

    return {
      forget: () => {},
      show(now) {
        const scene = sceneOf(kit, now);
        picture.show({ scene, marked: now.erased });
        picture.painting(now.tool === "erase");
        for (const [control, value] of [
          [tool, now.tool],
          [direction, now.direction],
          [task, now.task],
        ])
          control.show(value);
        question.textContent = `${questionFor(kit, now.task, now.direction, now.names[1])}…`;
        wipe.show({
          ...Object.fromEntries(now.names.map((name, k) => [`the ${name}`, one(k)])),
          "all that is empty": () => erased(free(kit, sceneOf(kit, state()))),
          everything: () => erased(range(kit.grid ** 2)),
          "nothing (undo)": () => set({ erased: [] }),
        });
      },
      async run(now, alive) {
        const scene = sceneOf(kit, now),
          words = now.names.map((name) => kit.answers[now.task][name]);
        const clean = { view: { scene }, question: questionFor(kit, now.task, now.direction, now.names[1]) };
        const before = await ask(clean, [], words);
        const blank = { ...clean, view: { scene: { task: now.task, items: [] } } };
        const edits = now.erased.length
          ? [{ slot: 0, op: "copy", to: now.erased, of: now.erased, from: blank }]
          : [];
        const after = await ask(clean, edits, words);
        if (!alive()) return;
        const rest = (p) => Math.max(0, 1 - words.reduce((sum, word) => sum + p[word], 0));
        shown.show([
          ...words.map((word) => ({ word, p: after.p[word], was: before.p[word] })),
          {
            word: words.includes(after.answer) ? "other words" : `other (${after.answer})`,
            p: rest(after.p),
            was: rest(before.p),
          },
        ]);
        const gone = scene.items.filter((item) =>
          tokensOf(kit, item).every((token) => now.erased.includes(token)),
        );
        say(
          `The model says ${after.answer}${after.answer in after.p ? `, with ${percent(after.p[after.answer])}` : ""}.`,
          now.erased.length
            ? `${now.erased.length} of ${kit.grid ** 2} tokens are erased${gone.length ? `, among them all of the ${list(gone.map((item) => item.name))}` : ""}.`
            : "",
          now.erased.length
            ? after.answer === before.answer
              ? "That is what it said before."
              : `Before, it said ${before.answer}.`
            : "",
        );
      },
    };
  },
};
