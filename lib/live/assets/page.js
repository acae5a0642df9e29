// Finds the explorables of a page and builds them: <div class="explorable" data-explorable="erase-ask">.
import { arrive, call, manifest } from "./client.js";
import { h } from "./elements.js";
import { frame } from "./frame.js";
import { erase } from "./erase.js";
import { stripLab } from "./strip.js";
import { scrubber } from "./scrub.js";
import { twoRoads } from "./roads.js";
import { turnUp } from "./turnup.js";
import { heatMap } from "./heat.js";

const ALL = Object.fromEntries(
  [erase, scrubber, stripLab, twoRoads, turnUp, heatMap].map((spec) => [spec.name, spec]),
);

async function start() {
  const roots = [...document.querySelectorAll("[data-explorable]")];
  if (!roots.length) return;
  const { kit } = await manifest().catch((error) => {
    roots.forEach((root) => root.replaceChildren(h("p", {}, error.message)));
    throw error;
  });
  document.head.append(h("style", {}, STYLE));
  for (const root of roots) {
    const spec = ALL[root.dataset.explorable];
    if (!spec)
      throw new Error(`no explorable "${root.dataset.explorable}"; known: ${Object.keys(ALL).join(", ")}`);
    frame(root, spec, kit);
  }
}

window.dualmechLive = { arrived: arrive, call };
document.readyState === "loading" ? addEventListener("DOMContentLoaded", start) : start();
