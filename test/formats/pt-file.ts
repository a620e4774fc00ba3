/** Makes `.pt` files as `torch.save` does, and ones it never would. */

export interface ZipFile {
  name: string;
  data: Uint8Array;
  /** 0 unless the entry only claims to be compressed. */
  method?: number;
}

/** A ZIP archive of uncompressed entries. Checksums are left at zero: nothing here reads them. */
export function zipOf(
  files: ZipFile[],
  changes: { entries?: number; directoryOffset?: number } = {},
): Uint8Array {
  const parts: Buffer[] = [];
  const central: Buffer[] = [];
  let at = 0;
  for (const { name, data, method = 0 } of files) {
    const nameBytes = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(method, 8);
    local.writeUInt32LE(data.byteLength, 18);
    local.writeUInt32LE(data.byteLength, 22);
    local.writeUInt16LE(nameBytes.byteLength, 26);
    const header = Buffer.alloc(46);
    header.writeUInt32LE(0x02014b50, 0);
    header.writeUInt16LE(method, 10);
    header.writeUInt32LE(data.byteLength, 20);
    header.writeUInt32LE(data.byteLength, 24);
    header.writeUInt16LE(nameBytes.byteLength, 28);
    header.writeUInt32LE(at, 42);
    parts.push(local, nameBytes, Buffer.from(data));
    central.push(header, nameBytes);
    at += 30 + nameBytes.byteLength + data.byteLength;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(changes.entries ?? files.length, 10);
  end.writeUInt32LE(directory.byteLength, 12);
  end.writeUInt32LE(changes.directoryOffset ?? at, 16);
  return Buffer.concat([...parts, directory, end]);
}

/** What a pickle of these tests is made of: values, and the three things only a checkpoint has. */
export type Pickled =
  | null
  | boolean
  | number
  | string
  | Pickled[]
  | { tuple: Pickled[] }
  | { dict: [Pickled, Pickled][] }
  | { global: string }
  | { persistent: Pickled }
  | { call: string; args: Pickled[] };

/** The opcodes of one value, protocol 2. */
function opcodes(value: Pickled): Buffer[] {
  if (value === null) return [Buffer.from("N")];
  if (typeof value === "boolean") return [Buffer.from([value ? 0x88 : 0x89])];
  if (typeof value === "number") {
    const int = Buffer.alloc(5);
    int[0] = 0x4a;
    int.writeInt32LE(value, 1);
    return [int];
  }
  if (typeof value === "string") {
    const text = Buffer.from(value);
    const head = Buffer.alloc(5);
    head[0] = 0x58;
    head.writeUInt32LE(text.byteLength, 1);
    return [head, text];
  }
  if (Array.isArray(value)) return [Buffer.from("]("), ...value.flatMap(opcodes), Buffer.from("e")];
  if ("tuple" in value) return [Buffer.from("("), ...value.tuple.flatMap(opcodes), Buffer.from("t")];
  if ("dict" in value) return [Buffer.from("}("), ...value.dict.flat().flatMap(opcodes), Buffer.from("u")];
  if ("persistent" in value) return [...opcodes(value.persistent), Buffer.from("Q")];
  const full = "call" in value ? value.call : value.global;
  const dot = full.lastIndexOf(".");
  const name = Buffer.from(`c${full.slice(0, dot)}\n${full.slice(dot + 1)}\n`);
  if ("global" in value) return [name];
  return [name, ...opcodes({ tuple: value.args }), Buffer.from("R")];
}

export function pickleOf(value: Pickled): Buffer {
  return Buffer.concat([Buffer.from([0x80, 2]), ...opcodes(value), Buffer.from(".")]);
}

export interface TestTensor {
  key: string;
  storage?: string;
  elements: number;
  offset?: number;
  shape: number[];
  stride: number[];
}

export function tensor({
  key,
  storage = "FloatStorage",
  elements,
  offset = 0,
  shape,
  stride,
}: TestTensor): Pickled {
  const persistent = {
    tuple: ["storage", { global: `torch.${storage}` }, key, "cpu", elements] as Pickled[],
  };
  const args: Pickled[] = [{ persistent }, offset, { tuple: shape }, { tuple: stride }, false];
  return {
    call: "torch._utils._rebuild_tensor_v2",
    args: [...args, { call: "collections.OrderedDict", args: [] }],
  };
}

/** A checkpoint of a value and its storages. */
export function ptOf(
  value: Pickled | Buffer,
  storages: Record<string, Uint8Array>,
  more: ZipFile[] = [],
): Uint8Array {
  const pickle = Buffer.isBuffer(value) ? value : pickleOf(value);
  const data = Object.entries(storages).map(([key, bytes]) => ({ name: `m/data/${key}`, data: bytes }));
  return zipOf([{ name: "m/data.pkl", data: pickle }, ...data, ...more]);
}
