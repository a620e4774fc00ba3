import { type ChildProcessByStdio, spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { expect } from "vitest";
import { tensorBytes } from "../../formats/tensor.ts";
import { openStore, type Store } from "../../open-store.ts";
import { digestOfStep, modelOf } from "./step-model.mjs";

const script = join(import.meta.dirname, "store.child.mjs");

export interface Child {
  process: ChildProcessByStdio<Writable, Readable, null>;
  /** Lines it has printed so far, as words. */
  lines: string[][];
  /** Resolves to how it ended: exit code or signal. */
  ended: Promise<number | string>;
}

/** Starts a process that works on a store, perhaps under another program (strace) that is put before it. */
export function start(
  words: (string | number)[],
  before: string[] = [],
  env: Record<string, string> = {},
): Child {
  const [command, ...args] = [...before, process.execPath, script, ...words.map(String)] as [
    string,
    ...string[],
  ];
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, ...env } });
  const lines: string[][] = [];
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    lines.push(...parts.map((line) => line.split(" ")));
  });
  const ended = new Promise<number | string>((resolve) => {
    child.on("close", (code, signal) => resolve(signal ?? code ?? -1));
  });
  return { process: child, lines, ended };
}

/** Runs it to its end and gives its lines. */
export async function run(words: (string | number)[], before: string[] = []): Promise<string[][]> {
  const child = start(words, before);
  expect(await child.ended, "no failure of a save ends the process").toBe(0);
  return child.lines;
}

export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), "varve-faults-"));
}

/** Every version a process said was durable: its name and step. */
export function durableOf(lines: string[][]): { name: string; step: number; storedBytes: number }[] {
  return lines
    .filter(([word]) => word === "durable")
    .map(([, ref, version, step, bytes]) => ({
      name: `${ref}@${version}`,
      step: Number(step),
      storedBytes: Number(bytes),
    }));
}

/** Restores every version of the store and holds it to the model of its step; gives their names. */
export async function expectAllRestore(store: Store): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const { ref } of store.checkpoints.refs()) {
    for (const { version, step } of store.checkpoints.log(ref)) {
      const restored = await store.checkpoints.restore(`${ref}@${version}`);
      for (const [name, tensor] of modelOf(step!)) {
        expect(
          Buffer.compare(tensorBytes(restored.get(name)!), tensorBytes(tensor)),
          `${ref}@${version}`,
        ).toBe(0);
      }
      found.set(`${ref}@${version}`, step!);
    }
  }
  return found;
}

/** Opens the store in this process and expects that all that was said to be durable is there, and all is well. */
export async function expectKept(
  directory: string,
  durable: { name: string; step: number }[],
): Promise<void> {
  const store = await openStore(directory, { workers: 0 });
  try {
    const found = await expectAllRestore(store);
    for (const { name, step } of durable) expect(found.get(name), `${name} was durable`).toBe(step);
    const check = await store.check({ readData: true });
    expect(check.problems).toEqual([]);
  } finally {
    await store.close();
  }
}

export { digestOfStep };
