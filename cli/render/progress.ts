import type { Progress } from "../library.ts";
import type { Terminal } from "../terminal.ts";
import { formatBytes, formatDuration, formatRate } from "./quantities.ts";

/** Work that is done sooner shows nothing. */
const SHOWN_AFTER_MS = 1000;
const REDRAW_MS = 100;
const BAR_COLUMNS = 24;
const CLEAR_LINE = "\r\x1b[2K";

export interface ProgressBar {
  update(progress: Progress): void;
  /** Takes the bar off the screen. */
  clear(): void;
}

/** A bar on the error stream, in one line that is redrawn; nothing unless that stream is a terminal. */
export function startProgress(terminal: Terminal, label: string, enabled: boolean): ProgressBar {
  const startMs = terminal.nowMs();
  let drawnMs: number | undefined;
  return {
    update(progress) {
      if (!enabled || !terminal.errIsTerminal) return;
      const nowMs = terminal.nowMs();
      if (nowMs - startMs < SHOWN_AFTER_MS) return;
      if (drawnMs !== undefined && nowMs - drawnMs < REDRAW_MS) return;
      drawnMs = nowMs;
      const line = progressLine(label, progress, nowMs - startMs);
      // A line that wraps could not be cleared.
      terminal.writeErr(CLEAR_LINE + line.slice(0, Math.max(0, terminal.columns - 1)));
    },
    clear() {
      if (drawnMs !== undefined) terminal.writeErr(CLEAR_LINE);
      drawnMs = undefined;
    },
  };
}

/** `saving  ████████░░░░  61 %  1.20 GiB of 1.96 GiB  310 MiB/s  2.45 s left`. */
export function progressLine(label: string, { doneBytes, totalBytes }: Progress, elapsedMs: number): string {
  const rate = formatRate(doneBytes, elapsedMs);
  if (!(totalBytes > 0)) return `${label}  ${formatBytes(doneBytes)}  ${rate}`;
  const share = Math.min(1, Math.max(0, doneBytes / totalBytes));
  const full = Math.round(share * BAR_COLUMNS);
  const bar = "█".repeat(full) + "░".repeat(BAR_COLUMNS - full);
  const percent = `${Math.floor(share * 100)} %`.padStart(5);
  const left = share > 0 ? `  ${formatDuration((elapsedMs * (1 - share)) / share)} left` : "";
  return `${label}  ${bar} ${percent}  ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}  ${rate}${left}`;
}
