// Interventions on states: Float32Arrays of rows of d numbers, changed in place.  Rows are sequence positions.

/** Overwrites rows `to` of a run's residual by rows `of` of another run's. */
export function copy(resid, d, to, from, of) {
  to.forEach((row, k) => resid.set(from.subarray(of[k] * d, (of[k] + 1) * d), row * d));
}

/** Adds a vector to each of the rows. */
export function steer(resid, d, rows, vector) {
  for (const row of rows) for (let c = 0; c < d; c++) resid[row * d + c] += vector[c];
}

/**
 * Turns up a signal in each of the rows.  "projection": x + alpha * sum_k (<x, w_k> / |w_k|^2) w_k;
 * "constant": x + alpha * sum_k w_k.  With `null`, a direction, each row moves along that instead, by as much (in norm)
 * as it would have moved, to the side on which it stands.
 */
export function amplify(resid, d, rows, { directions, alpha, how = "projection", null: other = null }) {
  if (!["projection", "constant"].includes(how))
    throw new Error(`how is "projection" or "constant", not "${how}"`);
  const dot = (a, at, b) => {
    let s = 0;
    for (let c = 0; c < d; c++) s += a[at + c] * b[c];
    return s;
  };
  const along = other && other.map((x) => x / Math.sqrt(dot(other, 0, other)));
  for (const row of rows) {
    const move = new Float64Array(d);
    for (const w of directions) {
      const share = how === "projection" ? dot(resid, row * d, w) / (dot(w, 0, w) + 1e-8) : 1;
      for (let c = 0; c < d; c++) move[c] += alpha * share * w[c];
    }
    const size = along && Math.sqrt(dot(move, 0, move)) * Math.sign(dot(resid, row * d, along));
    for (let c = 0; c < d; c++) resid[row * d + c] += along ? size * along[c] : move[c];
  }
}
