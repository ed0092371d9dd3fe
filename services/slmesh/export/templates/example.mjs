// Answers with the model of this folder: `node example.mjs TEXT ...`, one line of JSON a text.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-node";

const [BASE, MIX, SALT] = [0x9e3779b97f4a7c15n, 0xff51afd7ed558ccdn, 0x2545f4914f6cdd1dn];
// Letters and digits, and what separates words, as Python's \w and \s have them.
const WORDS = /[\p{L}\p{N}_]+|[^\p{L}\p{N}_\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/gu;
const start = (text, most) => (text.length > most ? Array.from(text).slice(0, most).join("") : text);

/** The hash of an n-gram, given as code points: a polynomial of them, mixed twice. */
function bucket(piece, salt, bits) {
  let value = piece.reduceRight((sum, code) => BigInt.asUintN(64, sum * BASE + code), 0n) ^ salt;
  for (let i = 0; i < 2; i++) value = BigInt.asUintN(64, (value ^ (value >> 33n)) * MIX);
  return value >> BigInt(64 - bits);
}

/** The graph, the tokenizer, and what model.json says of them. */
export class Model {
  static async load(folder) {
    const read = (name) => JSON.parse(readFileSync(folder + name, "utf8"));
    const model = Object.assign(new Model(), { about: read("model.json") });
    model.graph = await ort.InferenceSession.create(folder + "model.onnx");
    if (model.about.tokens) model.tokenizer = new Tokenizer(read("tokenizer.json"), {});
    model.lower = model.tokenizer?.normalizer?.config?.lowercase;
    return model;
  }

  /** The hashes of n-grams in and of words, how often each occurs, and the tokens. */
  inputs(text) {
    const { bits, char_sizes, word_sizes, read_code_points } = this.about.ngrams;
    const words = start(text, read_code_points).toLowerCase().match(WORDS) ?? [];
    const found = new Map();
    const count = (text, n, salt = 0n, codes = Array.from(text, (c) => BigInt(c.codePointAt(0)))) => {
      for (let i = 0; i + n <= codes.length; i++) {
        const hash = bucket(codes.slice(i, i + n), salt, bits);
        found.set(hash, (found.get(hash) ?? 0) + 1);
      }
    };
    for (const n of char_sizes) for (const word of words) count(` ${word} `, n);
    for (const n of word_sizes)
      for (let i = 0; i + n <= words.length; i++) {
        const group = words.slice(i, i + n).join(" ");
        count(group, Array.from(group).length, SALT);
      }
    const ints = (values) => BigInt64Array.from(values, BigInt);
    const feed = { buckets: new ort.Tensor("int64", ints(found.keys()), [found.size]) };
    feed.counts = new ort.Tensor("float32", Float32Array.from(found.values()), [found.size]);
    if (this.about.tokens) {
      const { most, read_code_points } = this.about.tokens;
      // One character at a time, or the last sigma of a word would become another one.
      const seen = Array.from(start(text, read_code_points), (c) => (this.lower ? c.toLowerCase() : c));
      const { ids } = this.tokenizer.encode(seen.join(""));
      const cut = [...ids.slice(0, most - 1), ...ids.slice(most - 1).slice(-1)];
      feed.input_ids = new ort.Tensor("int64", ints(cut), [1, cut.length]);
    }
    return feed;
  }

  /** The answer for each scale (a classifier has one), none for a text without words. */
  async answer(text) {
    const feed = this.inputs(text);
    const values = feed.counts.size ? await this.graph.run(feed) : null;
    const one = ({ name, labels, abstain_below }) => {
      const tier = values[`${name}.by_encoder`].data[0] ? "encoder" : "linear";
      const abstains = values[`${name}.in_scope`].data[0] < abstain_below[tier];
      const pairs = labels.map((label, i) => [label, values[`${name}.probabilities`].data[i]]);
      return [name, { tier, abstains, probabilities: Object.fromEntries(pairs) }];
    };
    return values ? Object.fromEntries(this.about.scales.map(one)) : {};
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const model = await Model.load(fileURLToPath(new URL("./", import.meta.url)));
  for (const text of process.argv.slice(2)) console.log(JSON.stringify(await model.answer(text)));
}
