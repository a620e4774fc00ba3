/** Live records of the partition that is opened and snapshotted, and keys the single commits are spread over. */
export const RECORDS = 100_000;

/** An order as an engine keeps it: about 200 bytes encoded. */
export function order(number: number) {
  return {
    symbol: "BTCUSDT",
    side: "buy",
    quantity: "0.12500000",
    price: "64210.50",
    status: "new",
    orderId: 123_456_789_012_345_678n + BigInt(number),
    openedUs: 1_700_000_000_000_000n,
    filled: "0.00000000",
    strategy: "mean-reversion",
    client: "x-8f2c",
  };
}

export type Order = ReturnType<typeof order>;

/** A key far from the one before: an engine's orders come in no order. */
export function makeKey(number: number): string {
  return `order-${String((number * 7919) % RECORDS).padStart(8, "0")}`;
}

let keys: string[] | undefined;

/**
 * The same, made beforehand: an engine has its keys from messages. Made from numbers one after the other, they keep the
 * cache of numbers' texts that Node.js has full of new strings, and moving these was most of every young collection.
 */
export function key(number: number): string {
  keys ??= Array.from({ length: RECORDS }, (_, each) => makeKey(each));
  return keys[number % RECORDS]!;
}
