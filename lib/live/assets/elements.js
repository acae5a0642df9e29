// Elements and words that the explorables share.

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
export const fresh = (what) => `live-${what}-${++count}`;
export const percent = (p) => `${Math.round(100 * p)}\u00a0%`;
export const list = (words) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
