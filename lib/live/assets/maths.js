// The small functions of the model, on a Float32Array F, in place.

export const each = (F, at, n, f) => {
  for (let i = at; i < at + n; i++) F[i] = f(F[i]);
};
export const add = (F, to, from, n) => {
  for (let i = 0; i < n; i++) F[to + i] += F[from + i];
};
/** silu(a) * b, into a. */
export const gate = (F, a, b, n) => {
  for (let i = 0; i < n; i++) F[a + i] *= F[b + i] / (1 + Math.exp(-F[a + i]));
};
// 0.5 z (1 + tanh(u)), as tanh(u) = 2 / (1 + exp(-2u)) - 1, and exp is faster
export const geluTanh = (z) => z / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (z + 0.044715 * z * z * z)));
export const gelu = (z) => 0.5 * z * (1 + erf(z / Math.SQRT2));

/** Abramowitz and Stegun 7.1.26: wrong by 1.5e-7 at most. */
function erf(z) {
  const t = 1 / (1 + 0.3275911 * Math.abs(z));
  const sum = (((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592;
  return Math.sign(z) * (1 - sum * t * Math.exp(-z * z));
}

/** Normalised rows: where a norm has a shift, by mean and variance (LayerNorm); else by their size alone (RMSNorm). */
export function normalise(F, from, to, n, { gain, shift, eps }) {
  const d = gain.length;
  for (let row = from, out = to; row < from + n * d; row += d, out += d) {
    let mean = 0,
      square = 0;
    if (shift) for (let c = 0; c < d; c++) mean += F[row + c] / d;
    for (let c = 0; c < d; c++) square += (F[row + c] - mean) ** 2 / d;
    const scale = 1 / Math.sqrt(square + eps);
    for (let c = 0; c < d; c++) F[out + c] = (F[row + c] - mean) * scale * gain[c] + (shift ? shift[c] : 0);
  }
}

/** Softmax of scale * row over its first `seen` numbers; those up to `all` become 0. */
export function softmax(F, row, seen, all, scale) {
  let top = -Infinity,
    sum = 0;
  for (let c = row; c < row + seen; c++) if (F[c] > top) top = F[c];
  for (let c = row; c < row + seen; c++) sum += F[c] = Math.exp(scale * (F[c] - top));
  const share = 1 / sum;
  for (let c = row; c < row + seen; c++) F[c] *= share;
  F.fill(0, row + seen, row + all);
}

/** Copies the first `wide` numbers of n rows; d and e: lengths of a row where they come from and go to. */
export function copyRows(F, from, d, to, e, n, wide) {
  for (let r = 0; r < n; r++) for (let c = 0; c < wide; c++) F[to + r * e + c] = F[from + r * d + c];
}

/** The same, rows becoming columns. */
export function turnRows(F, from, d, to, e, n, wide) {
  for (let r = 0; r < n; r++) for (let c = 0; c < wide; c++) F[to + c * e + r] = F[from + r * d + c];
}

/** Cosine and sine of every position and frequency: {cos, sin}, each (positions, wide / 2). */
export function rotations(positions, wide, theta) {
  const half = wide / 2,
    angle = (i) => Math.floor(i / half) / theta ** ((i % half) / half);
  const table = (f) => Float32Array.from({ length: positions * half }, (_, i) => f(angle(i)));
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

/** Rotary positions: number c of a head's first half and of its second half turn together. */
export function turn(F, states, n, d, wide, { cos, sin }) {
  const half = wide / 2;
  for (let r = 0; r < n; r++)
    for (let start = states + r * d; start < states + (r + 1) * d; start += wide)
      for (let c = 0; c < half; c++) {
        const a = F[start + c],
          b = F[start + half + c],
          i = r * half + c;
        F[start + c] = a * cos[i] - b * sin[i];
        F[start + half + c] = b * cos[i] + a * sin[i];
      }
}
