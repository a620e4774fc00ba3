import { type EncodedColumn, loadColumnCodec } from "../../src/series/columns/column-codec.ts";

/** The worked examples of docs/formats/columns.md, as the codec writes them. */
export async function columnsExample(): Promise<Record<string, Uint8Array>> {
  const codec = await loadColumnCodec();
  const rows = 40;
  const bid = Float64Array.from(
    { length: rows },
    (_, i) => (640_011 + [0, 0, 2, 2, 1, 1, 1, 3][i % 8]!) / 10,
  );
  const ask = bid.map((price, i) => Math.round(price * 10 + (i % 5 === 0 ? 2 : 1)) / 10);
  const maker = Uint8Array.from({ length: 2000 }, (_, i) => (i % 100 === 99 ? 1 : 0));
  // A price each, and its offer a tick or two above.
  const price = { name: "bid", type: "f64" as const, rows, values: bid };
  const quotes = codec.encode([price, { ...price, name: "ask", values: ask }]);
  const flag = codec.encode([{ name: "maker", type: "u8", rows: 2000, values: maker }]);
  const ids = BigInt64Array.from({ length: 1024 }, (_, i) => 1000n + BigInt(i) * 7n);
  const light = codec.encode([{ name: "id", type: "i64", rows: 1024, values: ids }], { profile: "light" });
  const bytesOf = (columns: EncodedColumn[], name: string) =>
    columns.find((column) => column.name === name)!.bytes;
  return {
    bid: bytesOf(quotes, "bid"),
    ask: bytesOf(quotes, "ask"),
    maker: bytesOf(flag, "maker"),
    id: bytesOf(light, "id"),
  };
}
