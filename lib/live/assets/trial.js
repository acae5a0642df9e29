// Trials as the chapters have them: a task, a direction, three items in a row or column, and a question.
import { mirrored, questionFor, random, rowOf, shuffled } from "./scene.js";

export const DIRECTIONS = { left: "left of", right: "right of", above: "above", below: "below" };
export const TASKS = { squares: "Squares", shapes: "Shapes", objects: "Objects" };
export const vertical = (direction) => direction === "above" || direction === "below";

/** Three items of a task drawn by a seed (Squares without orange, as in the tasks). */
export function drawn(kit, task, seed, n = 3) {
  const names = Object.keys(kit.sprites[task]).filter((name) => n > 3 || name !== "orange square");
  return shuffled(names, random(seed)).slice(0, n);
}

/** {scene, question, words, right, wrong}: the answers by place, the right one, and that of the mirror image. */
export function trial(kit, { task, direction, names }) {
  const scene = rowOf(kit, task, names, vertical(direction));
  const words = names.map((name) => kit.answers[task][name]);
  const first = direction === "left" || direction === "above";
  return {
    scene,
    mirror: mirrored(scene),
    question: questionFor(kit, task, direction, names[1]),
    words,
    right: words[first ? 0 : 2],
    wrong: words[first ? 2 : 0],
    reference: words[1],
  };
}
