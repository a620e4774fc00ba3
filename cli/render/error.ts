import { InvariantError, isStoreError } from "../../src/errors.ts";
import { UsageError } from "../exit-codes.ts";
import { renderJson } from "./json.ts";
import type { Style } from "./style.ts";
import { printable } from "./text.ts";

export interface ErrorReport {
  code: string;
  message: string;
  hint?: string;
  context: Record<string, unknown>;
}

/** Any error as the fields the command line shows. */
function describeError(error: unknown): ErrorReport {
  if (isStoreError(error)) {
    return report(error.code, error.message, error.hint, error.context);
  }
  if (error instanceof UsageError) return report("ERR_USAGE", error.message, error.hint);
  if (error instanceof InvariantError) {
    return report(
      "ERR_INTERNAL",
      error.message,
      "This is a bug in varve. What was durable before is untouched.",
    );
  }
  if (error instanceof Error) {
    if (error.name === "AbortError") return report("ERR_ABORTED", "interrupted");
    const { errno, code, syscall, path } = error as NodeJS.ErrnoException;
    if (errno !== undefined)
      return report("ERR_IO", error.message, undefined, { errno: code, syscall, path });
    return report("ERR_INTERNAL", error.message, "This is a bug in varve. VARVE_DEBUG=1 shows where.");
  }
  return report("ERR_INTERNAL", String(error));
}

function report(
  code: string,
  message: string,
  hint?: string,
  context: Record<string, unknown> = {},
): ErrorReport {
  return hint === undefined ? { code, message, context } : { code, message, hint, context };
}

/** `error: …` and `hint: …`. */
export function renderError(error: unknown, style: Style): string {
  const { message, hint } = describeError(error);
  const first = `${style.red("error:")} ${printable(message)}\n`;
  return hint === undefined ? first : `${first}${style.yellow("hint:")} ${printable(hint)}\n`;
}

/** `{"error": {code, message, hint, context}}`. */
export function renderErrorJson(error: unknown): string {
  return renderJson({ error: describeError(error) });
}
