// What a change of a record does, by the code it begins with, as src/critical/record-format.ts has them.
export const CHANGE_END: u32 = 0;
export const CHANGE_PUT: u32 = 1;
export const CHANGE_PUT_EXPIRING: u32 = 2;
export const CHANGE_DELETE: u32 = 3;
export const CHANGE_SEQUENCE: u32 = 7;
export const CHANGE_ADOPT: u32 = 8;
