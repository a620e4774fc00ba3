const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** `512 B`, `1.50 KiB`, `43.2 MiB`: three digits, powers of 1024. */
export function formatBytes(bytes: number): string {
  let value = Math.abs(bytes);
  let unit = 0;
  // What would round up to 1024 of a unit is shown as 1 of the next.
  while (value >= (unit === 0 ? 1024 : 1023.5) && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const sign = bytes < 0 ? "-" : "";
  return `${sign}${unit === 0 ? value : threeDigits(value)} ${BYTE_UNITS[unit]}`;
}

/** `0.42 ms`, `412 ms`, `1.24 s`, `2 min 05 s`, `3 h 07 min`. */
export function formatDuration(ms: number): string {
  if (ms < 999.5) return `${threeDigits(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${threeDigits(seconds)} s`;
  const wholeSeconds = Math.round(seconds);
  if (wholeSeconds < 3600) return `${Math.floor(wholeSeconds / 60)} min ${twoDigits(wholeSeconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${twoDigits(minutes % 60)} min`;
}

/** `2026-11-22 22:08:50Z`. */
export function formatTime(timeUs: bigint): string {
  const date = new Date(Number(timeUs / 1000n));
  if (Number.isNaN(date.getTime())) return `${timeUs} µs`;
  return `${date.toISOString().slice(0, 19).replace("T", " ")}Z`;
}

/** How many times smaller `storedBytes` is: `3.42×`. */
export function formatRatio(logicalBytes: number, storedBytes: number): string {
  return storedBytes > 0 ? `${threeDigits(logicalBytes / storedBytes)}×` : "–";
}

/** Bytes each second, as bytes. */
export function formatRate(bytes: number, ms: number): string {
  return `${formatBytes(ms > 0 ? Math.round((bytes * 1000) / ms) : 0)}/s`;
}

/** `12,345,678`. */
export function formatCount(count: number): string {
  return count.toLocaleString("en-US");
}

/** `1 file`, `2 files`, `1 entry`, `2 entries`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** A measured number in at most six significant digits: `0.0312`, `1.5e-7`. */
export function formatNumber(value: number | undefined): string {
  if (value === undefined) return "–";
  return Number.isFinite(value) ? String(Number(value.toPrecision(6))) : String(value);
}

/** `[64, 128]`. */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

function threeDigits(value: number): string {
  if (value < 9.995) return value.toFixed(2);
  return value < 99.95 ? value.toFixed(1) : value.toFixed(0);
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}
