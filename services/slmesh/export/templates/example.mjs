// Answers with the model of this folder: `node example.mjs TEXT ...`, one line of JSON a text.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-node";

const [BASE, MIX, SALT] = [0x9e3779b97f4a7c15n, 0xff51afd7ed558ccdn, 0x2545f4914f6cdd1dn];
// Letters and digits, and what separates words, as Python's \w and \s have them.
const WORDS = /[\p{L}\p{N}_]+|[^\p{L}\p{N}_\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/gu;
const start = (text, most) => (text.length > most ? Array.from(text).slice(0, most).join("") : text);
const ints = (values) => BigInt64Array.from(values, BigInt);
const wrap = (value) => BigInt.asUintN(64, value);
const mix = (value) => wrap((value ^ (value >> 33n)) * MIX);
const polynomial = (text) => Array.from(text).reduceRight((sum, c) => wrap(sum * BASE + BigInt(c.codePointAt(0))), 0n);

/** The graph, the tokenizer, and what model.json says of them. */
export class Model {
  static async load(folder) {
    const read = (name) => JSON.parse(readFileSync(folder + name, "utf8"));
    const about = read("model.json");
    const tokenizer = about.tokens && new Tokenizer(read("tokenizer.json"), {});
    const graph = await ort.InferenceSession.create(folder + "model.onnx");
    return Object.assign(new Model(), { about, tokenizer, graph });
  }
  /** The hashes of n-grams in and of words, how often each occurs, and the tokens. */
  inputs(text) {
    const { bits, char_sizes, word_sizes, read_code_points } = this.about.ngrams;
    const words = start(text, read_code_points).toLowerCase().match(WORDS) ?? [];
    const hash = (piece, salt) => mix(mix(polynomial(piece) ^ salt)) >> BigInt(64 - bits);
    const runs = (row, n) => row.slice(n - 1).map((_, i) => row.slice(i, i + n));
    const inside = char_sizes.flatMap((n) => words.flatMap((word) => runs(Array.from(` ${word} `), n)));
    const found = inside.map((run) => hash(run.join(""), 0n));
    for (const n of word_sizes) for (const run of runs(words, n)) found.push(hash(run.join(" "), SALT));
    const counts = found.reduce((map, one) => map.set(one, (map.get(one) ?? 0) + 1), new Map());
    const feed = { buckets: new ort.Tensor("int64", ints(counts.keys()), [counts.size]) };
    feed.counts = new ort.Tensor("float32", Float32Array.from(counts.values()), [counts.size]);
    if (!this.about.tokens) return feed;
    const { most, read_code_points: longest } = this.about.tokens;
    // One character at a time, or the last sigma of a word would become another one.
    const lower = (c) => (this.tokenizer.normalizer?.config?.lowercase ? c.toLowerCase() : c);
    const { ids } = this.tokenizer.encode(Array.from(start(text, longest), lower).join(""));
    const cut = ints([...ids.slice(0, most - 1), ...ids.slice(most - 1).slice(-1)]);
    return { ...feed, input_ids: new ort.Tensor("int64", cut, [1, cut.length]) };
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
const asked = process.argv[1] === fileURLToPath(import.meta.url) ? process.argv.slice(2) : [];
const model = asked.length ? await Model.load(fileURLToPath(new URL("./", import.meta.url))) : null;
for (const text of asked) console.log(JSON.stringify(await model.answer(text)));
