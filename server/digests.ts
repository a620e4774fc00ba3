import { createHash } from "node:crypto";
import type { ChunkExchange } from "../checkpoints/exchange.ts";
import { DIGEST_BYTES, digestKey } from "../src/chunks/digest.ts";
import { isStoreError } from "../src/errors.ts";
import { SERVER_ALIASES_MAX, SERVER_BATCH_BYTES_MAX } from "../src/limits.ts";
import { badRequest } from "./failure.ts";

/**
 * A chunk's name on the wire: `blake3:HEX`, or HEX alone, is its name in the store; `sha256:HEX` is what clients
 * without BLAKE3 can compute.
 */
export interface WireDigest {
  algorithm: "blake3" | "sha256";
  bytes: Uint8Array;
}

export function parseDigest(text: unknown): WireDigest {
  const [, algorithm = "blake3:", hex] =
    (typeof text === "string" && /^(blake3:|sha256:)?([0-9a-f]{64})$/.exec(text)) || [];
  if (hex === undefined) throw badRequest(`${JSON.stringify(text)?.slice(0, 100)} is no digest`);
  return { algorithm: algorithm === "sha256:" ? "sha256" : "blake3", bytes: Buffer.from(hex, "hex") };
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

/**
 * Which chunk a SHA-256 names. The server hashes what passes through it, both ways, and believes no one else: what
 * it does not remember is asked of the bytes of the version a client goes on from. The oldest are forgotten first,
 * which costs a chunk being sent again, never a wrong one.
 */
export class ShaNames {
  readonly #exchange: ChunkExchange;
  readonly #bySha = new Map<string, Uint8Array>();
  /** Chunks that have a name here. */
  readonly #named = new Set<string>();
  /** Manifests all of whose chunks had a name when they were last looked at. */
  readonly #learned = new Set<string>();
  #learning: Promise<void> = Promise.resolve();

  constructor(exchange: ChunkExchange) {
    this.#exchange = exchange;
  }

  get size(): number {
    return this.#bySha.size;
  }

  remember(sha: Uint8Array, digest: Uint8Array): void {
    const key = digestKey(sha);
    this.#bySha.delete(key);
    this.#bySha.set(key, digest);
    this.#named.add(digestKey(digest));
    if (this.#bySha.size <= SERVER_ALIASES_MAX) return;
    const [oldest, forgotten] = this.#bySha.entries().next().value!;
    this.#bySha.delete(oldest);
    this.#named.delete(digestKey(forgotten));
    this.#learned.clear();
  }

  /** The chunk's digest, as long as the store has it. */
  resolve({ algorithm, bytes }: WireDigest): Uint8Array | undefined {
    const digest = algorithm === "blake3" ? bytes : this.#bySha.get(digestKey(bytes));
    return digest !== undefined && this.#exchange.sizeOf(digest) !== undefined ? digest : undefined;
  }

  /** Hashes those of a version's chunks that have no name yet, so that a client that goes on from it sends only what is new. */
  learn(manifest: Uint8Array): Promise<void> {
    const key = digestKey(manifest);
    if (this.#learned.has(key)) return Promise.resolve();
    // One version at a time: two clients that ask for the same one wait for the same work.
    const step = this.#learning.then(async () => {
      if (this.#learned.has(key)) return;
      if (this.#learned.size > LEARNED_MAX) this.#learned.clear();
      await this.#hashUnnamed(manifest);
      this.#learned.add(key);
    });
    this.#learning = step.catch(() => {});
    return step;
  }

  async #hashUnnamed(manifest: Uint8Array): Promise<void> {
    let batch: Uint8Array[] = [];
    let batchBytes = 0;
    const hashBatch = async () => {
      const { bytes, sizes } = await this.#exchange.get(batch);
      let at = 0;
      for (const [i, size] of sizes.entries()) {
        this.remember(sha256(bytes.subarray(at, at + size)), batch[i]!);
        at += size;
        // A version may have gigabytes: others get their turn in between.
        await new Promise((resolve) => setImmediate(resolve));
      }
      batch = [];
      batchBytes = 0;
    };
    try {
      for (const { chunks } of this.#exchange.manifest(manifest).files) {
        for (const { digest, rawBytes } of chunks) {
          if (this.#named.has(digestKey(digest))) continue;
          if (batch.length > 0 && batchBytes + rawBytes > SERVER_BATCH_BYTES_MAX / 4) await hashBatch();
          batch.push(digest);
          batchBytes += rawBytes;
        }
      }
      if (batch.length > 0) await hashBatch();
    } catch (error) {
      // A damaged or pruned version only costs that its chunks are sent again.
      if (!isStoreError(error, "ERR_STORE_CORRUPT") && !isStoreError(error, "ERR_NOT_FOUND")) throw error;
    }
  }
}

/** Manifests remembered as learned: one that is forgotten costs a walk over its list. */
const LEARNED_MAX = 4096;

export function hex(digest: Uint8Array): string {
  return Buffer.from(digest.buffer, digest.byteOffset, DIGEST_BYTES).toString("hex");
}
