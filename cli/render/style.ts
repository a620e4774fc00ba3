export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  yellow(text: string): string;
  green(text: string): string;
}

const RESET = "\x1b[0m";

/** Colours for a terminal; nothing for a pipe, for `NO_COLOR` (https://no-color.org) or a dumb terminal. */
export function styleFor(
  isTerminal: boolean,
  environment: Readonly<Record<string, string | undefined>>,
): Style {
  const plain = !isTerminal || Boolean(environment["NO_COLOR"]) || environment["TERM"] === "dumb";
  const paint = (code: number) => (text: string) => (plain ? text : `\x1b[${code}m${text}${RESET}`);
  return { bold: paint(1), dim: paint(2), red: paint(31), yellow: paint(33), green: paint(32) };
}
