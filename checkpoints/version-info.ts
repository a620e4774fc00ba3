import type { ManifestFile } from "./manifest-format.ts";
import type { VersionRecord } from "./registry.ts";

export interface RefInfo {
  ref: string;
  /** The current version. */
  version: number;
  versions: number;
  step: number | undefined;
  timeUs: bigint;
  logicalBytes: number;
  /** All its versions together. */
  storedBytes: number;
}

/** A version as callers see it: the manifest's digest in hexadecimal. */
export interface VersionInfo extends Omit<VersionRecord, "manifest"> {
  manifest: string;
}

export interface VersionDetails extends VersionInfo {
  fileList: {
    name: string;
    /** `safetensors`, or `opaque` for a file whose content varve knows nothing of. */
    format: string;
    sizeBytes: number;
    tensors: { name: string; dtype: string; shape: number[]; sizeBytes: number }[];
  }[];
}

export function toInfo({ manifest, ...record }: VersionRecord): VersionInfo {
  return { ...record, manifest: Buffer.from(manifest).toString("hex") };
}

/** The refs of versions, which come by ref and number: each as its newest version has it. */
export function toRefs(records: readonly VersionRecord[]): RefInfo[] {
  const refs = new Map<string, RefInfo>();
  for (const { ref, version, step, timeUs, logicalBytes, storedBytes } of records) {
    const before = refs.get(ref) ?? { versions: 0, storedBytes: 0 };
    refs.set(ref, {
      ref,
      version,
      versions: before.versions + 1,
      step,
      timeUs,
      logicalBytes,
      storedBytes: before.storedBytes + storedBytes,
    });
  }
  return [...refs.values()];
}

export function describeFile({ name, sizeBytes, layout }: ManifestFile): VersionDetails["fileList"][number] {
  const tensors = (layout?.spans ?? []).map((span) => ({
    name: span.name,
    dtype: span.dtype,
    shape: span.shape,
    sizeBytes: span.sizeBytes,
  }));
  return { name, format: layout?.format ?? "opaque", sizeBytes, tensors };
}
