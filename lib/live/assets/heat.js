// Probe heat map: where in the picture can a linear probe read the place of an item?
import { board } from "./board.js";
import { choice } from "./controls.js";
import { h, list } from "./elements.js";
import { call, extras } from "./client.js";
import { range, tokensOf } from "./scene.js";

const NAMES = { horizontal: ["left", "middle", "right"], vertical: ["top", "middle", "bottom"] };
const COLOURS = ["#56b4e9", "#bbbbbb", "#ffa24d"];

export const heatMap = {
  name: "heat-map",
  title: "A probe that reads place",
  lead: "A linear probe was trained on tokens of squares in a row: is this token's square the first, the middle or the last? Here it reads every token, also those that show nothing. Drag the squares.",
  start: { axis: "horizontal", items: [{ name: "green square", row: 5, col: 1 }] },
  gate: {
    ask: 'One square stands at the left. Where will the probe read "left"?',
    options: ["on the square only", "in the left third", "everywhere"],
    then: (state) => state,
  },
  build({ kit, left, controls, result, say, set, state }) {
    const others = ["red square", "blue square"];
    const picture = board(kit, {
      label: "the picture",
      mark: "read",
      onmove: (k, row, col) =>
        set({ items: state().items.map((item, i) => (i === k ? { ...item, row, col } : item)) }),
    });
    const axis = choice(
      "The probe reads",
      { horizontal: "left, middle, right", vertical: "top, middle, bottom" },
      (axis) => set({ axis }),
    );
    const n = choice("Squares", { 1: "one", 3: "three" }, (n) =>
      set({ items: n === "1" ? state().items.slice(0, 1) : placed(state().items[0]) }),
    );
    const key = h("p", { class: "key" }),
      body = h("tbody");
    const table = h("table", {}, h("caption", {}, "Tokens read as"), body);
    left.append(picture.el, key);
    controls.append(axis.el, n.el);
    result.append(table);
    const middle = Math.floor((kit.grid - kit.item) / 2);
    const placed = (first) => [
      first,
      ...others.map((name, k) => {
        const spots = range(kit.grid - kit.item + 1).map((i) => ({
          name,
          row: middle,
          col: (5 + 4 * k + i) % (kit.grid - kit.item + 1),
        }));
        return spots.find(
          (spot) => Math.abs(spot.col - first.col) >= kit.item || Math.abs(spot.row - first.row) >= kit.item,
        );
      }),
    ];
    let heat = null;

    return {
      forget() {
        heat = null;
      },
      show(now) {
        picture.show({ scene: { task: "squares", items: now.items }, heat });
        axis.show(now.axis);
        n.show(now.items.length);
        key.replaceChildren(
          ...NAMES[now.axis].map((name, k) =>
            h(
              "span",
              {},
              h("b", { class: "letter", style: `background:${COLOURS[k]}` }, name[0].toUpperCase()),
              name,
            ),
          ),
        );
      },
      async run(now, alive) {
        const { probes } = await extras(),
          scene = { task: "squares", items: now.items };
        const read = await call("probe", { view: { scene }, ...probes[now.axis] });
        if (!alive()) return;
        const names = NAMES[now.axis],
          best = read.map((p) => p.indexOf(Math.max(...p)));
        heat = read.map((p, token) => ({
          text: names[best[token]][0].toUpperCase(),
          strength: (Math.max(...p) - 1 / 3) * 1.5,
          colour: COLOURS[best[token]],
        }));
        this.show(now);
        const all = range(read.length),
          on = new Set(now.items.flatMap((item) => tokensOf(kit, item)));
        const count = (tokens, k) => tokens.filter((token) => best[token] === k).length;
        const rows = [
          ...now.items.map((item) => [item.name, tokensOf(kit, item)]),
          ["background", all.filter((token) => !on.has(token))],
        ];
        body.replaceChildren(
          h("tr", {}, h("td"), ...names.map((name) => h("th", { scope: "col" }, name))),
          ...rows.map(([name, tokens]) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, name),
              ...names.map((_, k) => h("td", {}, String(count(tokens, k)))),
            ),
          ),
        );
        const background = rows.at(-1)[1];
        say(
          ...now.items.map((item) => {
            const tokens = tokensOf(kit, item),
              k = range(3).reduce((a, b) => (count(tokens, b) > count(tokens, a) ? b : a));
            return `On the ${item.name} the probe reads ${names[k]}.`;
          }),
          `Of ${background.length} empty tokens it reads ${list(names.map((name, k) => `${name} at ${count(background, k)}`))}.`,
        );
      },
    };
  },
};
