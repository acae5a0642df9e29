// Reads a safetensors file: 8 bytes with the header's length, the header as JSON, then the numbers.

/** {name: {shape, data: Float32Array}} of an ArrayBuffer.  Throws for a damaged file or a type other than F32 and F16. */
export function readTensors(buffer) {
  const length = buffer.byteLength < 8 ? Infinity : Number(new DataView(buffer).getBigUint64(0, true));
  if (8 + length > buffer.byteLength) throw new Error("the weights are truncated: load the page again");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tensors = {};
  delete header.__metadata__;
  for (const [
    name,
    {
      dtype,
      shape,
      data_offsets: [from, to],
    },
  ] of Object.entries(header)) {
    if (8 + length + to > buffer.byteLength)
      throw new Error("the weights are truncated: load the page again");
    const raw = buffer.slice(8 + length + from, 8 + length + to); // a copy, so that it begins at a multiple of 4
    if (dtype === "F32") tensors[name] = { shape, data: new Float32Array(raw) };
    else if (dtype === "F16") tensors[name] = { shape, data: fromHalf(new Uint16Array(raw)) };
    else throw new Error(`${name} is of type ${dtype}; the engine reads F32 and F16`);
  }
  return tensors;
}

function fromHalf(halves) {
  const out = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const h = halves[i],
      exponent = (h >> 10) & 31,
      fraction = h & 1023;
    const size =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction
            ? NaN
            : Infinity
          : (1 + fraction / 1024) * 2 ** (exponent - 15);
    out[i] = h >> 15 ? -size : size;
  }
  return out;
}
