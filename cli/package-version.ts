import { readFileSync } from "node:fs";

/** The version in varve's own package.json, which lies above this file in the sources and in `dist/` alike. */
export function packageVersion(): string {
  for (const above of ["../package.json", "../../package.json"]) {
    const version = versionAt(new URL(above, import.meta.url));
    if (version !== undefined) return version;
  }
  return "unknown";
}

function versionAt(url: URL): string | undefined {
  try {
    const { name, version } = JSON.parse(readFileSync(url, "utf8")) as { name?: unknown; version?: unknown };
    return name === "varve" && typeof version === "string" ? version : undefined;
  } catch {
    return undefined;
  }
}
