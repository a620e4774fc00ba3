import { runPython } from "./peers.mjs";

/** torch.save of the file's tensors with fsync, then torch.load of what it wrote; milliseconds of each. */
export function saveAndLoad(file, out) {
  return runPython(PROGRAM, [file, out]);
}

/**
 * torch.save with fsync of float32 tensors of equal length that lie one after the other in `file`; milliseconds. They are
 * in memory before the clock starts.
 */
export function saveTensors(file, tensors, out) {
  return runPython(SAVE_PROGRAM, [file, `${tensors}`, out]).saveMs;
}

const SAVE_PROGRAM = `
import json, os, sys, time, torch
path, count, out = sys.argv[1:]
data = bytearray(os.path.getsize(path))
with open(path, "rb") as file: file.readinto(data)
flat = torch.frombuffer(data, dtype=torch.float32)
state = {f"layer.{i}": part.clone() for i, part in enumerate(flat.chunk(int(count)))}
assert len(state) == int(count)
del flat, data
start = time.perf_counter()
with open(out, "wb") as file:
    torch.save(state, file)
    file.flush()
    os.fsync(file.fileno())
print(json.dumps({"saveMs": 1000 * (time.perf_counter() - start)}))
`;

const PROGRAM = `
import json, os, resource, struct, sys, time, torch
path, out = sys.argv[1:]
data = bytearray(os.path.getsize(path))
with open(path, "rb") as file: file.readinto(data)
size = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + size])
dtypes = {"F32": torch.float32, "BF16": torch.bfloat16}
state = {}
for name, entry in header.items():
    if name == "__metadata__": continue
    begin, end = entry["data_offsets"]
    dtype = dtypes[entry["dtype"]]
    count = (end - begin) // torch.tensor([], dtype=dtype).element_size()
    flat = torch.frombuffer(data, dtype=dtype, count=count, offset=8 + size + begin)
    state[name] = flat.reshape(entry["shape"]).clone()
del data
start = time.perf_counter()
with open(out, "wb") as file:
    torch.save(state, file)
    file.flush()
    os.fsync(file.fileno())
saved = time.perf_counter()
loaded = torch.load(out, map_location="cpu")
done = time.perf_counter()
assert len(loaded) == len(state) and all(torch.equal(loaded[name].view(torch.int16), state[name].view(torch.int16)) for name in list(state)[:2])
print(json.dumps({"saveMs": 1000 * (saved - start), "loadMs": 1000 * (done - saved)}))
`;
