import type { VersionStore } from "../../src/versions/version-store.ts";
import type { Checkpoint } from "../checkpoint.ts";
import type { Registry } from "../registry.ts";
import { ServedModel, type ServeModelOptions } from "./served-model.ts";

/** Serves a ref's newest version as it moves on, or, pinned, one version and no other. */
export function serveModel(
  place: { versions: VersionStore; registry: Registry; open(version: number): Promise<Checkpoint> },
  { ref, version, pinned }: { ref: string; version: number; pinned: boolean },
  options: ServeModelOptions,
): Promise<ServedModel> {
  const newest = () => {
    if (pinned) return version;
    place.versions.refresh();
    return place.registry.newest(ref)?.version;
  };
  return ServedModel.start({ newest, follows: !pinned, open: place.open }, options);
}
