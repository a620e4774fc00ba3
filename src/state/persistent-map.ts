/**
 * A map that is never changed: setting a key makes another one that shares all but a few nodes with it. So a snapshot
 * is a reference, and finding what differs between two of them visits only what they do not share.
 *
 * A hash array mapped trie (Bagwell, "Ideal hash trees", 2001): 32 ways a level, five bits of the key's hash each,
 * empty places left out.
 */
interface Leaf<V> {
  hash: number;
  key: string;
  value: V;
}

interface Branch<V> {
  bitmap: number;
  children: Node<V>[];
}

/** Keys of one hash. */
interface Collision<V> {
  hash: number;
  leaves: Leaf<V>[];
}

type Node<V> = Leaf<V> | Branch<V> | Collision<V>;

const BITS = 5;
const MASK = 31;

export class PersistentMap<V> {
  readonly size: number;
  readonly #root: Node<V> | undefined;

  private constructor(root: Node<V> | undefined, size: number) {
    this.#root = root;
    this.size = size;
  }

  static empty<V>(): PersistentMap<V> {
    return new PersistentMap<V>(undefined, 0);
  }

  get(key: string): V | undefined {
    const hash = hashOf(key);
    let node = this.#root;
    for (let shift = 0; node !== undefined; shift += BITS) {
      if ("children" in node) node = childAt(node, hash, shift);
      else if ("leaves" in node) return node.leaves.find((leaf) => leaf.key === key)?.value;
      else return node.key === key ? node.value : undefined;
    }
    return undefined;
  }

  set(key: string, value: V): PersistentMap<V> {
    const leaf = { hash: hashOf(key), key, value };
    const grown = this.get(key) === undefined ? 1 : 0;
    return new PersistentMap(
      this.#root === undefined ? leaf : insert(this.#root, leaf, 0),
      this.size + grown,
    );
  }

  delete(key: string): PersistentMap<V> {
    if (this.#root === undefined || this.get(key) === undefined) return this;
    return new PersistentMap(remove(this.#root, key, hashOf(key), 0), this.size - 1);
  }

  /** In no particular order, the same for equal histories. */
  *entries(): Generator<[string, V]> {
    if (this.#root !== undefined) yield* leavesOf(this.#root);
  }

  /** What differs between this map and a later one: values by identity. */
  *changesTo(
    later: PersistentMap<V>,
  ): Generator<{ key: string; before: V | undefined; after: V | undefined }> {
    yield* compare(this.#root, later.#root, 0);
  }
}

/** FNV-1a over UTF-16 code units, then mixed so that low bits depend on all. */
export function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function bitOf(hash: number, shift: number): number {
  return 1 << ((hash >>> shift) & MASK);
}

function placeOf(bitmap: number, bit: number): number {
  let below = bitmap & (bit - 1);
  below -= (below >>> 1) & 0x55555555;
  below = (below & 0x33333333) + ((below >>> 2) & 0x33333333);
  return Math.imul((below + (below >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

function childAt<V>({ bitmap, children }: Branch<V>, hash: number, shift: number): Node<V> | undefined {
  const bit = bitOf(hash, shift);
  return (bitmap & bit) === 0 ? undefined : children[placeOf(bitmap, bit)];
}

function insert<V>(node: Node<V>, leaf: Leaf<V>, shift: number): Node<V> {
  if (!("children" in node)) return insertBeside(node, leaf, shift);
  const bit = bitOf(leaf.hash, shift);
  const place = placeOf(node.bitmap, bit);
  if ((node.bitmap & bit) === 0) {
    return { bitmap: node.bitmap | bit, children: node.children.toSpliced(place, 0, leaf) };
  }
  return {
    bitmap: node.bitmap,
    children: node.children.with(place, insert(node.children[place]!, leaf, shift + BITS)),
  };
}

function insertBeside<V>(node: Leaf<V> | Collision<V>, leaf: Leaf<V>, shift: number): Node<V> {
  if ("key" in node && node.key === leaf.key) return leaf;
  if (node.hash !== leaf.hash) {
    const branch = { bitmap: bitOf(node.hash, shift), children: [node] };
    return insert(branch, leaf, shift);
  }
  const leaves = "leaves" in node ? node.leaves.filter((each) => each.key !== leaf.key) : [node];
  return { hash: leaf.hash, leaves: [...leaves, leaf] };
}

function remove<V>(node: Node<V>, key: string, hash: number, shift: number): Node<V> | undefined {
  if ("leaves" in node) {
    const leaves = node.leaves.filter((leaf) => leaf.key !== key);
    return leaves.length === 1 ? leaves[0] : { hash: node.hash, leaves };
  }
  if (!("children" in node)) return undefined;
  const bit = bitOf(hash, shift);
  const place = placeOf(node.bitmap, bit);
  const child = remove(node.children[place]!, key, hash, shift + BITS);
  if (child !== undefined) {
    // A branch with one leaf is that leaf: equal contents make equal shapes.
    if (node.children.length === 1 && !("children" in child)) return child;
    return { bitmap: node.bitmap, children: node.children.with(place, child) };
  }
  if (node.children.length === 1) return undefined;
  const children = node.children.toSpliced(place, 1);
  return children.length === 1 && !("children" in children[0]!)
    ? children[0]
    : { bitmap: node.bitmap & ~bit, children };
}

function* leavesOf<V>(node: Node<V>): Generator<[string, V]> {
  if ("children" in node) for (const child of node.children) yield* leavesOf(child);
  else if ("leaves" in node) for (const { key, value } of node.leaves) yield [key, value];
  else yield [node.key, node.value];
}

interface Difference<V> {
  key: string;
  before: V | undefined;
  after: V | undefined;
}

function* compare<V>(
  before: Node<V> | undefined,
  after: Node<V> | undefined,
  shift: number,
): Generator<Difference<V>> {
  if (before === after) return;
  if (before !== undefined && after !== undefined && "children" in before && "children" in after) {
    for (let way = 0; way < 32; way++) {
      const hash = way << shift;
      if ((((before.bitmap | after.bitmap) >>> way) & 1) === 0) continue;
      yield* compare(childAt(before, hash, shift), childAt(after, hash, shift), shift + BITS);
    }
    return;
  }
  const old = new Map(before === undefined ? [] : leavesOf(before));
  const fresh = new Map(after === undefined ? [] : leavesOf(after));
  for (const [key, value] of old) {
    if (fresh.get(key) !== value) yield { key, before: value, after: fresh.get(key) };
  }
  for (const [key, value] of fresh) if (!old.has(key)) yield { key, before: undefined, after: value };
}
