/**
 * Every bound in one place, each with its reason. A value at the limit works, one past it is an error that names
 * the limit.
 */

export * from "./limits/checkpoints.ts";
export * from "./limits/critical.ts";
export * from "./limits/formats.ts";
export * from "./limits/series.ts";
export * from "./limits/server.ts";
