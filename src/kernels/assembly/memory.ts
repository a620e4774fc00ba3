/** First byte past the module's static data: the loader lays its regions out from here. */
export function heapBase(): usize {
  return __heap_base;
}
