/**
 * A name that no other tensor of its file has: the one given, or it and a number.
 *
 * @param taken each name given so far, and the number the next one like it gets
 */
export function uniqueName(path: string, taken: Map<string, number>): string {
  let number = taken.get(path);
  taken.set(path, (number ?? 1) + 1);
  if (number === undefined) return path;
  while (taken.has(`${path}~${number}`)) number++;
  const name = `${path}~${number}`;
  taken.set(path, number + 1);
  taken.set(name, 2);
  return name;
}
