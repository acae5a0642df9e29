// The frame of every explorable: a gate, words that say what changed, reset, a link, and runs one at a time.
import { onProgress, ready } from "./client.js";
import { fresh, h } from "./elements.js";

/**
 * The frame of an explorable in a div.  spec: {name, title, lead, start: its first state, gate: {ask, options, then},
 * build(frame): fills its parts left, more, controls and result, and returns {show(state), run(state, alive), forget()}}.
 *
 * show() draws a state at once; forget() drops what earlier runs found; run() asks the model, says what came out, and stops where alive() is false, as a newer
 * state has come.  Nothing is loaded, and nothing run, before the reader touches something.
 */
export function frame(root, spec, kit) {
  const { name, start } = spec;
  let state = start,
    generation = 0,
    running = false,
    loaded = false,
    guess = null;
  const said = h("p", { class: "said", role: "status", "aria-live": "polite", tabindex: -1 });
  const progress = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "Loading the model" });
  const link = h("a", { class: "link" }, "Link to this state");
  const result = h("div", { class: "result" });
  const gate = h("div", { class: "gate" });
  const left = h("div", { class: "left" }),
    more = h("div", { class: "more" }),
    controls = h("div", { class: "controls" });
  const title = fresh("title");
  const panel = h(
    "section",
    { class: "live-frame", "aria-labelledby": title },
    h("p", { class: "title", id: title }, spec.title),
    h("p", { class: "about" }, spec.lead),
    h(
      "div",
      { class: "columns" },
      h("div", { class: "column" }, left, more),
      h("div", { class: "column" }, h("div", { class: "answer" }, gate, result, progress, said), controls),
    ),
    h(
      "p",
      { class: "below" },
      h(
        "button",
        {
          type: "button",
          onclick: () => {
            openGate();
            say();
            parts.forget(); // else the answer would stand beside the question
            set({ ...start }, true);
          },
        },
        "Reset",
      ),
      embedded() ? null : link,
    ),
  );
  const self = { kit, left, more, controls, result, say, set, state: () => state };

  function say(...sentences) {
    said.textContent = sentences.filter(Boolean).join(" ");
  }

  /** Changes some of the state (all of it with `whole`), shows it and asks the model. */
  function set(change, whole = false) {
    state = whole ? change : { ...state, ...change };
    generation++;
    delete panel.dataset.done;
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
      if (mine === generation) panel.dataset.done = "yes"; // for those who wait for it
    } catch (error) {
      progress.hidden = true;
      say(`That did not work: ${error.message}.`);
    }
    running = false;
    if (mine !== generation && guess !== null) run();
  }

  onProgress((share) => {
    progress.value = share;
  });

  /** The gate stands before the result until the reader predicts, or touches something else. */
  function openGate() {
    const { ask, options, then } = spec.gate;
    guess = null;
    result.hidden = true;
    gate.hidden = false;
    gate.replaceChildren(
      h("p", {}, h("strong", {}, "Predict first. "), ask),
      h(
        "div",
        { class: "choices" },
        ...options.map((text) =>
          h(
            "button",
            {
              type: "button",
              onclick: () => {
                closeGate(text);
                said.focus({ preventScroll: true }); // the button is gone
                set(then(state, kit));
              },
            },
            text,
          ),
        ),
      ),
    );
  }

  function closeGate(text) {
    guess = text;
    result.hidden = false;
    gate.replaceChildren(
      ...(text
        ? [h("p", {}, "You predicted: ", h("strong", {}, text), ". The model's answer follows.")]
        : []),
    );
    gate.hidden = !text;
  }

  const parts = spec.build(self);
  openGate();
  set(start, true);
  root.replaceChildren(panel);
  const follow = () => {
    const linked = fromLink(name);
    try {
      if (!linked) return;
      set({ ...start, ...linked }); // who follows a link to a state wants to see it run
      root.scrollIntoView();
    } catch {
      set(start, true); // a link from another edition
      say("The link does not fit this page; this is where it begins.");
    }
  };
  addEventListener("hashchange", follow);
  follow();
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
  const changed = Object.entries(state).filter(
    ([key, value]) => JSON.stringify(value) !== JSON.stringify(start[key]),
  );
  return `#${name}=${encodeURIComponent(JSON.stringify(Object.fromEntries(changed)))}`;
}
