// The page's side of the worker: loads what the model needs when it is first wanted, then asks it.
// All files come as scripts, as a page from file:// may not fetch: each calls dualmechLive.arrived(name, data).

const HERE = document.currentScript?.src ?? "";
const arrived = new Map(); // name -> what waits for it
const stored = new Map();

export function arrive(name, data) {
  stored.set(name, data);
  arrived.get(name)?.(data);
}

/** The data that the script of this name brings (at once, if it came with the page). */
function script(name) {
  if (stored.has(name)) return Promise.resolve(stored.get(name));
  return new Promise((resolve, reject) => {
    arrived.set(name, resolve);
    const tag = document.createElement("script");
    tag.src = new URL(name, HERE || document.baseURI).href;
    tag.onerror = () =>
      reject(new Error(`${name} could not be loaded: check the connection, then load the page again`));
    document.head.append(tag);
  });
}

const once = (make) => {
  let made = null;
  return (...given) =>
    (made ??= make(...given).catch((error) => {
      made = null;
      throw error;
    }));
};

/** What the page needs to draw: {kit, model, weights: {pieces, bytes, sha256}, extras}. */
export const manifest = once(() => script("model.js"));

/** Scenes, probes and directions, for the explorables that use them. */
export const extras = once(async () => {
  const found = await script((await manifest()).extras);
  const side = (await manifest()).kit.grid * (await manifest()).kit.px;
  const kept = found.kept.map((scene) => ({ ...scene, pixels: unpacked(bytesOf(scene.data), side) }));
  await call(
    "keep",
    kept.map(({ pixels }) => ({ pixels })),
  );
  return { ...found, kept };
});

function unpacked(data, side) {
  const out = new Uint8ClampedArray(3 * side * side);
  for (let i = 0; i < side * side; i++)
    out.set(data.subarray(3 * data[768 + i], 3 * data[768 + i] + 3), 3 * i);
  return out;
}

const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const listeners = new Set();
/** Calls back with the share of the weights that is there, from 0 to 1. */
export const onProgress = (listener) => listeners.add(listener);

/** The worker with the model in it: {layers, simd}. */
export const ready = once(async () => {
  const { kit, model, weights } = await manifest();
  const data = new Uint8Array(weights.bytes);
  let at = 0;
  for (const name of weights.pieces) {
    const piece = bytesOf(await script(name));
    stored.delete(name);
    data.set(piece, at);
    at += piece.length;
    listeners.forEach((tell) => tell(at / weights.bytes));
  }
  await verify(data, weights);
  const simd = new URLSearchParams(location.search).get("simd") === "off" ? false : undefined;
  return message("load", { model: { ...model, weights: data.buffer }, kit, simd }, [data.buffer]);
});

/** Throws if the weights are not the ones that the site was built with. */
async function verify(data, { sha256 }) {
  if (!crypto.subtle) return; // on plain http from another machine: then every piece came, and that must do
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  const hex = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== sha256) throw new Error("the model's file is damaged: load the page again");
}

let worker = null,
  last = 0;
const waiting = new Map();

function message(name, given, transfer = []) {
  if (!worker) {
    worker = new Worker(URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" })));
    worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      error === undefined ? resolve(result) : reject(new Error(error));
    };
    worker.onerror = () => {
      worker = null; // where this page stands, workers are forbidden
      waiting.forEach(({ reject }) => reject(new Error("this page may not start the worker that runs the model")));
      waiting.clear();
    };
  }
  return new Promise((resolve, reject) => {
    waiting.set(++last, { resolve, reject });
    worker.postMessage({ id: last, name, given }, transfer);
  });
}

/** Asks the model, loading it if need be; see `offers` in worker.js. */
export async function call(name, given) {
  await ready();
  return message(name, given);
}

/** Asks the model about a run {view, question} after edits. */
export const ask = (clean, edits, words) => call("ask", { clean, edits, words });
