"""Save and load training state in a varve store from Python: one file, standard library only (Python 3.9+).

    import varve_client
    store = varve_client.connect("http://127.0.0.1:7411")
    store.save("run-7", {"model": model.state_dict(), "optimizer": opt.state_dict(), "rng": torch.get_rng_state()},
               step=step, metrics={"loss": loss})
    state = store.load("run-7@best:loss")

A state is any nesting of dicts, lists and tuples of numbers, texts, bytes and arrays (torch tensors or numpy arrays).
Its arrays become the tensors of a safetensors file, so that every other program can read them; everything else goes
beside them, and all of it is one version. Only chunks the store lacks travel. Elements are moved as bytes: bfloat16
and float8 are exact. Nothing that is loaded is ever executed.

`varve serve` is the other side; docs/server.md describes the protocol.
"""

import base64
import concurrent.futures
import hashlib
import http.client
import json
import os
import socket
import ssl
import struct
import threading
import time
import urllib.parse

__all__ = ["Client", "Ticket", "VarveError", "connect", "save", "save_async", "load", "load_into", "follow"]

CHUNK_ELEMENTS = 65_536
CHUNK_BYTES_MAX = 1 << 20
BATCH_BYTES = 8 << 20
BATCH_CHUNKS = 4096
HAVE_DIGESTS = 65_536
REMEMBERED_MAX = 262_144
RETRY_SECONDS = 20.0
MODEL_FILE = "model.safetensors"
DTYPES = (
    "BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ "
    "I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64"
).split()
BITS = dict(zip(DTYPES, [8, 4, 6, 6] + [8] * 7 + [16] * 4 + [32] * 3 + [64] * 4))
NUMPY_DTYPES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "float16": "F16", "int32": "I32",
    "uint32": "U32", "float32": "F32", "complex64": "C64", "float64": "F64", "int64": "I64", "uint64": "U64",
}
TORCH_DTYPES = dict(
    NUMPY_DTYPES, bfloat16="BF16", float8_e5m2="F8_E5M2", float8_e4m3fn="F8_E4M3", float8_e8m0fnu="F8_E8M0",
    float8_e4m3fnuz="F8_E4M3FNUZ", float8_e5m2fnuz="F8_E5M2FNUZ",
)


class VarveError(Exception):
    """What the server or the connection said; `code` never changes its meaning, `status` is HTTP's."""

    def __init__(self, code, message, status=None, hint=None, retryable=False):
        super().__init__(message if hint is None else message + " (" + hint + ")")
        self.code, self.status, self.hint, self.retryable = code, status, hint, retryable


# ------------------------------------------------------------------------------------------------ states and files


class _Array:
    """Raw little-endian bytes with a dtype, a shape, and what kind of object they came from."""

    __slots__ = ("dtype", "shape", "view", "kind", "owner")

    def __init__(self, dtype, shape, view, kind, owner):
        self.dtype, self.shape, self.view, self.kind, self.owner = dtype, shape, view, kind, owner


def _is_torch(value):
    # Parameters and tensors of other classes have torch.Tensor among their bases; torch itself need not be imported.
    return any(base.__module__ in ("torch", "torch._tensor") and base.__name__ == "Tensor" for base in type(value).__mro__)


def _is_numpy(value):
    return type(value).__module__ == "numpy" and hasattr(value, "dtype") and hasattr(value, "tobytes")


def _torch_array(tensor, copy):
    import ctypes

    name = str(tensor.dtype).split(".")[-1]
    if name not in TORCH_DTYPES:
        raise VarveError("ERR_INVALID_ARGUMENT", "a tensor of the dtype %s has no place in safetensors" % name)
    if tensor.is_sparse or tensor.is_quantized:
        raise VarveError("ERR_INVALID_ARGUMENT", "sparse and quantized tensors are saved in parts: values, indices, scales")
    plain = tensor.detach()
    if plain.is_conj() or plain.is_neg():
        plain = plain.resolve_conj().resolve_neg()
    owned = plain.cpu().contiguous()
    if copy and owned.data_ptr() == plain.data_ptr():
        owned = owned.clone()
    size = owned.numel() * owned.element_size()
    # No numpy in between: it has no bfloat16. The view lives as long as `owned`, which the array keeps.
    raw = (ctypes.c_char * size).from_address(owned.data_ptr()) if size else b""
    return _Array(TORCH_DTYPES[name], list(owned.shape), memoryview(raw).cast("B"), "torch", owned)


def _numpy_array(value, copy):
    import numpy

    array = numpy.asarray(value)
    shape = list(array.shape)
    if copy or array.dtype.byteorder == ">" or not array.flags.c_contiguous:
        array = numpy.array(array, dtype=array.dtype.newbyteorder("<"), order="C", copy=True)
    name = array.dtype.name
    if name == "bfloat16" or name.startswith("float8"):  # the ml_dtypes package
        dtype = TORCH_DTYPES.get(name)
    else:
        dtype = NUMPY_DTYPES.get(name)
    if dtype is None:
        raise VarveError("ERR_INVALID_ARGUMENT", "an array of the dtype %s has no place in safetensors" % name)
    raw = array.reshape(-1).view(numpy.uint8) if array.size else b""
    return _Array(dtype, shape, memoryview(raw).cast("B"), "numpy", array)


def _flatten(state, copy=False):
    """Arrays by name, and a description of everything else, from which `_unflatten` makes the same state."""
    arrays, active = {}, set()

    def name_of(path):
        base = ".".join(path) or "tensor"
        name, number = base, 2
        while name in arrays or name == "__metadata__":
            name, number = "%s~%d" % (base, number), number + 1
        return name

    def walk(value, path):
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return value if abs(value) < 2**53 else {"int": str(value)}
        if isinstance(value, float):
            return {"float": value.hex()}
        if isinstance(value, complex):
            return {"complex": [value.real.hex(), value.imag.hex()]}
        if isinstance(value, (bytes, bytearray)):
            return {"bytes": base64.b64encode(bytes(value)).decode("ascii")}
        if _is_torch(value) or _is_numpy(value):
            name = name_of(path)
            array = _torch_array(value, copy) if _is_torch(value) else _numpy_array(value, copy)
            arrays[name] = array
            return {"array": name, "kind": array.kind}
        if id(value) in active:
            raise VarveError("ERR_INVALID_ARGUMENT", "%s contains itself" % ".".join(path))
        active.add(id(value))
        try:
            if isinstance(value, dict):
                return {"dict": [[walk_key(key), walk(item, path + [str(key)])] for key, item in value.items()]}
            if isinstance(value, (list, tuple)):
                items = [walk(item, path + [str(i)]) for i, item in enumerate(value)]
                return {"list" if isinstance(value, list) else "tuple": items}
        finally:
            active.discard(id(value))
        raise VarveError(
            "ERR_INVALID_ARGUMENT", "%s is a %s, which is no data" % (".".join(path) or "the state", type(value).__name__)
        )

    def walk_key(key):
        if isinstance(key, (str, bool, type(None), int, float, tuple)):
            return walk(key, [])
        raise VarveError("ERR_INVALID_ARGUMENT", "a key of the type %s" % type(key).__name__)

    return arrays, walk(state, [])


def _unflatten(tree, array_of):
    if not isinstance(tree, dict):
        return tree
    (kind, value), = ((k, v) for k, v in tree.items() if k != "kind")
    if kind == "dict":
        return {_unflatten(key, array_of): _unflatten(item, array_of) for key, item in value}
    if kind == "list":
        return [_unflatten(item, array_of) for item in value]
    if kind == "tuple":
        return tuple(_unflatten(item, array_of) for item in value)
    if kind == "array":
        return array_of(value, tree.get("kind"))
    if kind == "int":
        return int(value)
    if kind == "float":
        return float.fromhex(value)
    if kind == "complex":
        return complex(float.fromhex(value[0]), float.fromhex(value[1]))
    if kind == "bytes":
        return base64.b64decode(value)
    raise VarveError("ERR_INVALID_ARGUMENT", "a state written by a later varve_client: %r" % kind)


def _plan_file(arrays):
    """A safetensors file's header and the place of each array, as the store's own writer lays it out."""
    order = sorted(arrays, key=lambda name: (-DTYPES.index(arrays[name].dtype), name.encode("utf-8")))
    at, entries, places = 0, {}, []
    for name in order:
        size = arrays[name].view.nbytes
        entries[name] = {"dtype": arrays[name].dtype, "shape": arrays[name].shape, "data_offsets": [at, at + size]}
        places.append((name, at, size))
        at += size
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    header = struct.pack("<Q", len(text)) + text
    return header, [(name, len(header) + offset, size) for name, offset, size in places], len(header) + at


def _plan_chunks(spans, size):
    """The store's rule (docs/formats/manifest.md): a list of (offset, bytes, dtype or None, key)."""
    chunks, end, skeletons, group = [], 0, 0, None

    def skeleton(until):
        nonlocal skeletons
        for offset in range(end, until, CHUNK_BYTES_MAX):
            chunks.append([offset, min(CHUNK_BYTES_MAX, until - offset), None, "skeleton %d" % skeletons])
            skeletons += 1

    for name, dtype, offset, length in spans:
        if length == 0:
            continue
        if offset > end:
            skeleton(offset)
            group = None
        end = offset + length
        elements = length * 8 // BITS[dtype]
        chunk_bytes = CHUNK_ELEMENTS * BITS[dtype] // 8
        if elements >= CHUNK_ELEMENTS:
            for at in range(0, length, chunk_bytes):
                chunks.append([offset + at, min(chunk_bytes, length - at), dtype, "%s %d %s" % (dtype, at, name)])
            group = None
        elif group is not None and group[0] == dtype and group[1] + elements <= CHUNK_ELEMENTS:
            chunks[-1][1] += length
            group[1] += elements
        else:
            chunks.append([offset, length, dtype, "%s 0 %s" % (dtype, name)])
            group = [dtype, elements]
    skeleton(size)
    return chunks


class _Parts:
    """A file in pieces of memory: bytes at any place, copied only where a run crosses pieces."""

    def __init__(self, pieces):
        self.pieces = [(offset, memoryview(view).cast("B")) for offset, view in pieces if len(view)]
        self.starts = [offset for offset, _ in self.pieces]

    def read(self, offset, size):
        import bisect

        i = bisect.bisect_right(self.starts, offset) - 1
        start, view = self.pieces[i]
        if offset - start + size <= view.nbytes:
            return view[offset - start : offset - start + size]
        out = bytearray()
        while len(out) < size:
            start, view = self.pieces[i]
            out += view[offset + len(out) - start :][: size - len(out)]
            i += 1
        return memoryview(out)


# ------------------------------------------------------------------------------------------------------ connections


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class _Http:
    """Keep-alive connections, one a thread; a request is tried again when nothing of it can have been done twice."""

    def __init__(self, url, token, timeout):
        self.parts = urllib.parse.urlsplit(url)
        if self.parts.scheme not in ("http", "https", "unix"):
            raise VarveError("ERR_INVALID_ARGUMENT", "%s is no http://, https:// or unix: address" % url)
        self.token, self.timeout = token, timeout
        self.local = threading.local()
        self.lock = threading.Lock()
        self.sent_bytes = self.received_bytes = 0

    def open(self):
        if self.parts.scheme == "unix":
            return _UnixConnection(self.parts.path or self.parts.netloc, self.timeout)
        if self.parts.scheme == "https":
            return http.client.HTTPSConnection(self.parts.netloc, timeout=self.timeout, context=ssl.create_default_context())
        return http.client.HTTPConnection(self.parts.netloc, timeout=self.timeout)

    def request(self, method, path, body=None, headers=None, retry=True):
        """(status, headers, bytes). `body` is bytes, or a list of buffers sent one behind the other.

        While the server is away (it may be restarting) the request is tried again, for RETRY_SECONDS.
        """
        pieces = body if isinstance(body, list) else ([] if body is None else [body])
        length = sum(memoryview(piece).nbytes for piece in pieces)
        sent = {"Content-Length": str(length), **(headers or {})}
        if self.token is not None:
            sent["Authorization"] = "Bearer " + self.token
        deadline, wait = time.monotonic() + (RETRY_SECONDS if retry else 0), 0.05
        while True:
            connection = getattr(self.local, "connection", None) or self.open()
            self.local.connection = None
            try:
                connection.putrequest(method, path)
                for name, value in sent.items():
                    connection.putheader(name, value)
                connection.endheaders()
                for piece in pieces:
                    connection.send(piece)
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if time.monotonic() >= deadline:
                    raise VarveError("ERR_IO", "%s: %s" % (self.parts.geturl(), error), retryable=True) from error
                time.sleep(wait)
                wait = min(2 * wait, 1)
                continue
            if not response.will_close:
                self.local.connection = connection
            with self.lock:
                self.sent_bytes += length
                self.received_bytes += len(data)
            if response.status == 503 and time.monotonic() < deadline:
                time.sleep(wait)
                wait = min(2 * wait, 1)
                continue
            return response.status, response.headers, data

    def json(self, method, path, body=None, headers=None, allow=(), retry=True):
        sent = None if body is None else json.dumps(body, separators=(",", ":")).encode("utf-8")
        more = {"Content-Type": "application/json", **(headers or {})}
        status, answered, data = self.request(method, path, sent, more, retry)
        answer = json.loads(data) if data else {}
        if status >= 400 and status not in allow:
            raise _failure(status, answer)
        return status, answered, answer


def _failure(status, answer):
    error = answer.get("error", {}) if isinstance(answer, dict) else {}
    return VarveError(
        error.get("code", "ERR_IO"), error.get("message", "HTTP %d" % status), status, error.get("hint"),
        error.get("retryable", False),
    )


# ------------------------------------------------------------------------------------------------------- the client


class Ticket:
    """A save under way in a background thread. `result()` waits for it and raises what it raised."""

    def __init__(self, future, client):
        self._future, self._client = future, client

    def done(self):
        return self._future.done()

    def result(self, timeout=None):
        self._client._seen(self._future)
        return self._future.result(timeout)


class Client:
    """A store behind `varve serve`. Safe to use from several threads."""

    def __init__(self, url="http://127.0.0.1:7411", token=None, timeout=120.0, threads=4):
        self._http = _Http(url, token, timeout)
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="varve")
        self._background = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="varve-save")
        self._unseen, self._lock = [], threading.Lock()
        self._manifests = {}
        # What the server called chunks that it has made durable: a server that was killed need not get them again.
        self._stored = {}

    # -- saving

    def save(self, ref, state, step=None, metrics=None, metadata=None, parent=None):
        """Save a state as the ref's next version and return it, durable.

        `parent` is the version this state was trained from: when the ref has moved on from it, nothing is saved and
        ERR_CONFLICT is raised. Without it, the version follows whatever is the newest. Arrays must not change until
        this returns (save_async copies them first).
        """
        self._raise_unseen()
        arrays, tree = _flatten(state)
        return self._save(ref, arrays, tree, step, metrics, metadata, parent)

    def save_async(self, ref, state, step=None, metrics=None, metadata=None, parent=None):
        """Copy the arrays, return a Ticket at once, and save in a background thread, in the order of the calls.

        A failure is raised by the ticket's result(); if nobody asks for it, by the next save, or by close().
        """
        self._raise_unseen()
        arrays, tree = _flatten(state, copy=True)
        future = self._background.submit(self._save, ref, arrays, tree, step, metrics, metadata, parent)
        with self._lock:
            self._unseen.append((ref, future))
        return Ticket(future, self)

    def _seen(self, future):
        with self._lock:
            self._unseen = [each for each in self._unseen if each[1] is not future]

    def _raise_unseen(self):
        with self._lock:
            ended = [each for each in self._unseen if each[1].done()]
            self._unseen = [each for each in self._unseen if not each[1].done()]
        for ref, future in ended:
            if future.exception() is not None:
                raise VarveError(
                    "ERR_ABORTED", "an earlier save of %s failed unnoticed: %s" % (ref, future.exception())
                ) from future.exception()

    def _save(self, ref, arrays, tree, step, metrics, metadata, parent):
        header, places, size = _plan_file(arrays)
        blob = json.dumps({"varve_client": 1, "tree": tree}, separators=(",", ":"), ensure_ascii=True).encode("ascii")
        pieces = [(0, header)] + [(offset, arrays[name].view) for name, offset, _ in places]
        spans = [(name, arrays[name].dtype, offset, length) for name, offset, length in places]
        resume = [[at, min(CHUNK_BYTES_MAX, len(blob) - at), None, ""] for at in range(0, len(blob), CHUNK_BYTES_MAX)]
        files = [(_Parts(pieces), _plan_chunks(spans, size)), (_Parts([(0, blob)]), resume)]
        chunks = [(parts, chunk) for parts, plan in files for chunk in plan]
        digests = list(self._pool.map(lambda each: hashlib.sha256(each[0].read(each[1][0], each[1][1])).hexdigest(), chunks))
        count = len(files[0][1])
        tensors = [
            {"name": name, "dtype": arrays[name].dtype, "shape": arrays[name].shape, "offset": offset}
            for name, offset, _ in places
        ]
        for _ in range(8):
            current = self._current(ref)
            bases = {} if current is None else self._bases(current)
            self._put_missing(ref, chunks, digests, bases)
            names = [self._name(digest) for digest in digests]
            model = {"kind": "tensors", "name": MODEL_FILE, "sizeBytes": size, "format": "safetensors", "tensors": tensors}
            rest = {"kind": "resume", "name": "", "sizeBytes": len(blob)}
            body = {"files": [dict(model, chunks=names[:count]), dict(rest, chunks=names[count:])]}
            if current is not None:
                body["parent"] = current["manifest"]
            status, _, answer = self._http.json("POST", "/v1/manifests", body, allow=(409,))
            if status == 409:
                continue  # collected in between: what is missing is put again
            saved = self._move(ref, answer["manifest"], step, metrics, metadata, parent)
            if saved is not None:
                return saved
        raise VarveError("ERR_CONFLICT", "%s could not be saved in eight attempts" % ref, retryable=True)

    def _current(self, ref):
        status, _, answer = self._http.json("GET", "/v1/refs/" + _quote(ref), allow=(404,))
        return None if status == 404 else answer

    def _move(self, ref, manifest, step, metrics, metadata, parent):
        """None when chunks went missing, or a new ref was made by somebody else meanwhile."""
        body = {"manifest": manifest}
        for name, value in (("step", step), ("metrics", metrics), ("metadata", metadata)):
            if value is not None:
                body[name] = value
        path = "/v1/refs/" + _quote(ref)
        if parent is not None:
            headers = {"If-Match": '"%d"' % parent}
        else:
            headers = {"If-Match": "*"}
        # Moving a ref twice would make two versions: a move whose answer was lost is looked for, not repeated.
        key = base64.b16encode(os.urandom(16)).decode("ascii").lower()
        body["metadata"] = dict(body.get("metadata") or {}, **{"varve.save": key})
        deadline, lost = time.monotonic() + RETRY_SECONDS, False
        while True:
            try:
                status, _, answer = self._http.json("PUT", path, body, headers, allow=(409, 412), retry=False)
            except VarveError as error:
                if not error.retryable or time.monotonic() >= deadline:
                    raise
                time.sleep(0.1)
                lost = True
                saved = self._saved_as(path, key)
                if saved is not None:
                    return saved
                continue
            if status == 409:
                return None
            if status == 412 and lost:
                saved = self._saved_as(path, key)
                if saved is not None:
                    return saved
            if status == 412 and parent is None and "If-None-Match" not in headers:
                headers = {"If-None-Match": "*"}
                continue
            if status == 412 and parent is None:
                headers = {"If-Match": "*"}
                continue
            if status == 412:
                raise _failure(status, answer)
            return answer

    def _saved_as(self, path, key):
        """The version that a move made whose answer did not arrive."""
        _, _, log = self._http.json("GET", path + "?log", allow=(404,))
        return next((v for v in reversed(log.get("versions", [])) if v["metadata"].get("varve.save") == key), None)

    def _bases(self, version):
        """The newest version's chunks by what they hold: what new ones are stored against."""
        bases = {}
        for entry in self.manifest(version["manifest"])["files"]:
            if entry["kind"] != "tensors":
                continue
            for chunk, stored in zip(_manifest_plan(entry), entry["chunks"]):
                bases.setdefault(chunk[3], stored["digest"])
        return bases

    def _put_missing(self, ref, chunks, digests, bases):
        unique = {}
        for i, digest in enumerate(digests):
            unique.setdefault(digest, i)
        order = list(unique.values())
        missing = []
        for at in range(0, len(order), HAVE_DIGESTS):
            part = order[at : at + HAVE_DIGESTS]
            body = {"digests": [self._name(digests[i]) for i in part], "like": ref}
            _, _, answer = self._http.json("POST", "/v1/have", body)
            for place in answer["missing"]:
                self._stored.pop(digests[part[place]], None)
                missing.append(part[place])
        batch, size, sending = [], 0, []
        for i in missing:
            if batch and (size + chunks[i][1][1] > BATCH_BYTES or len(batch) == BATCH_CHUNKS):
                sending.append(self._pool.submit(self._put_batch, batch, chunks, digests, bases))
                batch, size = [], 0
            batch.append(i)
            size += chunks[i][1][1]
        if batch:
            sending.append(self._pool.submit(self._put_batch, batch, chunks, digests, bases))
        for future in sending:
            future.result()

    def _put_batch(self, batch, chunks, digests, bases):
        entries, raw = [], []
        for i in batch:
            parts, (offset, size, dtype, key) = chunks[i]
            entry = {"digest": "sha256:" + digests[i], "sizeBytes": size}
            if dtype is not None:
                entry["dtype"] = dtype
            if key in bases:
                entry["bases"] = [bases[key]]
            entries.append(entry)
            raw.append(parts.read(offset, size))
        header = json.dumps({"chunks": entries}, separators=(",", ":")).encode("ascii")
        status, _, data = self._http.request("POST", "/v1/chunks", [struct.pack("<I", len(header)) + header] + raw)
        if status == 422:
            raise VarveError(
                "ERR_CONFLICT", "an array changed while it was being saved, or on its way; nothing was saved", status
            )
        if status >= 400:
            raise _failure(status, json.loads(data))
        for i, digest in zip(batch, json.loads(data)["digests"]):
            self._remember(digests[i], digest)

    def _name(self, sha):
        """What a chunk is called on the wire: its name in the store where that is known, else its SHA-256."""
        return self._stored.get(sha) or "sha256:" + sha

    def _remember(self, sha, digest):
        with self._lock:
            self._stored[sha] = digest
            while len(self._stored) > REMEMBERED_MAX:
                self._stored.pop(next(iter(self._stored)))

    # -- loading

    def version(self, selector):
        """A version's fields: number, step, metrics, metadata, manifest. `selector` is REF or REF@SELECTOR."""
        ref, _, at = selector.partition("@")
        path = "/v1/refs/" + _quote(ref) + ("?at=" + urllib.parse.quote(at, safe="") if at else "")
        return self._http.json("GET", path)[2]

    def manifest(self, digest):
        """What a manifest lists; the last few are remembered, since one never changes under its name."""
        found = self._manifests.get(digest)
        if found is None:
            found = self._http.json("GET", "/v1/manifests/" + digest)[2]
            with self._lock:
                self._manifests[digest] = found
                while len(self._manifests) > 8:
                    self._manifests.pop(next(iter(self._manifests)))
        return found

    def load(self, selector):
        """The state a version was saved from; of a version saved by another program, its tensors by name."""
        return self._load(self.version(selector), {})[0]

    def load_into(self, module, selector, key=None):
        """Load a torch module's parameters and buffers in place; returns the version.

        The version's state is the module's own state dict, or a dict that has it under `key` (default: "model" or
        "state_dict" where there is such an entry).
        """
        version = self.version(selector)
        state = self._load(version, {})[0]
        if key is None:
            key = next((k for k in ("model", "state_dict") if isinstance(state.get(k), dict)), None)
        module.load_state_dict(state if key is None else state[key])
        return version

    def _load(self, version, known):
        """(state, chunks by digest): chunks that are in `known` are not fetched."""
        files = self.manifest(version["manifest"])["files"]
        wanted = [entry for entry in files if entry["kind"] in ("tensors", "resume")]
        chunks = self._fetch([chunk for entry in wanted for chunk in entry["chunks"]], known)
        arrays, tree = {}, None
        for entry in wanted:
            data = bytearray(entry["sizeBytes"])
            at = 0
            for chunk in entry["chunks"]:
                data[at : at + chunk["sizeBytes"]] = chunks[chunk["digest"]]
                at += chunk["sizeBytes"]
            if entry["kind"] == "resume":
                tree = _read_tree(data)
                continue
            for tensor in entry["tensors"]:
                size = _tensor_bytes(tensor)
                arrays[tensor["name"]] = (tensor, memoryview(data)[tensor["offset"] : tensor["offset"] + size])
        make = lambda name, kind: _make_array(*arrays[name], kind)
        if tree is None:
            return {name: make(name, None) for name in arrays}, chunks
        return _unflatten(tree, make), chunks

    def _fetch(self, wanted, known):
        chunks = {c["digest"]: known[c["digest"]] for c in wanted if c["digest"] in known}
        batches, batch, size = [], [], 0
        for chunk in {c["digest"]: c for c in wanted}.values():
            if chunk["digest"] in chunks:
                continue
            if batch and (size + chunk["sizeBytes"] > BATCH_BYTES or len(batch) == BATCH_CHUNKS):
                batches.append(batch)
                batch, size = [], 0
            batch.append(chunk["digest"])
            size += chunk["sizeBytes"]
        if batch:
            batches.append(batch)
        for got in self._pool.map(self._get_batch, batches):
            chunks.update(got)
        return chunks

    def _get_batch(self, digests):
        body = json.dumps({"digests": digests}).encode("ascii")
        status, _, data = self._http.request("POST", "/v1/chunks/get", body, {"Content-Type": "application/json"})
        if status >= 400:
            raise _failure(status, json.loads(data))
        view = memoryview(data)
        (length,) = struct.unpack_from("<I", view)
        at, got = 4 + length, {}
        for chunk in json.loads(bytes(view[4:at]))["chunks"]:
            raw = view[at : at + chunk["sizeBytes"]]
            if hashlib.sha256(raw).hexdigest() != chunk["sha256"]:
                raise VarveError("ERR_IO", "a chunk was damaged on its way", retryable=True)
            got[chunk["digest"]] = raw
            self._remember(chunk["sha256"], chunk["digest"])
            at += chunk["sizeBytes"]
        return got

    def follow(self, ref, since=None, load=True, poll_timeout=60.0):
        """Yield (version, state) for each new version of a ref as it becomes durable, the newest one first of all.

        Versions that come faster than they are taken are passed over: what is yielded is the newest. Only chunks that
        changed travel. `since` is the number of a version that is known already. Reconnects by itself.
        """
        known, last, event_id = {}, since or 0, None
        while True:
            connection = self._http.open()
            connection.timeout = poll_timeout
            try:
                headers = {"Accept": "text/event-stream"}
                if self._http.token is not None:
                    headers["Authorization"] = "Bearer " + self._http.token
                if event_id is not None:
                    headers["Last-Event-ID"] = event_id
                connection.request("GET", "/v1/watch?ref=" + urllib.parse.quote(ref, safe=""), headers=headers)
                response = connection.getresponse()
                if response.status >= 400:
                    raise _failure(response.status, json.loads(response.read() or b"{}"))
                for line in response:
                    field, _, value = line.decode("utf-8").rstrip("\r\n").partition(": ")
                    if field == "id":
                        event_id = value
                    if field != "id" or int(value) == 0:
                        continue
                    version = self.version(ref)  # the newest by now
                    if version["version"] <= last:
                        continue
                    last = version["version"]
                    if not load:
                        yield version, None
                        continue
                    state, known = self._load(version, known)
                    yield version, state
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)
            finally:
                connection.close()

    # -- the end

    @property
    def bytes_sent(self):
        """Bytes of request bodies so far."""
        return self._http.sent_bytes

    def close(self):
        """Wait for saves in the background; raise the failure of one nobody asked about."""
        self._background.shutdown(wait=True)
        self._pool.shutdown(wait=True)
        self._raise_unseen()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self._background.shutdown(wait=True)


def _quote(ref):
    return urllib.parse.quote(ref, safe="")


def _tensor_bytes(tensor):
    elements = 1
    for axis in tensor["shape"]:
        elements *= axis
    return elements * BITS[tensor["dtype"]] // 8


def _manifest_plan(entry):
    spans = [(t["name"], t["dtype"], t["offset"], _tensor_bytes(t)) for t in entry["tensors"]]
    return _plan_chunks(spans, entry["sizeBytes"])


def _read_tree(data):
    try:
        blob = json.loads(bytes(data))
    except ValueError:
        return None  # another program's resume blob
    return blob.get("tree") if isinstance(blob, dict) and "varve_client" in blob else None


def _make_array(tensor, view, kind):
    """A torch tensor where torch is there and it was one (or numpy cannot hold it), else a numpy array, else bytes."""
    names = {dtype: name for name, dtype in TORCH_DTYPES.items()}
    if kind != "numpy":
        try:
            import torch
        except ImportError:
            torch = None
        dtype = getattr(torch, names.get(tensor["dtype"], ""), None) if torch is not None else None
        if dtype is not None:
            # Each tensor owns its memory: views of one large buffer would keep all of it.
            raw = torch.frombuffer(bytearray(view), dtype=torch.uint8) if view.nbytes else torch.empty(0, dtype=torch.uint8)
            return raw.view(dtype).reshape(tensor["shape"]) if view.nbytes else torch.empty(tensor["shape"], dtype=dtype)
    try:
        import numpy
    except ImportError:
        return bytes(view)
    name = names.get(tensor["dtype"])
    if name not in NUMPY_DTYPES:
        try:
            import ml_dtypes

            return numpy.frombuffer(bytearray(view), dtype=getattr(ml_dtypes, name)).reshape(tensor["shape"])
        except ImportError:
            return bytes(view)
    return numpy.frombuffer(bytearray(view), dtype=name).reshape(tensor["shape"])


# -------------------------------------------------------------------------------------------- one client for a process

_default, _default_lock = None, threading.Lock()


def connect(url=None, token=None, **options):
    """A client; without an address, $VARVE_URL or http://127.0.0.1:7411, with $VARVE_TOKEN."""
    url = url or os.environ.get("VARVE_URL") or "http://127.0.0.1:7411"
    return Client(url, token or os.environ.get("VARVE_TOKEN"), **options)


def _shared():
    global _default
    with _default_lock:
        if _default is None:
            import atexit

            _default = connect()
            atexit.register(_default.close)
        return _default


def save(ref, state, step=None, metrics=None, metadata=None, parent=None):
    """Client.save on the process's own client."""
    return _shared().save(ref, state, step, metrics, metadata, parent)


def save_async(ref, state, step=None, metrics=None, metadata=None, parent=None):
    """Client.save_async on the process's own client; what fails unnoticed is raised at exit."""
    return _shared().save_async(ref, state, step, metrics, metadata, parent)


def load(selector):
    """Client.load on the process's own client."""
    return _shared().load(selector)


def load_into(module, selector, key=None):
    """Client.load_into on the process's own client."""
    return _shared().load_into(module, selector, key)


def follow(ref, since=None, load=True):
    """Client.follow on the process's own client."""
    return _shared().follow(ref, since, load)
