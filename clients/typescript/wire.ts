/** The messages of the protocol as docs/protocol.md gives them, as far as this device reads them. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Fields = { [field: string]: Json };
export type Dot = [rid: number, n: number];

export interface Mutation {
  n: number;
  op: string;
  collection: string;
  id: string;
  tx?: string;
  base?: number | { [cell: string]: number };
  rev?: number;
  set?: Fields;
  do?: { [field: string]: { [op: string]: Json } };
  was?: Fields;
  closes?: { [cell: string]: Dot[] };
  by?: string;
  at?: number;
}

export interface CellVerdict {
  verdict: string;
  value?: Json;
  dot?: Dot;
  seq?: number;
  rule?: string;
  conflict?: string;
  code?: string;
  message?: string;
}

export interface Verdict {
  n: number;
  verdict: string;
  schema: number;
  collection: string;
  id: string;
  rev: number;
  cells: { [cell: string]: CellVerdict };
  code?: string;
  message?: string;
}

export interface Limits {
  mutations: number;
  bytes: number;
  fields: number;
  tx: number;
  page: number;
}

export interface Enrolled {
  replica: string;
  rid: number;
  token: string;
  refresh: string;
  epoch: string;
  schema: number;
  limits: Limits;
}

export interface PushAnswer {
  epoch: string;
  applied: number;
  expected?: number;
  verdicts: Verdict[];
  limits: Limits;
  durable: number;
  retry_after_ms?: number;
}

export interface Change {
  op: string;
  collection: string;
  id: string;
  rev: number;
  fields?: Fields;
}

export interface Page {
  commits: { seq: number; tx?: string; changes: Change[] }[];
  cursor: string;
  more: boolean;
  durable: number;
  retry_after_ms?: number;
}

export interface Shape {
  kind: string;
  limit?: number;
  choices?: string[];
  of?: string;
  keeps_space?: boolean;
}

export interface Catalogue {
  version: number;
  collections: {
    [name: string]: {
      fields: { [field: string]: Shape };
      cells: { [cell: string]: { is_group: boolean; members: string[] } };
    };
  };
}
