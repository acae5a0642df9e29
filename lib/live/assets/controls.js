// Controls and bars; each has an element `el` and show(value) ---
import { fresh, h, percent } from "./elements.js";

/** One of several options, as radio buttons.  options: {value: label}. */
export function choice(label, options, onchange) {
  const group = fresh("choice");
  const inputs = Object.entries(options).map(([value, text]) => {
    const input = h("input", { type: "radio", name: group, value, onchange: () => onchange(value) });
    return h("label", {}, input, h("span", {}, text));
  });
  const el = h("fieldset", {}, h("legend", {}, label), h("div", { class: "options" }, ...inputs));
  return {
    el,
    show: (value) =>
      inputs.forEach(({ firstChild: input }) => {
        input.checked = input.value === String(value);
      }),
  };
}

/** A number; told(value) says it in words. */
export function slider(label, { min, max, step = 1, told = String }, onchange) {
  const id = fresh("slider"),
    value = h("output", { for: id });
  const input = h("input", {
    type: "range",
    id,
    min,
    max,
    step,
    oninput: () => {
      show(input.value);
      onchange(Number(input.value));
    },
  });
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
    const made = Object.entries(given).map(([text, onclick]) =>
      h("button", { type: "button", onclick }, text),
    );
    const same =
      made.length === row.children.length &&
      made.every((one, k) => one.textContent === row.children[k].textContent);
    if (!same) row.replaceChildren(...made); // buttons that stay keep the focus
  };
  show(given);
  return { el: h("fieldset", {}, h("legend", {}, label), row), show };
}

/** Answers as bars: show([{word, p, was, note}]); `was`, a tick where the bar stood before. */
export function bars(label) {
  const el = h("div", { class: "bars", role: "group", "aria-label": label });
  const show = (rows) =>
    el.replaceChildren(
      ...rows.map(({ word, p, was, note }) =>
        h(
          "div",
          { class: "chance" },
          h("span", { class: "word" }, word, note ? h("small", {}, note) : null),
          h(
            "span",
            { class: "track" },
            h("span", { class: "fill", style: `width:${100 * p}%` }),
            was === undefined
              ? null
              : h("span", { class: "was", style: `left:${100 * was}%`, title: `before: ${percent(was)}` }),
          ),
          h("span", { class: "number" }, percent(p)),
        ),
      ),
    );
  return { el, show };
}
