import type { Tensor } from "../../formats/tensor.ts";

export function modelOf(step: number, elements?: number): Map<string, Tensor>;
export function digestOfStep(step: number): string;
