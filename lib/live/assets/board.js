// The board: a picture under its grid of tokens, to drag items on and to paint tokens.
import { h, list } from "./elements.js";
import { draw, inside, overlap, range } from "./scene.js";

/**
 * A picture with its tokens.  how: {label, mark: what a marked token is, onmove(k, row, col), onpaint(tokens, on)}.
 * show({scene, marked, order, heat}): `marked`, a list of tokens; `order`, as in the lab's views; `heat`, text and
 * strength for each token.
 */
export function board(kit, { label, mark = "marked", onmove, onpaint }) {
  const side = kit.grid * kit.px,
    cell = 48,
    size = kit.grid * cell;
  const picture = h("canvas", {
    class: "picture",
    width: side,
    height: side,
    role: "img",
    "aria-label": label,
  });
  const marks = h("canvas", { class: "marks", width: size, height: size, "aria-hidden": "true" });
  const layer = h("div", { class: "items" });
  const told = h("p", { class: "hidden", "aria-live": "polite" });
  const cells =
    onpaint &&
    h("div", {
      class: "cells",
      tabindex: 0,
      role: "application",
      "aria-label": `Tokens of ${label}. Arrow keys move, space makes a token ${mark} or undoes it, shift with an arrow paints on.`,
    });
  const el = h("div", { class: "board" }, picture, marks, cells, layer, told);
  let shown = { scene: { task: "squares", items: [] }, marked: [] },
    cursor = { row: 0, col: 0 },
    frame = 0;

  const at = ({ row, col }) => row * kit.grid + col;
  const place = (event) => {
    const box = el.getBoundingClientRect(),
      limit = (x) => Math.max(0, Math.min(kit.grid - 1, Math.floor(x * kit.grid)));
    return {
      row: limit((event.clientY - box.top) / box.height),
      col: limit((event.clientX - box.left) / box.width),
    };
  };

  function show(next) {
    const moved = JSON.stringify(next.order) !== JSON.stringify(shown.order);
    const before = shown.order;
    shown = { marked: [], ...next };
    const names =
      shown.scene.items?.map((item) => `${item.name} in row ${item.row + 1}, column ${item.col + 1}`) ?? [];
    picture.setAttribute(
      "aria-label",
      `${label}: ${list(names) || "a scene"}; ${shown.marked.length} tokens ${mark}`,
    );
    cancelAnimationFrame(frame);
    moved && !matchMedia("(prefers-reduced-motion: reduce)").matches ? glide(before) : paint(shown.order);
    drawMarks();
    showItems();
  }

  const pixels = () => {
    const rgb = draw(kit, shown.scene),
      rgba = new ImageData(side, side);
    for (let i = 0; i < side * side; i++)
      rgba.data.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
    return rgba;
  };

  /** Draws every token's patch at its place; `share` of the way from where it was in another order. */
  function paint(order, before, share = 1) {
    const context = picture.getContext("2d"),
      image = pixels();
    if (!order && !before) return context.putImageData(image, 0, 0);
    const source = new OffscreenCanvas(side, side),
      { px, grid } = kit;
    source.getContext("2d").putImageData(image, 0, 0);
    const same = range(grid * grid),
      from = new Map((before ?? same).map((token, k) => [token, k]));
    context.clearRect(0, 0, side, side);
    (order ?? same).forEach((token, k) => {
      const [x0, y0] = [from.get(token) % grid, Math.floor(from.get(token) / grid)],
        [x1, y1] = [k % grid, Math.floor(k / grid)];
      context.drawImage(
        source,
        (token % grid) * px,
        Math.floor(token / grid) * px,
        px,
        px,
        (x0 + (x1 - x0) * share) * px,
        (y0 + (y1 - y0) * share) * px,
        px,
        px,
      );
    });
  }

  function glide(before) {
    const began = performance.now(),
      { order } = shown;
    const go = (now) => {
      const share = Math.min(1, Math.max(0, (now - began) / 600));
      paint(order, before, share * share * (3 - 2 * share));
      if (share < 1) frame = requestAnimationFrame(go);
    };
    frame = requestAnimationFrame(go);
  }

  function drawMarks() {
    const c = marks.getContext("2d"),
      { grid } = kit;
    c.clearRect(0, 0, size, size);
    c.lineWidth = 1;
    c.strokeStyle = "rgba(128, 128, 128, .35)";
    for (let k = 1; k < grid; k++)
      for (const [x, y] of [
        [k * cell, 0],
        [0, k * cell],
      ]) {
        (c.beginPath(), c.moveTo(x, y), c.lineTo(x || size, y || size), c.stroke());
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
      const accent = getComputedStyle(marks).getPropertyValue("--accent");
      for (const [colour, width] of [
        ["#fff", 8],
        [accent, 4],
      ]) {
        ((c.strokeStyle = colour), (c.lineWidth = width));
        c.strokeRect(cursor.col * cell + 3, cursor.row * cell + 3, cell - 6, cell - 6);
      }
    }
  }

  /** A token that is taken away or swapped: stripes that stand out on every colour. */
  function hatch(c, x, y) {
    c.save();
    (c.beginPath(), c.rect(x, y, cell, cell), c.clip());
    ((c.fillStyle = "rgba(255, 255, 255, .82)"), c.fillRect(x, y, cell, cell));
    ((c.strokeStyle = "#444"), (c.lineWidth = 3));
    for (let k = -cell; k < cell; k += 12)
      (c.beginPath(), c.moveTo(x + k, y + cell), c.lineTo(x + k + cell, y), c.stroke());
    c.restore();
  }

  // items: buttons that are dragged, or moved by the arrow keys
  function showItems() {
    const { items = [] } = shown.scene;
    if (!onmove || shown.order) return layer.replaceChildren();
    while (layer.children.length > items.length) layer.lastChild.remove();
    while (layer.children.length < items.length) layer.append(handle(layer.children.length));
    items.forEach((item, k) => {
      const button = layer.children[k],
        share = (x) => `${(100 * x) / kit.grid}%`;
      Object.assign(button.style, {
        left: share(item.col),
        top: share(item.row),
        width: share(kit.item),
        height: share(kit.item),
      });
      button.setAttribute(
        "aria-label",
        `${item.name}, row ${item.row + 1}, column ${item.col + 1}: drag it, or use the arrow keys`,
      );
    });
  }

  function handle(k) {
    let grip = null;
    const move = (row, col) => {
      const others = shown.scene.items.filter((_, other) => other !== k);
      if (inside(kit, row, col) && !others.some((other) => overlap(kit, other, { row, col })))
        onmove(k, row, col);
    };
    return h("button", {
      type: "button",
      class: "item",
      onpointerdown: (event) => {
        const { row, col } = place(event),
          item = shown.scene.items[k];
        grip = { row: row - item.row, col: col - item.col };
        event.target.setPointerCapture(event.pointerId);
      },
      onpointermove: (event) => {
        const { row, col } = place(event),
          item = shown.scene.items[k];
        if (grip && (row - grip.row !== item.row || col - grip.col !== item.col))
          move(row - grip.row, col - grip.col);
      },
      onpointerup: () => {
        grip = null;
      },
      onpointercancel: () => {
        grip = null;
      },
      onkeydown: (event) => {
        const step = ARROWS[event.key],
          item = shown.scene.items[k];
        if (!step) return;
        event.preventDefault();
        move(item.row + step[0], item.col + step[1]);
      },
    });
  }

  if (cells) {
    let painting = null,
      last = null;
    const stroke = (event) => {
      const now = place(event),
        steps = Math.max(Math.abs(now.row - last.row), Math.abs(now.col - last.col), 1);
      const passed = range(steps + 1).map((i) =>
        at({
          row: Math.round(last.row + ((now.row - last.row) * i) / steps),
          col: Math.round(last.col + ((now.col - last.col) * i) / steps),
        }),
      );
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
    cells.addEventListener("pointermove", (event) => {
      if (painting !== null) stroke(event);
    });
    for (const end of ["pointerup", "pointercancel"])
      cells.addEventListener(end, () => {
        painting = null;
      });
    cells.addEventListener("keydown", (event) => {
      const step = ARROWS[event.key],
        on = !shown.marked.includes(at(cursor));
      if (!step && event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (step) {
        const row = cursor.row + step[0],
          col = cursor.col + step[1];
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
