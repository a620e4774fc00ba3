import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { allocatePages } from "../../src/disk/aligned.ts";
import type { Disk } from "../../src/disk/disk.ts";
import { preallocate, preallocateSync } from "../../src/disk/preallocate.ts";
import { isStoreError } from "../../src/errors.ts";

/** A disk under test and an empty directory on it. */
export interface DiskUnderTest {
  disk: Disk;
  directory: string;
  dispose(): void;
}

const bytes = (...values: number[]) => Uint8Array.from(values);

function codeOf(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    return isStoreError(error) ? error.code : String(error);
  }
  return undefined;
}

/** What every disk must do, whichever it is. */
export function describeDisk(name: string, makeDisk: () => DiskUnderTest): void {
  describe(`${name} keeps the disk port's promises`, () => {
    let under: DiskUnderTest;
    let disk: Disk;
    let at: (name: string) => string;

    beforeEach(() => {
      under = makeDisk();
      disk = under.disk;
      at = (file) => `${under.directory}/${file}`;
    });
    afterEach(() => under.dispose());

    const write = (file: string, content: Uint8Array, position = 0) => {
      const open = disk.open(at(file), { access: "write", create: "may" });
      open.writeSync(content, position);
      open.close();
    };
    const read = (file: string) => {
      const open = disk.open(at(file), { access: "read" });
      const content = new Uint8Array(open.sizeBytes());
      expect(open.readSync(content, 0)).toBe(content.length);
      open.close();
      return content;
    };

    it("shows what was put into a mapped file to others at once, and keeps it past the map", async () => {
      const file = disk.open(at("mapped"), { access: "write", create: "must" });
      file.writeSync(bytes(1, 2, 3), 0);
      const map = file.map?.(3, 10_000);
      const source = new DataView(Uint8Array.from({ length: 2000 }, (_, i) => (i * 7) & 255).buffer);
      if (map === undefined) {
        // Not everywhere: then the file can be written as before.
        file.writeSync(new Uint8Array(source.buffer), 3);
      } else {
        expect(map.end).toBeGreaterThanOrEqual(10_000);
        expect(file.sizeBytes()).toBe(map.end);
        let position = 3;
        for (const sizeBytes of [1, 5, 1000, 994]) {
          const part = new DataView(source.buffer, position - 3);
          expect(map.put(part, sizeBytes, position)).toBe(true);
          position += sizeBytes;
          expect(read("mapped").subarray(3, position)).toEqual(
            new Uint8Array(source.buffer, 0, position - 3),
          );
          await file.sync();
        }
        expect(() => map.put(source, 2000, map.end - 1999)).toThrow("live map");
        map.close();
        map.close();
        expect(() => map.put(source, 1, 3)).toThrow("live map");
        file.truncate(2003);
      }
      file.close();
      expect(read("mapped").subarray(0, 3)).toEqual(bytes(1, 2, 3));
      expect(read("mapped").subarray(3, 2003)).toEqual(new Uint8Array(source.buffer));
    });

    it("refuses to open what is not there, and to create what is", () => {
      expect(codeOf(() => disk.open(at("a"), { access: "read" }))).toBe("ERR_NOT_FOUND");
      expect(codeOf(() => disk.open(at("a"), { access: "write" }))).toBe("ERR_NOT_FOUND");
      expect(codeOf(() => disk.open(at("no/a"), { access: "write", create: "may" }))).toBe("ERR_NOT_FOUND");
      disk.open(at("a"), { access: "write", create: "must" }).close();
      expect(codeOf(() => disk.open(at("a"), { access: "write", create: "must" }))).toBe("ERR_EXISTS");
      disk.open(at("a"), { access: "write", create: "may" }).close();
      expect(codeOf(() => disk.open(under.directory, { access: "write" }))).toBe("ERR_IO");
    });

    it("reads back what was written, with a hole of zeros before it", () => {
      write("a", bytes(1, 2, 3), 5000);
      const content = read("a");
      expect(content.length).toBe(5003);
      expect(content.subarray(0, 5000).every((byte) => byte === 0)).toBe(true);
      expect([...content.subarray(5000)]).toEqual([1, 2, 3]);
      write("a", bytes(9, 9), 4999);
      expect([...read("a").subarray(4998)]).toEqual([0, 9, 9, 2, 3]);
    });

    it("reads fewer bytes only at the end of the file", async () => {
      write("a", bytes(1, 2, 3, 4));
      const file = disk.open(at("a"), { access: "read" });
      expect(file.readSync(new Uint8Array(10), 1)).toBe(3);
      expect(file.readSync(new Uint8Array(10), 4)).toBe(0);
      expect(file.readSync(new Uint8Array(10), 400)).toBe(0);
      const target = new Uint8Array(2);
      expect(await file.read(target, 2)).toBe(2);
      expect([...target]).toEqual([3, 4]);
      const targets = [new Uint8Array(1), new Uint8Array(0), new Uint8Array(2)];
      expect(await file.readVector(targets, 1)).toBe(3);
      expect(targets.map((each) => [...each])).toEqual([[2], [], [3, 4]]);
      expect(await file.readVector(targets, 2)).toBe(2);
      expect(targets.map((each) => [...each])).toEqual([[3], [], [4, 4]]);
      expect(await file.readVector([], 2)).toBe(0);
      file.close();
    });

    it("writes and syncs off the thread as well", async () => {
      const file = disk.open(at("a"), { access: "write", create: "must" });
      await file.write(bytes(7, 8), 1);
      await file.sync();
      file.syncSync();
      expect(file.sizeBytes()).toBe(3);
      await disk.syncDirectoryAsync(under.directory);
      file.close();
      file.close();
      expect([...read("a")]).toEqual([0, 7, 8]);
    });

    it("keeps what is written aside, between what is written as usual", async () => {
      const file = disk.open(at("a"), { access: "write", create: "must" });
      const pages = allocatePages(3 * 4096).fill(7);
      await file.write(bytes(1, 2, 3), 0);
      await file.write(pages.subarray(0, 8192), 4096, { aside: true });
      await file.write(bytes(9), 12_288);
      await file.write(pages.subarray(8192), 4096, { aside: true });
      await file.sync();
      file.close();
      const expected = new Uint8Array(12_289);
      expected.set([1, 2, 3]);
      expected.fill(7, 4096, 12_288);
      expected[12_288] = 9;
      expect(read("a")).toEqual(expected);
    });

    it("refuses to write through a file opened for reading, and anything on a closed one", () => {
      write("a", bytes(1));
      const file = disk.open(at("a"), { access: "read" });
      expect(codeOf(() => file.writeSync(bytes(2), 0))).toBe("ERR_IO");
      file.close();
      expect(codeOf(() => file.readSync(new Uint8Array(1), 0))).toBe("ERR_IO");
      expect(codeOf(() => file.sizeBytes())).toBe("ERR_IO");
      expect([...read("a")]).toEqual([1]);
    });

    it("forgets what truncation cut off, also when the file grows again", () => {
      write("a", bytes(1, 2, 3, 4));
      const file = disk.open(at("a"), { access: "write" });
      file.truncate(2);
      expect(file.sizeBytes()).toBe(2);
      file.truncate(5);
      file.close();
      expect([...read("a")]).toEqual([1, 2, 0, 0, 0]);
    });

    it("lists names sorted, and an absent directory as empty", () => {
      expect(disk.list(at("absent"))).toEqual([]);
      write("b", bytes(1));
      write("a", bytes(1));
      disk.makeDirectory(at("c/d"));
      disk.makeDirectory(at("c/d"));
      write("c/inner", bytes(1));
      expect(disk.list(under.directory)).toEqual(["a", "b", "c"]);
      expect(disk.list(at("c"))).toEqual(["d", "inner"]);
    });

    it("tells size, kind and identity", () => {
      expect(disk.stat(at("a"))).toBeUndefined();
      write("a", bytes(1, 2, 3));
      write("b", bytes(1));
      const [a, b] = [disk.stat(at("a"))!, disk.stat(at("b"))!];
      expect(a.sizeBytes).toBe(3);
      expect(a).toMatchObject({ isDirectory: false, isFile: true });
      expect(disk.stat(under.directory)!).toMatchObject({ isDirectory: true, isFile: false });
      expect(a.device).toBe(b.device);
      expect(a.inode).not.toBe(b.inode);
      disk.rename(at("a"), at("c"));
      expect(disk.stat(at("c"))!.inode).toBe(a.inode);
    });

    it("renames over what was there, and keeps an open file readable under no name", () => {
      write("a", bytes(1));
      write("b", bytes(2));
      const old = disk.open(at("b"), { access: "read" });
      disk.rename(at("a"), at("b"));
      disk.syncDirectory(under.directory);
      expect(disk.list(under.directory)).toEqual(["b"]);
      expect([...read("b")]).toEqual([1]);
      const content = new Uint8Array(1);
      old.readSync(content, 0);
      expect([...content]).toEqual([2]);
      old.close();
      expect(codeOf(() => disk.rename(at("absent"), at("b")))).toBe("ERR_NOT_FOUND");
    });

    it("removes a file, and an absent one without complaint", () => {
      write("a", bytes(1));
      disk.remove(at("a"));
      disk.remove(at("a"));
      expect(disk.stat(at("a"))).toBeUndefined();
      expect(codeOf(() => disk.syncDirectory(at("absent")))).toBe("ERR_NOT_FOUND");
    });

    it("locks between two opens of one file, shared or exclusive, until unlock or close", () => {
      write("a", bytes(1));
      const [one, two] = [0, 1].map(() => disk.open(at("a"), { access: "write" }));
      expect(one!.tryLock("exclusive")).toBe(true);
      expect(two!.tryLock("exclusive")).toBe(false);
      expect(two!.tryLock("shared")).toBe(false);
      one!.unlock();
      expect(two!.tryLock("shared")).toBe(true);
      expect(one!.tryLock("shared")).toBe(true);
      one!.unlock();
      expect(one!.tryLock("exclusive")).toBe(false);
      two!.close();
      expect(one!.tryLock("exclusive")).toBe(true);
      one!.close();
    });

    it("waits for a lock until it is free", async () => {
      write("a", bytes(1));
      const [one, two] = [0, 1].map(() => disk.open(at("a"), { access: "write" }));
      expect(one!.tryLock("exclusive")).toBe(true);
      let taken = false;
      const waiting = two!.lock("exclusive").then(() => {
        taken = true;
      });
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(taken).toBe(false);
      one!.unlock();
      await waiting;
      expect(one!.tryLock("shared")).toBe(false);
      one!.close();
      two!.close();
    });

    it("writes whole pages durably, by the method it names", async () => {
      preallocateSync(disk, at("a"), 3 * 4096);
      for (const wanted of [true, "dsync", "fdatasync"] as const) {
        const file = disk.open(at("a"), { access: "write", durable: wanted });
        expect(["direct", "dsync", "fdatasync"]).toContain(file.durability);
        if (wanted !== true) expect(file.durability).toBe(wanted);
        const page = allocatePages(4096).fill(wanted === true ? 1 : wanted.length);
        file.writeSync(page, 4096);
        await file.write(page, 8192);
        const target = allocatePages(3 * 4096);
        expect(file.readSync(target, 0)).toBe(3 * 4096);
        expect(target.subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
        expect(target.subarray(4096).every((byte) => byte === page[0])).toBe(true);
        file.close();
      }
      expect(disk.open(at("a"), { access: "read" }).durability).toBeUndefined();
    });

    it("writes durably from memory that threads share", () => {
      preallocateSync(disk, at("a"), 4096);
      const file = disk.open(at("a"), { access: "write", durable: true });
      file.writeSync(allocatePages(4096, { shared: true }).fill(5), 0);
      file.close();
      expect(read("a").every((byte) => byte === 5)).toBe(true);
    });

    it("refuses a durable write that is not whole aligned pages", () => {
      preallocateSync(disk, at("a"), 8192);
      const file = disk.open(at("a"), { access: "write", durable: true });
      const memory = allocatePages(8192);
      for (const [source, position] of [
        [memory.subarray(0, 512), 0],
        [memory.subarray(512, 512 + 4096), 0],
        [memory.subarray(0, 4096), 512],
      ] as const) {
        expect(codeOf(() => file.writeSync(source, position))).toBe("ERR_INVALID_ARGUMENT");
      }
      file.close();
    });

    it("preallocates real zeros over whatever was there", async () => {
      write("a", new Uint8Array(100).fill(3));
      await preallocate(disk, at("a"), 2_000_000);
      const content = read("a");
      expect(content.length).toBe(2_000_000);
      expect(content.every((byte) => byte === 0)).toBe(true);
      expect(disk.stat(at("a"))!.deviceBytes).toBeGreaterThanOrEqual(2_000_000);
    });
  });
}
