// Memory for all matrices, and the one product c = a * b that nearly all of the time goes into.
import { KERNEL } from "./kernel.js";

export const padded = (n, to) => Math.ceil(n / to) * to;

/** Whether this browser has WebAssembly's 128-bit SIMD. */
export function hasSimd() {
  return typeof WebAssembly === "object" && WebAssembly.validate(kernelBytes());
}

const kernelBytes = () => Uint8Array.from(atob(KERNEL), (c) => c.charCodeAt(0));

/**
 * Room for `size` floats: F, the numbers; alloc(n), the index of n new ones (a multiple of 4: the kernel likes 16 bytes);
 * product(a, b, c, n, k, m), which writes c (n, m) = a (n, k) * b (k, m), all given by their index in F, all row-major.
 * n must be a multiple of 4 and m of 8, with SIMD or without.
 */
export function makeMemory(size, simd = hasSimd()) {
  let F, product;
  if (simd) {
    const memory = new WebAssembly.Memory({ initial: Math.ceil(size / 16384) + 1 }); // pages of 64 kB
    const { mm } = new WebAssembly.Instance(new WebAssembly.Module(kernelBytes()), { js: { memory } }).exports;
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

/** The same product without WebAssembly; a row of c is built up from rows of b, which lie side by side. */
export function plainProduct(F, a, b, c, n, k, m) {
  for (let i = 0; i < n; i++) {
    const row = F.subarray(c + i * m, c + i * m + m).fill(0);
    for (let p = 0; p < k; p++) {
      const x = F[a + i * k + p], start = b + p * m;
      for (let j = 0; j < m; j++) row[j] += x * F[start + j];
    }
  }
}
