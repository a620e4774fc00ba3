/** Lays bytes at an address, cut or continued with zeros to `sizeBytes` and to the next multiple of 256. */
export function lay(memory: Uint8Array, address: number, bytes: Uint8Array, sizeBytes: number): void {
  const kept = Math.min(bytes.length, sizeBytes);
  memory.set(kept === bytes.length ? bytes : bytes.subarray(0, kept), address);
  memory.fill(0, address + kept, address + Math.ceil(sizeBytes / 256) * 256);
}

/** To whole vectors of sixteen bytes. */
export const roundUp = (sizeBytes: number) => Math.ceil(sizeBytes / 16) * 16;
