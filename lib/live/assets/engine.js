// A LLaVA model in plain JavaScript: a SigLIP vision tower, a two-layer projector and a Llama language model.
// It computes what Hugging Face's LlavaForConditionalGeneration computes for one image and one question.
//
// States are Float32Arrays, row-major: visual (tokens, d), resid (seq, d).  Slot s of the residual stream is the
// input of layer s; the last slot is the output of the last layer.
import {
  add,
  copyRows,
  each,
  gate,
  gelu,
  geluTanh,
  layerNorm,
  rmsNorm,
  rotations,
  softmax,
  turn,
  turnRows,
} from "./maths.js";
import { makeMemory, padded } from "./matrix.js";
import { readTensors } from "./safetensors.js";
import { Tokenizer } from "./tokenizer.js";

const TEXT = 64; // room for the words of a prompt

export class Model {
  /**
   * weights: ArrayBuffer of a safetensors file; config: config.json; tokenizer: tokenizer.json; prompt: the chat
   * template with {question} in it; pixels: {mean, std} of the image processor.  simd: see makeMemory.
   * Throws for a model of another form.
   */
  constructor({ weights, config, tokenizer, prompt, pixels }, simd) {
    check(config);
    const { vision_config: vision, text_config: text } = config;
    this.tokenizer = new Tokenizer(tokenizer);
    this.words = this.tokenizer.words;
    this.prompt = prompt;
    this.image = this.tokenizer.words[config.image_token_index ?? config.image_token_id];
    this.pixels = pixels;
    this.side = vision.image_size;
    this.patch = vision.patch_size;
    this.grid = this.side / this.patch;
    this.tokens = this.grid ** 2;
    this.d = text.hidden_size;
    this.layers = text.num_hidden_layers;
    this.#load(readTensors(weights), config, simd);
  }

  #load(tensors, { vision_config: vision, text_config: text, vision_feature_layer }, simd) {
    const rows = padded(this.tokens + TEXT, 8);
    const widest = Math.max(
      vision.hidden_size,
      vision.intermediate_size,
      text.hidden_size,
      text.intermediate_size,
      3 * this.patch ** 2,
      text.num_attention_heads * text.head_dim,
    );
    let size = 10 * rows * widest + rows * rows;
    for (const {
      shape: [out, ...into],
    } of Object.values(tensors))
      size += into.length ? padded(out, 8) * into.reduce((a, b) => a * b) : 0;
    const { F, alloc, product } = makeMemory(size, simd);
    Object.assign(this, { F, product, rows });
    const vector = (name) => {
      if (!tensors[name]) throw new Error(`the weights lack ${name}`);
      return tensors[name].data;
    };
    // A weight (out, in) is kept as (in, out), so that states times weight is the kernel's a * b.
    const matrix = (name) => {
      const data = vector(name + ".weight"),
        out = tensors[name + ".weight"].shape[0],
        into = data.length / out;
      const wide = padded(out, 8),
        at = alloc(into * wide);
      for (let r = 0; r < out; r++) for (let c = 0; c < into; c++) F[at + c * wide + r] = data[r * into + c];
      return { at, into, out: wide, bias: tensors[name + ".bias"]?.data };
    };
    const attention = (name, out) => ({
      q: matrix(name + "q_proj"),
      k: matrix(name + "k_proj"),
      v: matrix(name + "v_proj"),
      o: matrix(name + out),
    });
    const norm = (name, eps) => ({
      gain: vector(name + ".weight"),
      shift: tensors[name + ".bias"]?.data,
      eps,
    });

    const tower = "vision_tower.",
      lm = "language_model.model.";
    this.patches = matrix(tower + "embeddings.patch_embedding");
    this.places = vector(tower + "embeddings.position_embedding.weight");
    const used = vision.num_hidden_layers + 1 + vision_feature_layer; // -1: the last layer's output, before its norm
    this.tower = Array.from({ length: used }, (_, l) => {
      const at = `${tower}encoder.layers.${l}.`;
      return {
        first: norm(at + "layer_norm1", vision.layer_norm_eps),
        attend: attention(at + "self_attn.", "out_proj"),
        second: norm(at + "layer_norm2", vision.layer_norm_eps),
        up: matrix(at + "mlp.fc1"),
        down: matrix(at + "mlp.fc2"),
      };
    });
    this.towerHeads = {
      heads: vision.num_attention_heads,
      shared: 1,
      wide: vision.hidden_size / vision.num_attention_heads,
    };
    this.projector = [matrix("multi_modal_projector.linear_1"), matrix("multi_modal_projector.linear_2")];
    this.embedding = vector(lm + "embed_tokens.weight");
    this.decoder = Array.from({ length: this.layers }, (_, l) => {
      const at = `${lm}layers.${l}.`;
      return {
        first: norm(at + "input_layernorm", text.rms_norm_eps),
        attend: attention(at + "self_attn.", "o_proj"),
        second: norm(at + "post_attention_layernorm", text.rms_norm_eps),
        gate: matrix(at + "mlp.gate_proj"),
        up: matrix(at + "mlp.up_proj"),
        down: matrix(at + "mlp.down_proj"),
      };
    });
    const heads = text.num_attention_heads;
    this.heads = { heads, shared: heads / text.num_key_value_heads, wide: text.head_dim };
    this.last = norm(lm + "norm", text.rms_norm_eps);
    this.unembed = matrix(text.tie_word_embeddings ? lm + "embed_tokens" : "language_model.lm_head");
    this.rotation = rotations(rows, text.head_dim, text.rope_parameters.rope_theta);
    // The workplaces of a layer: x the stream, h its normed copy, the rest what the names say.
    this.room = { scores: alloc(rows * rows) };
    for (const name of ["x", "h", "q", "k", "v", "o", "mixed", "wide", "wider", "one"])
      this.room[name] = alloc(rows * widest);
  }

  // --- the vision encoder and the projector ---

  /** Visual tokens (tokens, d) of an image; rgb: bytes (side, side, 3). */
  encode(rgb) {
    const { F, side, patch, grid, tokens } = this,
      { x, h, o, wide } = this.room;
    if (rgb.length !== 3 * side * side) throw new Error(`the model takes images of ${side} x ${side} pixels`);
    const { mean, std } = this.pixels,
      into = 3 * patch * patch;
    for (let row = 0; row < side; row++)
      for (let col = 0; col < side; col++)
        for (let ch = 0; ch < 3; ch++) {
          const token = Math.floor(row / patch) * grid + Math.floor(col / patch);
          const within = ch * patch * patch + (row % patch) * patch + (col % patch);
          F[wide + token * into + within] = (rgb[(row * side + col) * 3 + ch] / 255 - mean[ch]) / std[ch];
        }
    this.#linear(wide, this.patches, x, tokens);
    for (let i = 0; i < this.places.length; i++) F[x + i] += this.places[i];
    for (const layer of this.tower) {
      layerNorm(F, x, h, tokens, layer.first);
      this.#attention(layer.attend, tokens, this.towerHeads, false);
      layerNorm(F, x, h, tokens, layer.second);
      this.#linear(h, layer.up, wide, tokens);
      each(F, wide, tokens * layer.up.out, geluTanh);
      this.#linear(wide, layer.down, o, tokens);
      add(F, x, o, tokens * layer.down.out);
    }
    const [first, second] = this.projector;
    this.#linear(x, first, o, tokens);
    each(F, o, tokens * first.out, gelu);
    this.#linear(o, second, h, tokens);
    return F.slice(h, h + tokens * this.d);
  }

  // --- the language model ---

  /** Token ids of the whole prompt; every visual token has the image's id. */
  ids(question) {
    const whole = this.prompt
      .replace("{question}", () => question)
      .replace(this.image, this.image.repeat(this.tokens));
    const ids = this.tokenizer.encode(whole);
    if (ids.length > this.rows) throw new Error(`the question is too long: at most ${TEXT - 4} words`);
    return ids;
  }

  /** The residual at slot 0 and where the visual tokens stand: {resid, at}. */
  begin(question, visual) {
    const ids = this.ids(question),
      { d, embedding } = this,
      image = this.tokenizer.vocab.get(this.image);
    const resid = new Float32Array(ids.length * d),
      at = [];
    ids.forEach((id, i) => {
      const from =
        id === image
          ? visual.subarray(at.length * d, (at.length + 1) * d)
          : embedding.subarray(id * d, (id + 1) * d);
      if (id === image) at.push(i);
      resid.set(from, i * d);
    });
    return { resid, at };
  }

  /** The residual at slot + 1, from that at slot. */
  step(resid, slot) {
    const { F } = this,
      { x, h, o, wide, wider } = this.room,
      layer = this.decoder[slot],
      seq = resid.length / this.d;
    F.set(resid, x);
    rmsNorm(F, x, h, seq, layer.first);
    this.#attention(layer.attend, seq, this.heads, true);
    rmsNorm(F, x, h, seq, layer.second);
    this.#linear(h, layer.gate, wide, seq);
    this.#linear(h, layer.up, wider, seq);
    gate(F, wide, wider, seq * layer.up.out);
    this.#linear(wide, layer.down, o, seq);
    add(F, x, o, seq * this.d);
    return F.slice(x, x + seq * this.d);
  }

  /** Logits at the last position, from the residual at the last slot. */
  head(resid) {
    const { F, d } = this,
      { x, h, o } = this.room;
    F.set(resid.subarray(resid.length - d), x);
    rmsNorm(F, x, h, 1, this.last);
    this.#linear(h, this.unembed, o, 1);
    return F.slice(o, o + this.words.length);
  }

  // --- their parts ---

  /** to (n, out) = from (n, in) * weight + bias. */
  #linear(from, weight, to, n) {
    this.product(from, weight.at, to, padded(n, 4), weight.into, weight.out);
    const { F } = this,
      { bias, out } = weight;
    if (bias)
      for (let r = 0; r < n; r++) for (let c = 0; c < bias.length; c++) F[to + r * out + c] += bias[c];
  }

  /** x += attention(h), one head after the other; the language model's is causal and turns by position. */
  #attention(layer, n, { heads, shared, wide }, causal) {
    const { F } = this,
      { x, h, q, k, v, o, mixed, scores, one } = this.room;
    const n4 = padded(n, 4),
      n8 = padded(n, 8),
      [dq, dk, dv] = [layer.q.out, layer.k.out, layer.v.out];
    const theirs = this.room.wide; // the keys of one head, each a column, then its values, each a row
    this.#linear(h, layer.q, q, n);
    this.#linear(h, layer.k, k, n);
    this.#linear(h, layer.v, v, n);
    if (causal) {
      turn(F, q, n, dq, wide, this.rotation);
      turn(F, k, n, dk, wide, this.rotation);
    }
    for (let head = 0; head < heads; head++) {
      const to = head * wide,
        from = Math.floor(head / shared) * wide; // several heads may share keys and values
      copyRows(F, q + to, dq, one, wide, n, wide);
      turnRows(F, k + from, dk, theirs, n8, n, wide);
      this.product(one, theirs, scores, n4, wide, n8);
      for (let r = 0; r < n; r++) softmax(F, scores + r * n8, causal ? r + 1 : n, n8, 1 / Math.sqrt(wide));
      copyRows(F, v + from, dv, theirs, wide, n, wide);
      F.fill(0, theirs + n * wide, theirs + n8 * wide); // what stood there may be no number
      this.product(scores, theirs, one, n4, n8, wide);
      copyRows(F, one, wide, mixed + to, layer.o.into, n, wide);
    }
    this.#linear(mixed, layer.o, o, n);
    add(F, x, o, n * layer.o.out);
  }
}

/** Throws, with what is wrong, for a model that this engine would compute wrongly. */
function check({ model_type, vision_config: vision, text_config: text, ...config }) {
  const wanted = [
    [model_type, "llava", "model_type"],
    [vision.model_type, "siglip_vision_model", "vision model_type"],
    [vision.hidden_act, "gelu_pytorch_tanh", "vision hidden_act"],
    [text.model_type, "llama", "text model_type"],
    [text.hidden_act, "silu", "text hidden_act"],
    [text.rope_parameters?.rope_type, "default", "rope_type"],
    [config.projector_hidden_act, "gelu", "projector_hidden_act"],
    [config.vision_feature_select_strategy, "full", "vision_feature_select_strategy"],
    [text.hidden_size % 8, 0, "hidden_size modulo 8"],
    [vision.hidden_size % 8, 0, "vision hidden_size modulo 8"],
    [text.intermediate_size % 8, 0, "intermediate_size modulo 8"],
    [vision.intermediate_size % 8, 0, "vision intermediate_size modulo 8"],
    [text.head_dim % 8, 0, "head_dim modulo 8"],
    [(vision.hidden_size / vision.num_attention_heads) % 8, 0, "vision head size modulo 8"],
  ];
  for (const [found, expected, name] of wanted)
    if (found !== expected)
      throw new Error(`the page cannot run this model: ${name} is ${found}, and must be ${expected}`);
}
