// What the explorables share: elements, a frame with a gate, words, reset and link, controls, and a board of tokens.
import { call, onProgress, ready } from "./client.js";
import { draw, inside, overlap, range } from "./scene.js";

/** An HTML element: h("p", {class: "lead"}, "text", other).  on* are listeners. */
export function h(name, given = {}, ...children) {
  const element = document.createElement(name);
  put(element, given);
  element.append(...children.filter((child) => child != null));
  return element;
}

/** The same for SVG. */
export function svg(name, given = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  put(element, given);
  element.append(...children.filter((child) => child != null));
  return element;
}

function put(element, given) {
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
}

let count = 0;
const fresh = (what) => `live-${what}-${++count}`;
export const percent = (p) => `${Math.round(100 * p)} %`;
export const article = (word) => (/^[aeiou]/.test(word) ? "an " : "a ") + word;
export const list = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);

/**
 * The frame of an explorable in a div.  spec: {name, title, lead, start: its first state, gate: {ask, options, then},
 * build(frame): fills its parts left, more, controls and result, and returns {show(state), run(state, alive)}}.
 *
 * show() draws a state at once; run() asks the model, says what came out, and stops where alive() is false, as a newer
 * state has come.  Nothing is loaded, and nothing run, before the reader touches something.
 */
export function frame(root, spec, kit) {
  const { name, start } = spec;
  let state = { ...start, ...fromLink(name) };
  let generation = 0, running = false, loaded = false, guess = null;
  const said = h("p", { class: "said", role: "status", "aria-live": "polite", tabindex: -1 });
  const progress = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "Loading the model" });
  const link = h("a", { class: "link" }, "Link to this state");
  const result = h("div", { class: "result" });
  const gate = h("div", { class: "gate" });
  const left = h("div", { class: "left" }), more = h("div", { class: "more" }), controls = h("div", { class: "controls" });
  const title = fresh("title");
  const panel = h("section", { class: "live-frame", "aria-labelledby": title },
    h("p", { class: "title", id: title }, spec.title), h("p", { class: "lead" }, spec.lead),
    h("div", { class: "columns" }, h("div", { class: "column" }, left, more),
      h("div", { class: "column" }, h("div", { class: "answer" }, gate, result, progress, said), controls)),
    h("p", { class: "foot" },
      h("button", { type: "button", onclick: () => { openGate(); gate.hidden = false; say(); set({ ...start }, true); } }, "Reset"),
      embedded() ? null : link));
  const self = { kit, left, more, controls, result, say, set, state: () => state };

  function say(...sentences) {
    said.textContent = sentences.filter(Boolean).join(" ");
  }

  /** Changes some of the state (all of it with `whole`), shows it and asks the model. */
  function set(change, whole = false) {
    state = whole ? change : { ...state, ...change };
    generation++;
    if (guess === null && !whole) closeGate("");
    parts.show(state);
    link.href = toLink(name, state, start);
    if (guess !== null) run();
  }

  /** One run at a time; of the states that come meanwhile only the last is run. */
  async function run() {
    if (running) return;
    running = true;
    const mine = generation;
    try {
      if (!loaded) {
        progress.hidden = false;
        say("Loading the model, once ...");
        await ready();
        loaded = progress.hidden = true;
        say();
      }
      await parts.run(state, () => mine === generation);
      panel.dataset.ran = generation;
    } catch (error) {
      progress.hidden = true;
      say(`That did not work: ${error.message}.`);
    }
    running = false;
    if (mine !== generation) run();
  }

  onProgress((share) => { progress.value = share; });

  /** The gate stands before the result until the reader predicts, or touches something else. */
  function openGate() {
    const { ask, options, then } = spec.gate;
    guess = null;
    result.hidden = true;
    gate.replaceChildren(h("p", {}, h("strong", {}, "Predict first. "), ask),
      h("div", { class: "choices" }, ...options.map((text) => h("button", { type: "button", onclick: () => {
        closeGate(text);
        said.focus({ preventScroll: true }); // the button is gone
        set(then(state, kit));
      } }, text))));
  }

  function closeGate(text) {
    guess = text;
    result.hidden = false;
    gate.replaceChildren(...(text ? [h("p", {}, "You predicted: ", h("strong", {}, text), ". The model's answer follows.")] : []));
    gate.hidden = !text;
  }

  const parts = spec.build(self);
  openGate();
  parts.show(state);
  link.href = toLink(name, state, start);
  root.replaceChildren(panel);
  addEventListener("hashchange", () => {
    const linked = fromLink(name);
    if (linked) set({ ...start, ...linked });
  });
  if (fromLink(name)) {
    set({}); // who follows a link to a state wants to see it
  }
  return self;
}

const embedded = () => location.protocol === "about:";

function fromLink(name) {
  const found = location.hash.match(new RegExp(`^#${name}=(.*)$`));
  try {
    return found && JSON.parse(decodeURIComponent(found[1]));
  } catch {
    return null; // somebody else's fragment, or a link cut short
  }
}

function toLink(name, state, start) {
  const changed = Object.entries(state).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(start[key]));
  return `#${name}=${encodeURIComponent(JSON.stringify(Object.fromEntries(changed)))}`;
}

// --- controls: each has an element `el` and show(value) ---

/** One of several options, as radio buttons.  options: {value: label}. */
export function choice(label, options, onchange) {
  const group = fresh("choice");
  const inputs = Object.entries(options).map(([value, text]) => {
    const input = h("input", { type: "radio", name: group, value, onchange: () => onchange(value) });
    return h("label", {}, input, h("span", {}, text));
  });
  const el = h("fieldset", {}, h("legend", {}, label), h("div", { class: "options" }, ...inputs));
  return { el, show: (value) => inputs.forEach(({ firstChild: input }) => { input.checked = input.value === String(value); }) };
}

/** A number; told(value) says it in words. */
export function slider(label, { min, max, step = 1, told = String }, onchange) {
  const id = fresh("slider"), value = h("output", { for: id });
  const input = h("input", { type: "range", id, min, max, step, oninput: () => { show(input.value); onchange(Number(input.value)); } });
  const show = (x) => {
    input.value = x;
    value.textContent = told(Number(x));
    input.setAttribute("aria-valuetext", told(Number(x)));
  };
  return { el: h("div", { class: "slider" }, h("label", { for: id }, label), value, input), show };
}

/** Buttons under one label.  given: {text: onclick}; show(given) gives it others. */
export function buttons(label, given = {}) {
  const row = h("div", { class: "options" });
  const show = (given) => {
    const made = Object.entries(given).map(([text, onclick]) => h("button", { type: "button", onclick }, text));
    const same = made.length === row.children.length && made.every((one, k) => one.textContent === row.children[k].textContent);
    if (!same) row.replaceChildren(...made); // buttons that stay keep the focus
  };
  show(given);
  return { el: h("fieldset", {}, h("legend", {}, label), row), show };
}

/** Answers as bars: show([{word, p, was, note}]); `was`, a tick where the bar stood before. */
export function bars(label) {
  const el = h("div", { class: "bars", role: "group", "aria-label": label });
  const show = (rows) => el.replaceChildren(...rows.map(({ word, p, was, note }) => h("div", { class: "bar" },
    h("span", { class: "word" }, word, note ? h("small", {}, note) : null),
    h("span", { class: "track" }, h("span", { class: "fill", style: `width:${100 * p}%` }),
      was === undefined ? null : h("span", { class: "was", style: `left:${100 * was}%`, title: `before: ${percent(was)}` })),
    h("span", { class: "number" }, percent(p)))));
  return { el, show };
}

// --- the board: a picture under its grid of tokens ---

/**
 * A picture with its tokens.  how: {label, mark: what a marked token is, onmove(k, row, col), onpaint(tokens, on)}.
 * show({scene, marked, order, heat}): `marked`, a list of tokens; `order`, as in the lab's views; `heat`, text and
 * strength for each token.
 */
export function board(kit, { label, mark = "marked", onmove, onpaint }) {
  const side = kit.grid * kit.px, cell = 48, size = kit.grid * cell;
  const picture = h("canvas", { class: "picture", width: side, height: side, role: "img" });
  const marks = h("canvas", { class: "marks", width: size, height: size, "aria-hidden": "true" });
  const layer = h("div", { class: "items" });
  const told = h("p", { class: "hidden", "aria-live": "polite" });
  const cells = onpaint && h("div", {
    class: "cells", tabindex: 0, role: "application",
    "aria-label": `Tokens of ${label}. Arrow keys move, space makes a token ${mark} or undoes it, shift with an arrow paints on.`,
  });
  const el = h("div", { class: "board" }, picture, marks, cells, layer, told);
  let shown = { scene: { task: "squares", items: [] }, marked: [] }, cursor = { row: 0, col: 0 }, frame = 0;

  const at = ({ row, col }) => row * kit.grid + col;
  const place = (event) => {
    const box = el.getBoundingClientRect(), limit = (x) => Math.max(0, Math.min(kit.grid - 1, Math.floor(x * kit.grid)));
    return { row: limit((event.clientY - box.top) / box.height), col: limit((event.clientX - box.left) / box.width) };
  };

  function show(next) {
    const moved = JSON.stringify(next.order) !== JSON.stringify(shown.order);
    const before = shown.order;
    shown = { marked: [], ...next };
    const names = shown.scene.items?.map((item) => `${item.name} in row ${item.row + 1}, column ${item.col + 1}`) ?? [];
    picture.setAttribute("aria-label", `${label}: ${list(names) || "a scene"}; ${shown.marked.length} tokens ${mark}`);
    cancelAnimationFrame(frame);
    moved && !matchMedia("(prefers-reduced-motion: reduce)").matches ? glide(before) : paint(shown.order);
    drawMarks();
    showItems();
  }

  const pixels = () => {
    const rgb = draw(kit, shown.scene), rgba = new ImageData(side, side);
    for (let i = 0; i < side * side; i++) rgba.data.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
    return rgba;
  };

  /** Draws every token's patch at its place; `share` of the way from where it was in another order. */
  function paint(order, before, share = 1) {
    const context = picture.getContext("2d"), image = pixels();
    if (!order && !before) return context.putImageData(image, 0, 0);
    const source = new OffscreenCanvas(side, side), { px, grid } = kit;
    source.getContext("2d").putImageData(image, 0, 0);
    const same = range(grid * grid), from = new Map((before ?? same).map((token, k) => [token, k]));
    context.clearRect(0, 0, side, side);
    (order ?? same).forEach((token, k) => {
      const [x0, y0] = [from.get(token) % grid, Math.floor(from.get(token) / grid)], [x1, y1] = [k % grid, Math.floor(k / grid)];
      context.drawImage(source, (token % grid) * px, Math.floor(token / grid) * px, px, px,
        (x0 + (x1 - x0) * share) * px, (y0 + (y1 - y0) * share) * px, px, px);
    });
  }

  function glide(before) {
    const began = performance.now(), { order } = shown;
    const go = (now) => {
      const share = Math.min(1, Math.max(0, (now - began) / 600));
      paint(order, before, share * share * (3 - 2 * share));
      if (share < 1) frame = requestAnimationFrame(go);
    };
    frame = requestAnimationFrame(go);
  }

  function drawMarks() {
    const c = marks.getContext("2d"), { grid } = kit;
    c.clearRect(0, 0, size, size);
    c.lineWidth = 1;
    c.strokeStyle = "rgba(128, 128, 128, .35)";
    for (let k = 1; k < grid; k++) for (const [x, y] of [[k * cell, 0], [0, k * cell]]) {
      c.beginPath(), c.moveTo(x, y), c.lineTo(x || size, y || size), c.stroke();
    }
    for (const token of shown.marked) hatch(c, (token % grid) * cell, Math.floor(token / grid) * cell);
    shown.heat?.forEach(({ text, strength, colour }, token) => {
      const [x, y] = [(token % grid) * cell, Math.floor(token / grid) * cell];
      c.globalAlpha = 0.15 + 0.55 * strength;
      c.fillStyle = colour;
      c.fillRect(x, y, cell, cell);
      c.globalAlpha = 1;
      c.fillStyle = "#000";
      c.font = `${Math.round(cell * 0.5)}px sans-serif`;
      c.textAlign = "center";
      c.fillText(text, x + cell / 2, y + cell * 0.68);
    });
    if (cells && document.activeElement === cells) {
      c.lineWidth = 5;
      for (const [colour, width] of [["#fff", 8], ["#0b57d0", 4]]) {
        c.strokeStyle = colour, c.lineWidth = width;
        c.strokeRect(cursor.col * cell + 3, cursor.row * cell + 3, cell - 6, cell - 6);
      }
    }
  }

  /** A token that is taken away or swapped: stripes that stand out on every colour. */
  function hatch(c, x, y) {
    c.save();
    c.beginPath(), c.rect(x, y, cell, cell), c.clip();
    c.fillStyle = "rgba(255, 255, 255, .82)", c.fillRect(x, y, cell, cell);
    c.strokeStyle = "#444", c.lineWidth = 3;
    for (let k = -cell; k < cell; k += 12) c.beginPath(), c.moveTo(x + k, y + cell), c.lineTo(x + k + cell, y), c.stroke();
    c.restore();
  }

  // items: buttons that are dragged, or moved by the arrow keys
  function showItems() {
    const { items = [] } = shown.scene;
    if (!onmove || shown.order) return layer.replaceChildren();
    while (layer.children.length > items.length) layer.lastChild.remove();
    while (layer.children.length < items.length) layer.append(handle(layer.children.length));
    items.forEach((item, k) => {
      const button = layer.children[k], share = (x) => `${(100 * x) / kit.grid}%`;
      Object.assign(button.style, { left: share(item.col), top: share(item.row), width: share(kit.item), height: share(kit.item) });
      button.setAttribute("aria-label", `${item.name}, row ${item.row + 1}, column ${item.col + 1}: drag it, or use the arrow keys`);
    });
  }

  function handle(k) {
    let grip = null;
    const move = (row, col) => {
      const others = shown.scene.items.filter((_, other) => other !== k);
      if (inside(kit, row, col) && !others.some((other) => overlap(kit, other, { row, col }))) onmove(k, row, col);
    };
    return h("button", {
      type: "button", class: "item",
      onpointerdown: (event) => {
        const { row, col } = place(event), item = shown.scene.items[k];
        grip = { row: row - item.row, col: col - item.col };
        event.target.setPointerCapture(event.pointerId);
      },
      onpointermove: (event) => {
        const { row, col } = place(event), item = shown.scene.items[k];
        if (grip && (row - grip.row !== item.row || col - grip.col !== item.col)) move(row - grip.row, col - grip.col);
      },
      onpointerup: () => { grip = null; },
      onpointercancel: () => { grip = null; },
      onkeydown: (event) => {
        const step = ARROWS[event.key], item = shown.scene.items[k];
        if (!step) return;
        event.preventDefault();
        move(item.row + step[0], item.col + step[1]);
      },
    });
  }

  if (cells) {
    let painting = null, last = null;
    const stroke = (event) => {
      const now = place(event), steps = Math.max(Math.abs(now.row - last.row), Math.abs(now.col - last.col), 1);
      const passed = range(steps + 1).map((i) => at({
        row: Math.round(last.row + ((now.row - last.row) * i) / steps), col: Math.round(last.col + ((now.col - last.col) * i) / steps),
      }));
      last = now;
      const open = [...new Set(passed)].filter((token) => shown.marked.includes(token) !== painting);
      if (open.length) onpaint(open, painting);
    };
    cells.addEventListener("pointerdown", (event) => {
      cells.setPointerCapture(event.pointerId);
      last = cursor = place(event);
      painting = !shown.marked.includes(at(last));
      stroke(event);
    });
    cells.addEventListener("pointermove", (event) => { if (painting !== null) stroke(event); });
    for (const end of ["pointerup", "pointercancel"]) cells.addEventListener(end, () => { painting = null; });
    cells.addEventListener("keydown", (event) => {
      const step = ARROWS[event.key], on = !shown.marked.includes(at(cursor));
      if (!step && event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (step) {
        const row = cursor.row + step[0], col = cursor.col + step[1];
        if (Math.min(row, col) >= 0 && Math.max(row, col) < kit.grid) cursor = { row, col };
        if (event.shiftKey && !shown.marked.includes(at(cursor))) onpaint([at(cursor)], true);
      } else onpaint([at(cursor)], on);
      drawMarks();
      told.textContent = `Row ${cursor.row + 1}, column ${cursor.col + 1}${shown.marked.includes(at(cursor)) ? `, ${mark}` : ""}`;
    });
    for (const type of ["focus", "blur"]) cells.addEventListener(type, drawMarks);
  }
  return { el, show, painting: (on) => el.classList.toggle("painting", on) };
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * A small chart of curves.  how: {label, x, y, ticks: {value: text}}; show({curves: [{name, points, style}], at}).
 * points: [[x, p], ...] with x from 0 to `most` and p from 0 to 1; `at`, where a line stands.
 */
export function chart({ label, x, y, most, ticks }) {
  const w = 340, high = 200, edge = { left: 30, right: 10, top: 24, bottom: 34 };
  const sx = (v) => edge.left + (v / most) * (w - edge.left - edge.right);
  const sy = (p) => high - edge.bottom - p * (high - edge.top - edge.bottom);
  const text = (at, words, more) => svg("text", { x: at[0], y: at[1], ...more }, words);
  const el = svg("svg", { class: "chart", viewBox: `0 0 ${w} ${high}`, role: "img", "aria-label": label });
  const key = h("p", { class: "key" });
  const frame = [
    ...[0, 0.5, 1].flatMap((p) => [svg("line", { class: "rule", x1: sx(0), x2: sx(most), y1: sy(p), y2: sy(p) }),
      text([sx(0) - 5, sy(p) + 4], String(p), { "text-anchor": "end" })]),
    ...Object.entries(ticks).map(([v, words]) => text([sx(v), high - edge.bottom + 15], words, { "text-anchor": "middle" })),
    text([(sx(0) + sx(most)) / 2, high - 4], x, { "text-anchor": "middle" }),
    text([0, 11], y),
  ];
  const show = ({ curves, at, told }) => {
    const drawn = curves.flatMap(({ points, style, shape }) => [
      points.length > 1 && shape !== "dots" ? svg("polyline", { class: `line ${style}`, points: points.map(([v, p]) => `${sx(v)},${sy(p)}`).join(" ") }) : null,
      ...points.map(([v, p]) => marker(shape ?? style, sx(v), sy(p), style)),
    ]);
    const line = at === undefined ? null : svg("line", { class: "here", x1: sx(at), x2: sx(at), y1: sy(0), y2: sy(1) });
    el.replaceChildren(...frame.map((one) => one.cloneNode(true)), ...drawn.filter(Boolean), ...(line ? [line] : []));
    el.setAttribute("aria-label", told ?? label);
    key.replaceChildren(...curves.filter(({ name }) => name).map(({ name, style, shape }) => h("span", {},
      svg("svg", { class: "swatch", viewBox: "0 0 24 12", "aria-hidden": "true" },
        svg("line", { class: `line ${style}`, x1: 0, x2: 24, y1: 6, y2: 6 }), marker(shape ?? style, 12, 6, style)), name)));
  };
  return { el: h("div", { class: "charted" }, el, key), show };
}

/** A point whose form says which curve it is of, for those who cannot tell the colours. */
function marker(shape, x, y, style) {
  if (style.startsWith("ghost")) return svg("circle", { class: `dot ${style}`, cx: x, cy: y, r: 2.5 });
  if (style === "two") return svg("rect", { class: `dot ${style}`, x: x - 3.5, y: y - 3.5, width: 7, height: 7 });
  if (style === "three") return svg("path", { class: `dot ${style}`, d: `M${x} ${y - 5}L${x + 5} ${y + 4}L${x - 5} ${y + 4}Z` });
  return svg("circle", { class: `dot ${style}`, cx: x, cy: y, r: 3.8 });
}

/** Asks the model about a run {view, question} after edits. */
export const ask = (clean, edits, words) => call("ask", { clean, edits, words });
