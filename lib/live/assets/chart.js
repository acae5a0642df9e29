// A small chart.
import { h, svg } from "./elements.js";

/**
 * A small chart of curves.  how: {label, x, y, most, ticks: {value: text}}, with x from 0 to `most`;
 * show({curves: [{name, points, style, dots}], at, told}): points, [[x, p], ...] with p from 0 to 1; `dots`, without
 * a line; `at`, where a vertical line stands; `told`, the chart in words.
 */
export function chart({ label, x, y, most, ticks }) {
  const w = 340,
    high = 200,
    edge = { left: 30, right: 10, top: 24, bottom: 34 };
  const sx = (v) => edge.left + (v / most) * (w - edge.left - edge.right);
  const sy = (p) => high - edge.bottom - p * (high - edge.top - edge.bottom);
  const text = (at, words, more) => svg("text", { x: at[0], y: at[1], ...more }, words);
  const el = svg("svg", { class: "chart", viewBox: `0 0 ${w} ${high}`, role: "img", "aria-label": label });
  const key = h("p", { class: "key" });
  const frame = [
    ...[0, 0.5, 1].flatMap((p) => [
      svg("line", { class: "rule", x1: sx(0), x2: sx(most), y1: sy(p), y2: sy(p) }),
      text([sx(0) - 5, sy(p) + 4], String(p), { "text-anchor": "end" }),
    ]),
    ...Object.entries(ticks).map(([v, words]) =>
      text([sx(v), high - edge.bottom + 15], words, { "text-anchor": "middle" }),
    ),
    text([(sx(0) + sx(most)) / 2, high - 4], x, { "text-anchor": "middle" }),
    text([0, 11], y),
  ];
  const show = ({ curves, at, told }) => {
    const drawn = curves.flatMap(({ points, style, dots }) => [
      points.length > 1 && !dots
        ? svg("polyline", {
            class: `line ${style}`,
            points: points.map(([v, p]) => `${sx(v)},${sy(p)}`).join(" "),
          })
        : null,
      ...points.map(([v, p]) => marker(style, sx(v), sy(p))),
    ]);
    const line =
      at === undefined ? null : svg("line", { class: "slot", x1: sx(at), x2: sx(at), y1: sy(0), y2: sy(1) });
    el.replaceChildren(
      ...frame.map((one) => one.cloneNode(true)),
      ...drawn.filter(Boolean),
      ...(line ? [line] : []),
    );
    el.setAttribute("aria-label", told || label);
    key.replaceChildren(
      ...curves
        .filter(({ name }) => name)
        .map(({ name, style, dots }) =>
          h(
            "span",
            {},
            svg(
              "svg",
              { class: "swatch", viewBox: "0 0 24 12", "aria-hidden": "true" },
              dots ? null : svg("line", { class: `line ${style}`, x1: 0, x2: 24, y1: 6, y2: 6 }),
              marker(style, 12, 6),
            ),
            name,
          ),
        ),
    );
  };
  return { el: h("div", { class: "charted" }, el, key), show };
}

/** A point whose form says which curve it is of, for those who cannot tell the colours. */
function marker(style, x, y) {
  const forms = {
    two: `M${x - 3.5} ${y - 3.5}h7v7h-7Z`,
    three: `M${x} ${y - 5}l5 9h-10Z`,
    five: `M${x} ${y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5Z`,
  };
  if (forms[style]) return svg("path", { class: `dot ${style}`, d: forms[style] });
  return svg("circle", { class: `dot ${style}`, cx: x, cy: y, r: style.startsWith("ghost") ? 2.5 : 3.8 });
}
