import type { Disk } from "../../src/disk/disk.ts";
import type { VersionStore } from "../../src/versions/version-store.ts";
import type { Checkpoint } from "../checkpoint.ts";
import type { Registry } from "../registry.ts";
import { type LoadModel, loadModelFiles } from "./model-files.ts";
import { ServedModel, type ServeModelOptions } from "./served-model.ts";

/** What serving needs of a store. */
export interface ServingPlace {
  disk: Disk;
  versions: VersionStore;
  registry: Registry;
  open(selector: string): Promise<Checkpoint>;
}

/** Serves a ref's newest version as it moves on, or, pinned, one version and no other. */
export async function serveModel(
  place: ServingPlace,
  { ref, version, pinned }: { ref: string; version: number; pinned: boolean },
  options: ServeModelOptions,
): Promise<ServedModel> {
  const newest = () => {
    if (pinned) return version;
    place.versions.refresh();
    return place.registry.newest(ref)?.version;
  };
  const open = (number: number) => place.open(`${ref}@${number}`);
  return ServedModel.start(
    { newest, follows: !pinned, open, load: await loaderFor(options, place) },
    options,
  );
}

async function loaderFor({ onnx, file }: ServeModelOptions, place: ServingPlace): Promise<LoadModel> {
  if (onnx === true) return (checkpoint) => loadModelFiles(checkpoint, file);
  const { skeletonLoader } = await import("./skeleton.ts");
  return skeletonLoader({ ...onnx, from: file }, place);
}
