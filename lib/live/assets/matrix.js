// Memory for all matrices, and the one product c = a * b that nearly all of the time goes into.
import { KERNEL } from "./kernel.js";

export const padded = (n, to) => Math.ceil(n / to) * to;

const kernel = () => new WebAssembly.Module(Uint8Array.from(atob(KERNEL), (c) => c.charCodeAt(0)));

/** Whether this browser has WebAssembly's 128-bit SIMD, and this page may use it. */
export function hasSimd() {
  try {
    return Boolean(kernel());
  } catch {
    return false;
  }
}

/**
 * Room for `size` floats: F, the numbers; alloc(n), the index of n new ones (a multiple of 4: the kernel likes 16 bytes);
 * product(a, b, c, n, k, m), which writes c (n, m) = a (n, k) * b (k, m), all given by their index in F, all row-major.
 * n must be a multiple of 4 and m of 8, with SIMD or without.
 */
export function makeMemory(size, simd = hasSimd()) {
  let F, product;
  if (simd) {
    const memory = new WebAssembly.Memory({ initial: Math.ceil(size / 16384) + 1 }); // pages of 64 kB
    const { mm } = new WebAssembly.Instance(kernel(), { js: { memory } }).exports;
    F = new Float32Array(memory.buffer);
    product = (a, b, c, n, k, m) => mm(4 * a, 4 * b, 4 * c, n, k, m);
  } else {
    F = new Float32Array(size);
    product = (a, b, c, n, k, m) => plainProduct(F, a, b, c, n, k, m);
  }
  let top = 0;
  const alloc = (n) => {
    const at = top;
    top += padded(n, 4);
    if (top > F.length) throw new Error(`the model needs more memory than the ${F.length} floats planned`);
    return at;
  };
  return { F, alloc, product };
}

/** The same product without WebAssembly, in tiles of 4 rows and 2 columns for the same reason. */
export function plainProduct(F, a, b, c, n, k, m) {
  for (let i = 0; i < n; i += 4)
    for (let j = 0; j < m; j += 2) {
      let c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0;
      for (let p = 0, pa = a + i * k, pb = b + j; p < k; p++, pa++, pb += m) {
        const x = F[pb], y = F[pb + 1], z0 = F[pa], z1 = F[pa + k], z2 = F[pa + 2 * k], z3 = F[pa + 3 * k];
        ((c0 += z0 * x), (c1 += z1 * x), (c2 += z2 * x), (c3 += z3 * x));
        ((d0 += z0 * y), (d1 += z1 * y), (d2 += z2 * y), (d3 += z3 * y));
      }
      const at = c + i * m + j;
      ((F[at] = c0), (F[at + m] = c1), (F[at + 2 * m] = c2), (F[at + 3 * m] = c3));
      ((F[at + 1] = d0), (F[at + m + 1] = d1), (F[at + 2 * m + 1] = d2), (F[at + 3 * m + 1] = d3));
    }
}
