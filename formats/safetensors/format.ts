import { StoreError } from "../../src/errors.ts";

/*
 * A safetensors file:
 *
 *   0        8                8+N                                    file size
 *   +--------+-----------------+--------------------------------------+
 *   | N: u64 | header: N bytes | tensor data, back to back, no gaps   |
 *   +--------+-----------------+--------------------------------------+
 *     LE       UTF-8 JSON, one object, may end in spaces (0x20)
 *
 *   {"__metadata__":{"step":"600"},
 *    "w1":{"dtype":"F32","shape":[64,32],"data_offsets":[0,8192]}}     offsets count from 8+N
 *
 * Source: the format's description (README, "Format") and the behaviour of the reference reader, safetensors 0.8.
 */

/** The header length field. */
export const LENGTH_BYTES = 8;

/** What the writer pads the header to, so that tensor data starts aligned. */
export const HEADER_ALIGNMENT_BYTES = 8;

/** The one key of the header that names no tensor. */
export const METADATA_KEY = "__metadata__";

export const OPEN_BRACE = 0x7b;

/** Every rule the reader holds a file to; an error's `context.rule` is one of these. docs/formats lists them. */
export const SAFETENSORS_RULES = [
  "header-length",
  "header-object",
  "trailing-bytes",
  "json",
  "utf-8",
  "escape",
  "nesting",
  "number",
  "duplicate-name",
  "duplicate-key",
  "metadata",
  "entry",
  "dtype",
  "shape",
  "data-offsets",
  "integer",
  "overflow",
  "whole-bytes",
  "size",
  "coverage",
  "limit",
] as const;

export type SafetensorsRule = (typeof SAFETENSORS_RULES)[number];

export interface BrokenRule {
  rule: SafetensorsRule;
  /** What is wrong, to follow "safetensors: " in the message. */
  problem: string;
  /** The byte in the file where it shows. */
  offset: number;
  /** The tensor it concerns, where one is known. */
  tensor?: string | undefined;
}

export function brokenRule({ rule, problem, offset, tensor }: BrokenRule): StoreError {
  const where = tensor === undefined ? "" : ` in tensor ${quoteName(tensor)}`;
  return new StoreError(
    "ERR_FORMAT_SAFETENSORS",
    `safetensors: ${problem}${where} (rule ${rule}, at byte ${offset})`,
    {
      context: tensor === undefined ? { rule, offset } : { rule, offset, tensor },
      hint: "Nothing was stored. Write the file again with its exporter, or rename it to store it as plain bytes.",
    },
  );
}

/** A name fit for one line of a message: quoted, control characters escaped, cut. */
export function quoteName(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name);
}
