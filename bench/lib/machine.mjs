import { readFileSync, statfsSync } from "node:fs";
import os from "node:os";

/** What the figures depend on, in one line each. */
export function machine(directory) {
  const cpus = os.cpus();
  return {
    cpu: `${cpus[0]?.model.trim() ?? "unknown"}, ${cpus.length} cores`,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()}`,
    fileSystem: mountOf(directory),
    node: process.version,
    load: os.loadavg().map((value) => Number(value.toFixed(2))),
  };
}

export function describe({ cpu, memoryGiB, system, fileSystem, node, load }) {
  return `${cpu}, ${memoryGiB} GiB, ${system}, ${fileSystem}, Node ${node}, load ${load.join(" ")} before the run`;
}

/** The file system under a directory, as the kernel lists it. */
function mountOf(directory) {
  const mounts = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .filter(
      ([, place]) =>
        place && (directory === place || directory.startsWith(place === "/" ? "/" : `${place}/`)),
    )
    .sort(([, a], [, b]) => b.length - a.length);
  const free = statfsSync(directory);
  return `${mounts[0]?.[2] ?? "unknown file system"} with ${Math.round((free.bavail * free.bsize) / 1e9)} GB free`;
}
