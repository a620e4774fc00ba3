/** One line of JSON. Times are 64-bit integers, which JSON numbers do not hold: they become strings. */
export function renderJson(value: unknown): string {
  return `${JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? item.toString() : item))}\n`;
}
