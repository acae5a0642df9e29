// A LLaVA model in plain JavaScript: a SigLIP vision tower, a two-layer projector and a Llama language model.
// It computes what Hugging Face's LlavaForConditionalGeneration computes for one image and one question.
//
// States are Float32Arrays, row-major: visual (tokens, d), resid (seq, d).  Slot s of the residual stream is the
// input of layer s; the last slot is the output of the last layer.
import { add, copyRows, each, gate, gelu, geluTanh, normalise, rotations, softmax } from "./maths.js";
import { turn, turnRows } from "./maths.js";
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
    this.image = this.words[config.image_token_index ?? config.image_token_id];
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
    const { num_attention_heads: heads, head_dim } = text;
    const widths = [vision, text].flatMap((part) => [part.hidden_size, part.intermediate_size]);
    const widest = Math.max(...widths, 3 * this.patch ** 2, heads * head_dim);
    let size = rows * (10 * widest + rows); // the workplaces, then the weights
    for (const { shape, data } of Object.values(tensors))
      if (shape.length > 1) size += (data.length / shape[0]) * padded(shape[0], 8);
    const { F, alloc, product } = makeMemory(size, simd);
    Object.assign(this, { F, product, rows });

    const vector = (name) => {
      if (!tensors[name]) throw new Error(`the weights lack ${name}`);
      return tensors[name].data;
    };
    // A weight (out, in) is kept as (in, out), so that states times weight is the kernel's a * b.
    const matrix = (name) => {
      const data = vector(name + ".weight"),
        n = tensors[name + ".weight"].shape[0],
        into = data.length / n,
        out = padded(n, 8),
        at = alloc(into * out);
      for (let r = 0; r < n; r++) for (let c = 0; c < into; c++) F[at + c * out + r] = data[r * into + c];
      return { at, into, out, bias: tensors[name + ".bias"]?.data };
    };
    const norm = (name, eps) => ({ gain: vector(name + ".weight"), shift: tensors[name + ".bias"]?.data, eps });
    // heads: how many there are, how many of them share keys and values, how wide one is, and who sees whom.
    const attention = (at, out, heads) => {
      const [q, k, v, o] = ["q_proj", "k_proj", "v_proj", out].map((name) => matrix(at + name));
      return { q, k, v, o, ...heads };
    };

    const tower = "vision_tower.",
      theirs = vision.num_attention_heads,
      towerHeads = { heads: theirs, shared: 1, wide: vision.hidden_size / theirs, causal: false };
    this.patches = matrix(tower + "embeddings.patch_embedding");
    this.places = vector(tower + "embeddings.position_embedding.weight");
    const used = vision.num_hidden_layers + 1 + vision_feature_layer; // -1: the last layer's output, before its norm
    this.tower = Array.from({ length: used }, (_, l) => {
      const at = `${tower}encoder.layers.${l}.`;
      return {
        first: norm(at + "layer_norm1", vision.layer_norm_eps),
        attend: attention(at + "self_attn.", "out_proj", towerHeads),
        second: norm(at + "layer_norm2", vision.layer_norm_eps),
        up: matrix(at + "mlp.fc1"),
        down: matrix(at + "mlp.fc2"),
      };
    });
    this.projector = [matrix("multi_modal_projector.linear_1"), matrix("multi_modal_projector.linear_2")];
    const lm = "language_model.model.",
      lmHeads = { heads, shared: heads / text.num_key_value_heads, wide: head_dim, causal: true };
    this.embedding = vector(lm + "embed_tokens.weight");
    this.decoder = Array.from({ length: this.layers }, (_, l) => {
      const at = `${lm}layers.${l}.`;
      return {
        first: norm(at + "input_layernorm", text.rms_norm_eps),
        attend: attention(at + "self_attn.", "o_proj", lmHeads),
        second: norm(at + "post_attention_layernorm", text.rms_norm_eps),
        gate: matrix(at + "mlp.gate_proj"),
        up: matrix(at + "mlp.up_proj"),
        down: matrix(at + "mlp.down_proj"),
      };
    });
    this.last = norm(lm + "norm", text.rms_norm_eps);
    this.unembed = matrix(text.tie_word_embeddings ? lm + "embed_tokens" : "language_model.lm_head");
    this.rotation = rotations(rows, head_dim, text.rope_parameters.rope_theta);
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
    for (const layer of this.tower) this.#layer(layer, tokens);
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
      const [states, row] = id === image ? [visual, at.push(i) - 1] : [embedding, id];
      resid.set(states.subarray(row * d, (row + 1) * d), i * d);
    });
    return { resid, at };
  }

  /** The residual at slot + 1, from that at slot. */
  step(resid, slot) {
    const { F } = this,
      { x } = this.room;
    F.set(resid, x);
    this.#layer(this.decoder[slot], resid.length / this.d);
    return F.slice(x, x + resid.length);
  }

  /** Logits at the last position, from the residual at the last slot. */
  head(resid) {
    const { F, d } = this,
      { x, h, o } = this.room;
    F.set(resid.subarray(resid.length - d), x);
    normalise(F, x, h, 1, this.last);
    this.#linear(h, this.unembed, o, 1);
    return F.slice(o, o + this.words.length);
  }

  // --- their parts ---

  /** The stream x of n states through one layer; in the language model's layers a gate opens what goes through. */
  #layer(layer, n) {
    const { F } = this,
      { x, h, o, wide, wider } = this.room;
    normalise(F, x, h, n, layer.first);
    this.#attention(layer.attend, n);
    normalise(F, x, h, n, layer.second);
    this.#linear(h, layer.gate ?? layer.up, wide, n);
    if (layer.gate) {
      this.#linear(h, layer.up, wider, n);
      gate(F, wide, wider, n * layer.up.out);
    } else each(F, wide, n * layer.up.out, geluTanh);
    this.#linear(wide, layer.down, o, n);
    add(F, x, o, n * layer.down.out);
  }

  /** to (n, out) = from (n, in) * weight + bias. */
  #linear(from, weight, to, n) {
    this.product(from, weight.at, to, padded(n, 4), weight.into, weight.out);
    const { F } = this,
      { bias, out } = weight;
    if (bias)
      for (let r = 0; r < n; r++) for (let c = 0; c < bias.length; c++) F[to + r * out + c] += bias[c];
  }

  /** x += attention(h), one head after the other; a causal one turns queries and keys by their position. */
  #attention({ q, k, v, o, heads, shared, wide, causal }, n) {
    const { F, room } = this,
      [n4, n8] = [padded(n, 4), padded(n, 8)];
    const theirs = room.wide; // the keys of one head, each a column, then its values, each a row
    this.#linear(room.h, q, room.q, n);
    this.#linear(room.h, k, room.k, n);
    this.#linear(room.h, v, room.v, n);
    if (causal) {
      turn(F, room.q, n, q.out, wide, this.rotation);
      turn(F, room.k, n, k.out, wide, this.rotation);
    }
    for (let head = 0; head < heads; head++) {
      const to = head * wide,
        from = Math.floor(head / shared) * wide; // several heads may share keys and values
      copyRows(F, room.q + to, q.out, room.one, wide, n, wide);
      turnRows(F, room.k + from, k.out, theirs, n8, n, wide);
      this.product(room.one, theirs, room.scores, n4, wide, n8);
      for (let r = 0; r < n; r++)
        softmax(F, room.scores + r * n8, causal ? r + 1 : n, n8, 1 / Math.sqrt(wide));
      copyRows(F, room.v + from, v.out, theirs, wide, n, wide);
      F.fill(0, theirs + n * wide, theirs + n8 * wide); // what stood there may be no number
      this.product(room.scores, theirs, room.one, n4, n8, wide);
      copyRows(F, room.one, wide, room.mixed + to, o.into, n, wide);
    }
    this.#linear(room.mixed, o, room.o, n);
    add(F, room.x, room.o, n * o.out);
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
