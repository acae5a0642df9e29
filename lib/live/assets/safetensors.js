// Reads a safetensors file: 8 bytes with the header's length, the header as JSON, then the numbers.

/** {name: {shape, data: Float32Array}} of an ArrayBuffer.  Throws for a damaged file or a type other than F32 and F16. */
export function readTensors(buffer) {
  const bytes = (from, to) => {
    if (to > buffer.byteLength) throw new Error("the weights are truncated: load the page again");
    return buffer.slice(from, to); // a copy, so that it begins at a multiple of 4
  };
  const begin = 8 + Number(new DataView(bytes(0, 8)).getBigUint64(0, true));
  const { __metadata__, ...header } = JSON.parse(new TextDecoder().decode(bytes(8, begin)));
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    const raw = bytes(...data_offsets.map((at) => begin + at));
    if (dtype === "F32") tensors[name] = { shape, data: new Float32Array(raw) };
    else if (dtype === "F16") tensors[name] = { shape, data: fromHalf(new Uint16Array(raw)) };
    else throw new Error(`${name} is of type ${dtype}; the engine reads F32 and F16`);
  }
  return tensors;
}

/** Finite halves as floats: sign, exponent and fraction go to their places, and 2^112 makes up for the exponents' offsets. */
function fromHalf(halves) {
  const bits = Uint32Array.from(halves, (h) => ((h & 0x8000) << 16) | ((h & 0x7fff) << 13));
  return new Float32Array(bits.buffer).map((x) => x * 2 ** 112);
}
