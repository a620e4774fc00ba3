import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore } from "../../open-store.ts";
import { PACK_HEADER_BYTES } from "../../src/chunks/pack-format.ts";
import { scanPack } from "../../src/chunks/pack-scan.ts";
import { PackWriter } from "../../src/chunks/pack-writer.ts";
import type { Disk, DiskFile } from "../../src/disk/disk.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { STRIPE_BYTES_MAX, STRIPE_BYTES_MIN } from "../../src/limits.ts";
import { CommitPulse } from "../../src/pace/commit-pulse.ts";
import { MeasuredDisk } from "../../src/pace/measured-disk.ts";
import { rawFrame } from "../chunks/packs.ts";

const MIB = 1 << 20;

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-stripes-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

interface Step {
  kind: "write" | "sync";
  aside: boolean;
  end: number;
}

/** The real disk, and what is done to its files. */
function watchedDisk(): { disk: Disk; steps: Step[] } {
  const steps: Step[] = [];
  let end = 0;
  const watch = (file: DiskFile) =>
    new Proxy(file, {
      get(target, name) {
        if (name === "write") {
          return (source: Uint8Array, position: number, options: { aside?: boolean } = {}) => {
            end = position + source.byteLength;
            steps.push({ kind: "write", aside: options.aside === true, end });
            return target.write(source, position, options);
          };
        }
        if (name === "sync") steps.push({ kind: "sync", aside: false, end });
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  const disk = new Proxy(realDisk, {
    get(target, name) {
      if (name === "open") return (...args: Parameters<Disk["open"]>) => watch(target.open(...args));
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { disk, steps };
}

function stripedDisk(stripeBytes: number) {
  const { disk, steps } = watchedDisk();
  // A commit is never long ago.
  const pulse = new CommitPulse(realDisk, join(directory, "pulse"), () => 1000);
  const measured = new MeasuredDisk(disk, directory, pulse, { stripeBytes });
  const packs = join(directory, "chunks/packs");
  measured.makeDirectory(packs);
  return { disk: measured, packs, steps, pulse };
}

describe("stripeBytes", () => {
  it("is a power of two from 4 KiB to 64 MiB", async () => {
    const open = (stripeBytes: number) =>
      openStore(join(directory, "store"), { create: true, workers: 0, stripeBytes });
    for (const good of [STRIPE_BYTES_MIN, STRIPE_BYTES_MAX]) await (await open(good)).close();
    for (const past of [STRIPE_BYTES_MIN / 2, STRIPE_BYTES_MAX * 2]) {
      await expect(open(past)).rejects.toMatchObject({ code: "ERR_LIMIT" });
    }
    for (const odd of [STRIPE_BYTES_MIN + 1, 12_288, 4096.5, -4096, Number.NaN, Number.POSITIVE_INFINITY]) {
      await expect(open(odd)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    }
  });

  it("ends each slice of a bulk write where a stripe ends, and loses nothing by it", async () => {
    for (const stripeBytes of [4096, MIB, 16 * MIB]) {
      const { disk, packs, steps, pulse } = stripedDisk(stripeBytes);
      pulse.note(200);
      const path = join(packs, `${stripeBytes}.pack`);
      const pack = disk.open(path, { access: "write", create: "must" });
      const piece = Uint8Array.from({ length: 700_001 }, (_, at) => at % 251);
      const pieces = 60;
      for (let i = 0; i < pieces; i++) {
        pulse.note(200);
        await pack.write(piece, i * piece.byteLength);
      }
      pack.close();
      const syncs = steps.filter(({ kind }) => kind === "sync");
      const slices = Math.floor((pieces * piece.byteLength) / Math.max(8 * MIB, stripeBytes));
      expect(syncs.length).toBeGreaterThanOrEqual(slices - 1);
      expect(syncs.length).toBeGreaterThan(0);
      for (const { end } of syncs) expect(end % stripeBytes).toBe(0);
      const bytes = readFileSync(path);
      expect(bytes.byteLength).toBe(pieces * piece.byteLength);
      for (let i = 0; i < pieces; i++) {
        expect(
          bytes.compare(piece, 0, piece.byteLength, i * piece.byteLength, (i + 1) * piece.byteLength),
        ).toBe(0);
      }
      pulse.close();
    }
  });

  it("ends what goes around the page cache with a stripe, in packs that read the same", async () => {
    for (const stripeBytes of [4096, 65_536, MIB, 64 * MIB]) {
      const { disk, packs, steps } = stripedDisk(stripeBytes);
      const storeId = new Uint8Array(16);
      const packId = BigInt(stripeBytes);
      const writer = PackWriter.create(disk, packs, storeId, packId, 1n)!;
      writer.aside = true;
      for (let i = 0; i < 40; i++) {
        await writer.append(rawFrame([new Uint8Array(100_003 + i * 17).fill(i)]));
        if (i === 9) await writer.sync();
      }
      await writer.sync();
      const aside = steps.filter((step) => step.aside);
      expect(aside.length).toBeGreaterThan(0);
      for (const { end } of aside) expect(end % Math.min(stripeBytes, MIB)).toBe(0);
      const scan = scanPack(realDisk, packs, packId, storeId, {
        fromOffset: PACK_HEADER_BYTES,
        readData: true,
      });
      expect(scan.damage).toEqual([]);
      expect(scan.frames.length).toBe(40);
      expect(scan.sizeBytes).toBe(writer.sizeBytes);
      writer.close();
    }
  });

  it("reserves whole stripes where the system can, and gives back what was not written", async (context) => {
    const { disk, packs } = stripedDisk(16 * MIB);
    const path = join(packs, "a.pack");
    const probe = realDisk.open(join(directory, "probe"), { access: "write", create: "must" });
    const can = await probe.reserve!(0, MIB);
    const { size, blocks } = statSync(join(directory, "probe"));
    expect(size).toBe(0);
    probe.close();
    // Some file systems say yes and reserve nothing.
    if (!can || blocks * 512 < MIB) return context.skip();
    const pack = disk.open(path, { access: "write", create: "must" });
    await pack.write(new Uint8Array(100_000).fill(1), 0);
    expect(statSync(path).size).toBe(100_000);
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(16 * MIB);
    await pack.write(new Uint8Array(16 * MIB).fill(2), 100_000);
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(32 * MIB);
    await pack.sync();
    pack.close();
    expect(statSync(path).size).toBe(100_000 + 16 * MIB);
    expect(statSync(path).blocks * 512).toBeLessThan(17 * MIB);
  });

  it("changes nothing that a store keeps or counts, and begins images' data with a stripe", async () => {
    const stored: number[] = [];
    for (const stripeBytes of [undefined, 65_536, STRIPE_BYTES_MAX]) {
      const path = join(directory, `store-${stripeBytes}`);
      const options = { create: true, workers: 0, ...(stripeBytes === undefined ? {} : { stripeBytes }) };
      await using store = await openStore(path, { ...options, ioBudget: Number.POSITIVE_INFINITY });
      const { w } = store.checkpoints.allocate({ w: { dtype: "F32", shape: [500_000] } });
      for (let i = 0; i < w.data.length; i++) w.data[i] = Math.sin(i * i);
      stored.push((await store.checkpoints.save("m", { w }).durable).storedBytes);
      await (await store.checkpoints.pin("m")).imaged;
      const pinned = await store.checkpoints.pin("m");
      await pinned.verified;
      expect(pinned.tensors.get("w")!.data).toEqual(w.data);
      expect((await store.checkpoints.restore("m")).get("w")!.data).toEqual(w.data);
      expect((await store.stats()).storedBytes).toBe(stored.at(-1));
      if (stripeBytes === undefined) continue;
      const images = join(path, "images");
      const [name] = realDisk.list(images).filter((each) => each.endsWith(".image"));
      const dataOffset = Number(readFileSync(join(images, name!)).readBigUInt64LE(72));
      expect(dataOffset % Math.min(stripeBytes, MIB)).toBe(0);
    }
    expect(stored[1]).toBe(stored[0]);
    expect(stored[2]).toBe(stored[0]);
  });
});
