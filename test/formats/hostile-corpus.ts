import type { SafetensorsRule } from "../../formats/safetensors/format.ts";

/** A file: header length, header, data. `length` lies about the header's length. */
export function fileOf(header: string | Uint8Array, dataBytes = 0, length?: bigint): Uint8Array {
  const headerBytes = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + headerBytes.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(headerBytes.length), true);
  file.set(headerBytes, 8);
  return file;
}

/** A header of one tensor `a` with these fields in the place of dtype, shape and data_offsets. */
const entry = (fields: string) => `{"a":{${fields}}}`;
const u8 = (shape: string, offsets: string) =>
  entry(`"dtype":"U8","shape":${shape},"data_offsets":${offsets}`);
const extra = (value: string) => entry(`"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":${value}`);
const named = (name: string) => `"${name}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`;
const nested = (depth: number) => extra(`${"[".repeat(depth)}${"]".repeat(depth)}`);

function bytesBetween(before: string, bytes: number[], after: string): Uint8Array {
  const encoder = new TextEncoder();
  return Uint8Array.from([...encoder.encode(before), ...bytes, ...encoder.encode(after)]);
}

/** A malformed byte sequence inside a tensor's name. */
const inName = (...bytes: number[]) =>
  fileOf(bytesBetween('{"', bytes, '":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'));

/** Name of the case, the file, the rule it breaks (`accepted`: none). */
export const corpus: [name: string, file: Uint8Array, rule: SafetensorsRule | "accepted"][] = [
  ["an empty file", new Uint8Array(0), "header-length"],
  ["a file of 7 bytes", new Uint8Array(7), "header-length"],
  ["a length of 0", fileOf(""), "header-object"],
  ["a length of 2^64 - 1", fileOf("{}", 0, (1n << 64n) - 1n), "header-length"],
  ["a length of 2^53 + 2", fileOf("{}", 0, (1n << 53n) + 2n), "header-length"],
  ["a length whose low half alone would do", fileOf("{}", 0, (1n << 32n) + 2n), "header-length"],
  ["a length of 100,000,001", fileOf("{}", 0, 100_000_001n), "header-length"],
  ["a length past the end of the file", fileOf("{}", 0, 3n), "header-length"],
  ["a length that cuts the header", fileOf("{} ", 0, 1n), "json"],

  ["no tensors", fileOf("{}"), "accepted"],
  ["a space in front", fileOf(" {}"), "header-object"],
  ["a byte order mark", fileOf("\ufeff{}"), "header-object"],
  ["an array for a header", fileOf("[]"), "header-object"],
  ["a string for a header", fileOf('"a"'), "header-object"],
  ["spaces behind", fileOf("{}      "), "accepted"],
  ["a newline behind", fileOf("{}\n"), "trailing-bytes"],
  ["NUL padding", fileOf("{}\0\0"), "trailing-bytes"],
  ["a second object", fileOf("{}{}"), "trailing-bytes"],
  ["a closing brace too many", fileOf("{}}"), "trailing-bytes"],
  ["white space between tokens", fileOf(`{ \t\r\n${named("a")} \n}`), "accepted"],

  ["an object not closed", fileOf("{"), "json"],
  ["a comma at the end", fileOf(`{${named("a")},}`), "json"],
  ["a comma at the start", fileOf(`{,${named("a")}}`), "json"],
  ["a comma missing", fileOf(`{${named("a")}${named("b")}}`), "json"],
  ["a colon missing", fileOf('{"a" {}}'), "json"],
  ["a key without quotes", fileOf("{a:{}}"), "json"],
  ["a key in single quotes", fileOf("{'a':{}}"), "json"],
  ["a comment", fileOf(`{/**/${named("a")}}`), "json"],
  ["a bare newline in a name", fileOf(`{${named("a\nb")}}`), "json"],
  ["a bare NUL in a name", fileOf(`{${named("a\0b")}}`), "json"],
  ["a string not closed", fileOf('{"a'), "json"],
  ["a string closed by an escaped quote", fileOf('{"a\\"'), "json"],

  ["an unknown escape", fileOf(`{${named("\\x41")}}`), "escape"],
  ["a backslash at the end", fileOf('{"a\\'), "escape"],
  ["three hexadecimal digits", fileOf(`{${named("\\u041")}}`), "escape"],
  ["a sign in a \\u escape", fileOf(`{${named("\\u+041")}}`), "escape"],
  ["a high surrogate alone", fileOf(`{${named("\\ud800")}}`), "escape"],
  ["a high surrogate before a letter", fileOf(`{${named("\\ud800\\u0041")}}`), "escape"],
  ["two high surrogates", fileOf(`{${named("\\ud800\\ud800")}}`), "escape"],
  ["a low surrogate alone", fileOf(`{${named("\\udc00")}}`), "escape"],
  ["a surrogate alone in a field that is ignored", fileOf(extra('"\\ud800"')), "escape"],
  ["a low surrogate whose escape lacks its backslash", fileOf(`{${named("\\ud800Xudc00")}}`), "escape"],
  ["a low surrogate whose escape lacks its u", fileOf(`{${named("\\ud800\\xdc00")}}`), "escape"],
  ["the last surrogate pair", fileOf(`{${named("\\udbff\\udfff")}}`), "accepted"],
  ["a surrogate pair", fileOf(`{${named("\\ud83d\\ude00")}}`), "accepted"],

  ["a continuation byte alone", inName(0x80), "utf-8"],
  ["a sequence cut short", inName(0xc3), "utf-8"],
  ["an overlong slash", inName(0xc0, 0xaf), "utf-8"],
  ["an overlong sequence of three", inName(0xe0, 0x80, 0xaf), "utf-8"],
  ["an overlong sequence of four", inName(0xf0, 0x80, 0x80, 0xaf), "utf-8"],
  ["a surrogate in UTF-8", inName(0xed, 0xa0, 0x80), "utf-8"],
  ["a code point past U+10FFFF", inName(0xf4, 0x90, 0x80, 0x80), "utf-8"],
  ["a lead byte of 0xff", inName(0xff), "utf-8"],
  ["a sequence that runs out of the header", fileOf(bytesBetween('{"', [0xf0, 0x9f], "")), "utf-8"],
  ["the last code point", inName(0xf4, 0x8f, 0xbf, 0xbf), "accepted"],

  ["127 containers", fileOf(nested(125)), "accepted"],
  ["128 containers", fileOf(nested(126)), "nesting"],
  ["100,000 containers", fileOf(nested(100_000)), "nesting"],
  ["128 objects", fileOf(extra(`${'{"y":'.repeat(126)}0${"}".repeat(126)}`)), "nesting"],

  ["one name twice", fileOf(`{${named("a")},${named("a")}}`), "duplicate-name"],
  ["one name twice, escaped once", fileOf(`{${named("a")},${named("\\u0061")}}`), "duplicate-name"],
  [
    "one name twice, as an escaped pair",
    fileOf(`{${named("😀")},${named("\\uD83D\\uDE00")}}`),
    "duplicate-name",
  ],
  ["metadata twice", fileOf('{"__metadata__":{},"__metadata__":{}}'), "duplicate-key"],
  ["metadata twice, escaped once", fileOf('{"__metadata__":{},"\\u005f_metadata__":{}}'), "duplicate-key"],
  ["a metadata key twice", fileOf('{"__metadata__":{"k":"1","k":"1"}}'), "duplicate-key"],
  ["dtype twice", fileOf(u8("[0]", '[0,0],"dtype":"U8"')), "duplicate-key"],
  ["shape twice", fileOf(u8("[0]", '[0,0],"shape":[0]')), "duplicate-key"],
  ["data_offsets twice", fileOf(u8("[0]", '[0,0],"data_offsets":[0,0]')), "duplicate-key"],
  ["an extra field twice", fileOf(extra('1,"x":1')), "duplicate-key"],
  ["a key twice deep in an extra field", fileOf(extra('[{"y":1,"y":1}]')), "duplicate-key"],

  ["metadata", fileOf('{"__metadata__":{"step":"600"}}'), "accepted"],
  ["null metadata", fileOf('{"__metadata__":null}'), "metadata"],
  ["metadata as an array", fileOf('{"__metadata__":[]}'), "metadata"],
  ["a number in metadata", fileOf('{"__metadata__":{"step":600}}'), "metadata"],
  ["null in metadata", fileOf('{"__metadata__":{"step":null}}'), "metadata"],
  ["an object in metadata", fileOf('{"__metadata__":{"a":{}}}'), "metadata"],

  ["a tensor as an array", fileOf('{"a":["U8",[0],[0,0]]}'), "entry"],
  ["a tensor as null", fileOf('{"a":null}'), "entry"],
  ["a tensor without fields", fileOf('{"a":{}}'), "entry"],
  ["dtype missing", fileOf(entry('"shape":[0],"data_offsets":[0,0]')), "entry"],
  ["shape missing", fileOf(entry('"dtype":"U8","data_offsets":[0,0]')), "entry"],
  ["data_offsets missing", fileOf(entry('"dtype":"U8","shape":[0]')), "entry"],
  ["fields in another order", fileOf(entry('"data_offsets":[0,0],"shape":[0],"dtype":"U8"')), "accepted"],
  ["a field name escaped", fileOf(entry('"dt\\u0079pe":"U8","shape":[0],"data_offsets":[0,0]')), "accepted"],
  ["extra fields", fileOf(extra('{"y":[1,-2.5e3,null,true,false,"\\n",{}]}')), "accepted"],

  ["an unknown dtype", fileOf(entry('"dtype":"F128","shape":[0],"data_offsets":[0,0]')), "dtype"],
  ["a dtype in small letters", fileOf(entry('"dtype":"u8","shape":[0],"data_offsets":[0,0]')), "dtype"],
  ["a dtype as a number", fileOf(entry('"dtype":8,"shape":[0],"data_offsets":[0,0]')), "dtype"],
  ["a dtype as an object", fileOf(entry('"dtype":{"U8":null},"shape":[0],"data_offsets":[0,0]')), "dtype"],
  ["a dtype named __proto__", fileOf(entry('"dtype":"__proto__","shape":[0],"data_offsets":[0,0]')), "dtype"],

  ["a shape that is a number", fileOf(u8("0", "[0,0]")), "shape"],
  ["a shape that is null", fileOf(u8("null", "[0,0]")), "shape"],
  ["a shape that is an object", fileOf(u8("{}", "[0,0]")), "shape"],
  ["an axis as a float", fileOf(u8("[16.0]", "[0,16]"), 16), "integer"],
  ["an axis with an exponent", fileOf(u8("[1.6e1]", "[0,16]"), 16), "integer"],
  ["an axis as 16E0", fileOf(u8("[16E0]", "[0,16]"), 16), "integer"],
  ["an axis of -0", fileOf(u8("[-0]", "[0,0]")), "integer"],
  ["an axis of -1", fileOf(u8("[-1]", "[0,0]")), "integer"],
  ["an axis of +1", fileOf(u8("[+1]", "[0,1]"), 1), "integer"],
  ["an axis of 01", fileOf(u8("[01]", "[0,1]"), 1), "integer"],
  ["an axis in hexadecimal", fileOf(u8("[0x1]", "[0,1]"), 1), "json"],
  ["an axis as a string", fileOf(u8('["1"]', "[0,1]"), 1), "integer"],
  ["an axis of true", fileOf(u8("[true]", "[0,1]"), 1), "integer"],
  ["an axis of null", fileOf(u8("[null]", "[0,0]")), "integer"],
  ["an axis of an array", fileOf(u8("[[1]]", "[0,1]"), 1), "integer"],
  ["a comma at the end of a shape", fileOf(u8("[0,]", "[0,0]")), "integer"],
  ["an axis of 2^53", fileOf(u8("[9007199254740992,0]", "[0,0]")), "integer"],
  ["an axis of 2^53 - 1 in an empty tensor", fileOf(u8("[9007199254740991,0]", "[0,0]")), "accepted"],
  ["an axis of 2^64", fileOf(u8("[18446744073709551616]", "[0,0]")), "integer"],
  ["an axis of a thousand digits", fileOf(u8(`[${"9".repeat(1000)}]`, "[0,0]")), "integer"],
  ["255 axes", fileOf(u8(`[${Array(255).fill(1)}]`, "[0,1]"), 1), "accepted"],
  ["256 axes", fileOf(u8(`[${Array(256).fill(1)}]`, "[0,1]"), 1), "limit"],
  ["no axes: one element", fileOf(u8("[]", "[0,1]"), 1), "accepted"],

  ["an exponent past every double, ignored", fileOf(extra("1e999")), "number"],
  ["a leading zero, ignored", fileOf(extra("01")), "number"],
  ["a point without digits, ignored", fileOf(extra("1.")), "number"],
  ["a number without a whole part, ignored", fileOf(extra("-.5")), "number"],
  ["every form of number, ignored", fileOf(extra("[0,-0,10,1.50,1e5,1E5,1e+5,1e-5,-1.5e-05]")), "accepted"],
  ["an exponent without digits, ignored", fileOf(extra("1e")), "number"],
  ["an exponent of a sign alone, ignored", fileOf(extra("1e+")), "number"],
  ["a sign alone, ignored", fileOf(extra("-")), "number"],
  ["a word that is no value, ignored", fileOf(extra("nul")), "json"],
  ["NaN, ignored", fileOf(extra("NaN")), "json"],
  ["Infinity, ignored", fileOf(extra("Infinity")), "json"],

  ["data_offsets as an object", fileOf(u8("[0]", "{}")), "data-offsets"],
  ["one offset", fileOf(u8("[0]", "[0]")), "data-offsets"],
  ["no offsets", fileOf(u8("[0]", "[]")), "data-offsets"],
  ["three offsets", fileOf(u8("[0]", "[0,0,0]")), "data-offsets"],
  ["offsets that run backwards", fileOf(u8("[1]", "[1,0]"), 1), "data-offsets"],
  ["an offset as a float", fileOf(u8("[1]", "[0,1.0]"), 1), "integer"],
  ["an offset of 2^53", fileOf(u8("[1]", "[9007199254740992,9007199254740993]"), 1), "integer"],

  ["a product past 2^64", fileOf(u8("[4294967296,4294967296]", "[0,0]")), "overflow"],
  ["a product past 2^64, then 0", fileOf(u8("[4294967296,4294967296,0]", "[0,0]")), "overflow"],
  ["0, then a product past 2^64", fileOf(u8("[0,4294967296,4294967296]", "[0,0]")), "accepted"],
  ["a product of 2^61 times 8 bits", fileOf(u8("[2147483648,1073741824]", "[0,0]")), "overflow"],
  ["a product of 2^60 elements, then 0", fileOf(u8("[1073741824,1073741824,0]", "[0,0]")), "accepted"],
  ["half a byte", fileOf(entry('"dtype":"F4","shape":[3],"data_offsets":[0,2]'), 2), "whole-bytes"],
  [
    "three quarters of a byte",
    fileOf(entry('"dtype":"F6_E3M2","shape":[1],"data_offsets":[0,1]'), 1),
    "whole-bytes",
  ],
  [
    "four elements of 6 bits",
    fileOf(entry('"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]'), 3),
    "accepted",
  ],
  ["a range too long for the shape", fileOf(u8("[1]", "[0,2]"), 2), "size"],
  ["a range too short for the shape", fileOf(u8("[3]", "[0,2]"), 2), "size"],

  ["data that starts at 1", fileOf(u8("[1]", "[1,2]"), 2), "coverage"],
  ["bytes after the last tensor", fileOf(u8("[1]", "[0,1]"), 2), "coverage"],
  ["bytes without a tensor", fileOf("{}", 1), "coverage"],
  ["a tensor past the end of the file", fileOf(u8("[2]", "[0,2]"), 1), "coverage"],
  [
    "a gap",
    fileOf(`{${u8("[1]", "[0,1]").slice(1, -1)},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3),
    "coverage",
  ],
  [
    "an overlap",
    fileOf(`{${u8("[2]", "[0,2]").slice(1, -1)},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3),
    "coverage",
  ],
  [
    "two tensors in one place",
    fileOf(`{${u8("[2]", "[0,2]").slice(1, -1)},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 2),
    "coverage",
  ],
  [
    "an empty tensor inside another",
    fileOf(`{${u8("[2]", "[0,2]").slice(1, -1)},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}`, 2),
    "coverage",
  ],
  [
    "an empty tensor past the end",
    fileOf(`{${u8("[2]", "[0,2]").slice(1, -1)},"b":{"dtype":"U8","shape":[0],"data_offsets":[3,3]}}`, 2),
    "coverage",
  ],
  [
    "empty tensors at both ends",
    fileOf(
      `{"z":{"dtype":"U8","shape":[0],"data_offsets":[2,2]},${u8("[2]", "[0,2]").slice(1, -1)},"b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`,
      2,
    ),
    "accepted",
  ],

  ["a tensor named __proto__", fileOf(`{${named("__proto__")}}`), "accepted"],
  ["a tensor named ../../x", fileOf(`{${named("../../x")}}`), "accepted"],
  ["a tensor with an empty name", fileOf(`{${named("")}}`), "accepted"],
  ["a tensor named NUL", fileOf(`{${named("\\u0000")}}`), "accepted"],
  ["65,536 metadata keys", fileOf(`{"__metadata__":{${manyKeys(65_536, '""')}}}`), "accepted"],
  ["65,537 metadata keys", fileOf(`{"__metadata__":{${manyKeys(65_537, '""')}}}`), "limit"],
  ["65,536 extra keys", fileOf(extra(`{${manyKeys(65_535, "0")}}`)), "accepted"],
  ["65,537 extra keys", fileOf(extra(`{${manyKeys(65_536, "0")}}`)), "limit"],
];

function manyKeys(count: number, value: string): string {
  return Array.from({ length: count }, (_, index) => `"k${index}":${value}`).join(",");
}
