// How far residual payloads are from the entropy of what they say: the conditional entropy of tokens and map
// given the contexts that docs/formats/encodings.md defines, as if their distributions were known beforehand, and the
// raw bits. The distance is what the tables cost to tell, and what the stream, header and rounding add.

/** Bits at the entropy, and bits of the payload, of one residual payload of floats of two or four bytes. */
export function boundOf({ payload, bytes, bases, widthBytes, mantissaBits, exponentMask }) {
  const count = bytes.length / widthBytes;
  const [flags, threshold] = [payload[0], (payload[1] << 24) >> 24];
  const bits = widthBytes * 8;
  const lanes = (source) => lanesOf(source, widthBytes, count);
  const [x, p, g] = [lanes(bytes), lanes(bases[0]), flags & 1 ? lanes(bases[1]) : undefined];
  const top = 2 ** (bits - 1);
  const order = (v) => (v >= top ? 2 ** bits - 1 - v : v + top);
  const signed = (v) => (v >= top ? v - 2 ** bits : v < -top ? v + 2 ** bits : v);
  const exponent = (v) => Math.floor(v / 2 ** mantissaBits) & exponentMask;
  const largest = p.reduce((most, v) => Math.max(most, exponent(v)), 0);
  const zeros = (flags & 2) !== 0;
  const tally = new Tally();
  let raw = 0;
  const changed = new Uint8Array(Math.ceil(count / 16));
  for (let i = 0; i < count; i++) if (x[i] !== p[i]) changed[i >> 4] = 1;
  if (flags & 4)
    for (let k = 0; k < changed.length; k++)
      tally.add(`map ${changed[k - 1]} ${changed[k - 2]} ${drifted(p, g, k)}`, changed[k]);
  for (let i = 0; i < count; i++) {
    if (flags & 4 && !changed[i >> 4]) continue;
    const mp = order(p[i]);
    const d = g ? signed(mp - order(g[i])) : 0;
    let r = signed(order(x[i]) - mp);
    if (d < 0 || (d === 0 && p[i] >= top)) r = -r;
    const level = Math.min(largest - exponent(p[i]), 23);
    const shift = Math.max(0, Math.min((flags & 8 ? 0 : level) - threshold, bits - 5));
    const size = Math.floor(Math.abs(d) / 2 ** shift);
    const drift = [1, 2, 3, 4, 6, 8, 16].filter((edge) => size >= edge).length;
    const q = Math.floor(r / 2 ** shift);
    const m = q < 0 ? -q - 1 : q;
    const extra = m < 8 ? 0 : Math.floor(Math.log2(m));
    const unchanged = zeros && r === 0;
    const far = m >= 1024;
    const token = unchanged ? "unchanged" : far ? "far" : m < 8 ? q : Math.sign(q) * (extra + 5);
    tally.add(`token ${Math.min(level, 15)} ${drift}`, token);
    if (far) raw += 8 + Math.floor(Math.log2(Math.abs(r)));
    else if (!unchanged) raw += shift + extra;
  }
  return { boundBits: tally.bits() + raw, payloadBits: payload.length * 8 };
}

function lanesOf(bytes, widthBytes, count) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: count }, (_, i) =>
    widthBytes === 2 ? view.getUint16(i * 2, true) : view.getUint32(i * 4, true),
  );
}

function drifted(p, g, group) {
  if (!g) return false;
  for (let i = group * 16; i < group * 16 + 16; i++) if (p[i] !== g[i]) return true;
  return false;
}

class Tally {
  contexts = new Map();

  add(context, symbol) {
    const counts = this.contexts.get(context) ?? new Map();
    this.contexts.set(context, counts);
    counts.set(symbol, (counts.get(symbol) ?? 0) + 1);
  }

  bits() {
    let sum = 0;
    for (const counts of this.contexts.values()) {
      const total = [...counts.values()].reduce((a, b) => a + b, 0);
      for (const n of counts.values()) sum += n * Math.log2(total / n);
    }
    return sum;
  }
}
