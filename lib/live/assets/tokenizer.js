// The word-level tokenizer of tokenizer.json: lower-case words, with some punctuation split off, and special tokens.

export class Tokenizer {
  /** config: tokenizer.json, parsed.  Throws for another kind of tokenizer. */
  constructor({ model, added_tokens, pre_tokenizer }) {
    if (model.type !== "WordLevel") throw new Error(`a word-level tokenizer is needed, not ${model.type}`);
    this.vocab = new Map(Object.entries(model.vocab));
    this.words = [...this.vocab].sort((a, b) => a[1] - b[1]).map(([word]) => word);
    this.special = new Set(added_tokens.map((token) => token.content));
    const escape = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const marks = (pre_tokenizer.pretokenizers ?? [pre_tokenizer]).flatMap((p) => p.pattern?.String ?? []);
    // what is found is kept by split(), as the pattern stands in brackets
    this.cuts = new RegExp(`(${[...this.special, ...marks].map(escape).join("|")})|\\s+`);
  }

  /** Token ids of a text.  Throws with the word that the vocabulary lacks. */
  encode(text) {
    return text
      .split(this.cuts)
      .filter(Boolean)
      .map((word) => {
        const id = this.vocab.get(this.special.has(word) ? word : word.toLowerCase());
        if (id === undefined) throw new Error(`the model does not know the word "${word}"`);
        return id;
      });
  }
}
