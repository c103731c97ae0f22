/** What a device knows of one record, and what it asks for when a person edits it. Nothing here waits or stores. */

import { createHash } from "node:crypto";
import { applied, BadValue, byCodePoint } from "./values.js";
import type { Catalogue, Fields, Json, Mutation, Shape, Verdict } from "./wire.js";

export const ALIVE = "$alive";

/** The part of a collection in the catalogue that a device needs. */
export interface Layout {
  fields: { [field: string]: Shape };
  groups: { [group: string]: string[] };
}

/** One record. `fields` is what the server told, flat; unanswered edits lie on top of it and are kept elsewhere. */
export interface Copy {
  collection: string;
  id: string;
  rev: number;
  fields: Fields;
  raised: { [cell: string]: number };
  /** The base of later edits of a cell where an own write went over another that was never on the screen. */
  blind: { [cell: string]: number };
  alive: boolean;
  held: boolean;
  toldAt: number;
  doubted: boolean;
}

/** What a person did. `set` is flat. */
export interface Act {
  op?: string;
  set?: Fields;
  do?: Mutation["do"];
  tx?: string;
  by?: string;
  at?: number;
}

export function layoutOf(catalogue: Catalogue | null, collection: string): Layout {
  const declared = catalogue?.collections[collection];
  const groups = Object.entries(declared?.cells ?? {}).filter(([, cell]) => cell.is_group);
  return { fields: declared?.fields ?? {}, groups: Object.fromEntries(groups.map(([name, cell]) => [name, cell.members])) };
}

export function unknown(collection: string, id: string): Copy {
  return { collection, id, rev: 0, fields: {}, raised: {}, blind: {}, alive: false, held: false, toldAt: 0, doubted: false };
}

export function base(copy: Copy, cell: string): number {
  return Math.max(copy.rev, copy.raised[cell] ?? 0);
}

/** The mutation to send for what a person did; `edits` are the record's unanswered ones, oldest first. */
export function edit(copy: Copy, edits: Mutation[], layout: Layout, act: Act, n: number): Mutation {
  const op = act.op ?? "set";
  const set = byCell(layout, act.set ?? {});
  const written = [...Object.keys(set), ...Object.keys(act.do ?? {})];
  const shown = view(copy, edits, layout) ?? {};
  const was = Object.fromEntries(Object.keys(set).map((cell) => [cell, cellValue(layout, shown, cell)]));
  const mutation: Mutation = { n, op, collection: copy.collection, id: copy.id, rev: copy.rev };
  mutation.base = bases(copy, edits, layout, op, written);
  if (act.tx !== undefined) mutation.tx = act.tx;
  if (Object.keys(set).length > 0) Object.assign(mutation, { set, was });
  if (act.do !== undefined && Object.keys(act.do).length > 0) mutation.do = act.do;
  if (act.by !== undefined) mutation.by = act.by;
  if (act.at !== undefined) mutation.at = act.at;
  return mutation;
}

/** A put or an enter: the whole record at `rev`, told in the commit `seq`. */
export function put(copy: Copy, layout: Layout, rev: number, fields: Fields, seq: number): void {
  placed(copy, seq, true);
  copy.doubted = false;
  if (rev < copy.rev) return;
  const newer = Object.fromEntries(Object.entries(copy.raised).filter(([, known]) => known > rev));
  const from = (told: Fields, keep: boolean): [string, Json][] =>
    Object.entries(told).filter(([field]) => cellOf(layout, field) in newer === keep);
  copy.fields = Object.fromEntries([...from(fields, false), ...from(copy.fields, true)]);
  if (!(ALIVE in newer)) copy.alive = true;
  copy.rev = rev;
  copy.raised = newer;
  copy.blind = Object.fromEntries(Object.entries(copy.blind).filter(([cell]) => cell in newer));
}

export function leave(copy: Copy, seq: number): void {
  placed(copy, seq, false);
}

/** A delete speaks of aliveness alone, and ends no membership. */
export function remove(copy: Copy, rev: number, seq: number): void {
  placed(copy, seq, true);
  if (rev < base(copy, ALIVE)) return;
  copy.alive = false;
  copy.raised[ALIVE] = rev;
}

/** The verdict of one of the own mutations, which is no longer among the unanswered ones. */
export function settle(copy: Copy, layout: Layout, mutation: Mutation, verdict: Verdict): void {
  for (const [cell, told] of Object.entries(verdict.cells)) {
    const seq = told.seq ?? 0;
    if (seq <= base(copy, cell)) continue;
    const before = copy.blind[cell] ?? (told.rule === undefined ? undefined : base(copy, cell));
    delete copy.blind[cell];
    if (told.verdict === "applied" && before !== undefined) copy.blind[cell] = before;
    copy.raised[cell] = seq;
    if (cell === ALIVE) {
      copy.alive = told.value === undefined ? mutation.op !== "delete" : told.value === true;
    } else {
      const value = told.value === undefined ? cellValue(layout, overlaid(layout, copy.fields, mutation), cell) : told.value;
      const others = Object.entries(copy.fields).filter(([field]) => cellOf(layout, field) !== cell);
      copy.fields = { ...Object.fromEntries(others), ...flat(layout, cell, value) };
    }
  }
  if (mutation.op === "create" && stands(verdict)) {
    copy.alive ||= base(copy, ALIVE) === 0;
    copy.held ||= copy.toldAt === 0;
  }
}

/** The fields as the person sees them, or null if the record is not there. */
export function view(copy: Copy, edits: Mutation[], layout: Layout): Fields | null {
  let [fields, alive] = [copy.fields, copy.alive];
  for (const mutation of edits) {
    fields = overlaid(layout, fields, mutation);
    if (mutation.op !== "set") alive = mutation.op !== "delete";
  }
  const gone = edits.length === 0 && !(copy.held && copy.alive);
  return alive && !gone ? fields : null;
}

/** Of the numbers above `position` a restored server knows nothing: none of them may count as seen. */
export function restart(copy: Copy, position: number): void {
  if (Math.max(copy.rev, copy.toldAt, ...Object.values(copy.raised)) <= position) return;
  Object.assign(copy, { rev: 0, raised: {}, blind: {}, toldAt: 0 });
}

export function rebased(mutation: Mutation, position: number): Mutation {
  const clamped =
    typeof mutation.base === "object"
      ? Object.fromEntries(Object.entries(mutation.base).map(([cell, seq]) => [cell, Math.min(seq, position)]))
      : Math.min(mutation.base ?? 0, position);
  return { ...mutation, base: clamped, rev: Math.min(mutation.rev ?? 0, position) };
}

/** The text by which the server knows a mutation again, and its SHA-256. */
export function asked(m: Mutation): string {
  const parts = [m.n, m.tx ?? null, m.op, m.collection, m.id, m.set ?? {}, m.do ?? {}, m.was ?? {}, m.closes ?? {}, m.at ?? null];
  return JSON.stringify(parts.map(sorted));
}

export function hash(mutation: Mutation): string {
  return createHash("sha256").update(asked(mutation), "utf8").digest("hex");
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([one], [other]) => byCodePoint(one, other));
  return Object.fromEntries(entries.map(([key, part]) => [key, sorted(part)]));
}

function cellOf(layout: Layout, field: string): string {
  return Object.entries(layout.groups).find(([, members]) => members.includes(field))?.[0] ?? field;
}

function byCell(layout: Layout, fields: Fields): Fields {
  const cells: Fields = {};
  for (const [field, value] of Object.entries(fields)) {
    const cell = cellOf(layout, field);
    cells[cell] = cell in layout.groups ? { ...(cells[cell] as Fields | undefined), [field]: value } : value;
  }
  return cells;
}

/** The value of a cell in flat fields; a group is an object of all its members. */
function cellValue(layout: Layout, fields: Fields, cell: string): Json {
  const members = layout.groups[cell];
  if (members === undefined) return fields[cell] ?? null;
  return Object.fromEntries(members.map((member) => [member, fields[member] ?? null]));
}

function flat(layout: Layout, cell: string, value: Json): Fields {
  if (!(cell in layout.groups)) return { [cell]: value };
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

/** The base of each cell that the edit compares. A delete has read them all, which one number can say. */
function bases(copy: Copy, edits: Mutation[], layout: Layout, op: string, written: string[]): number | { [cell: string]: number } {
  const all = [...Object.keys(layout.fields), ...Object.keys(copy.fields)].map((field) => cellOf(layout, field));
  const read = op === "delete" ? [...all, ...Object.keys(copy.raised)] : written;
  const found = Object.fromEntries([...new Set([...read, ALIVE])].map((cell) => [cell, frozen(copy, edits, cell)]));
  const even = Object.values(found).every((seq) => seq === copy.rev);
  return op === "delete" && even ? copy.rev : found;
}

/** That of the earliest unanswered edit of the cell, else the cell's own. Every edit compares aliveness. */
function frozen(copy: Copy, edits: Mutation[], cell: string): number {
  const first = edits.find((m) => cell === ALIVE || cell in (m.set ?? {}) || cell in (m.do ?? {}));
  if (first === undefined) return copy.blind[cell] ?? base(copy, cell);
  return typeof first.base === "object" ? (first.base[cell] ?? 0) : (first.base ?? 0);
}

function placed(copy: Copy, seq: number, held: boolean): void {
  if (seq >= copy.toldAt) Object.assign(copy, { held, toldAt: seq });
}

/** Whether a create left a record behind: refused cells do not undo one that was granted; a held one is yet to come. */
function stands(verdict: Verdict): boolean {
  const told = Object.values(verdict.cells);
  return told.some((cell) => cell.verdict !== "refused") || (told.length === 0 && !["refused", "held"].includes(verdict.verdict));
}

function overlaid(layout: Layout, fields: Fields, mutation: Mutation): Fields {
  const shown = { ...fields };
  for (const [cell, value] of Object.entries(mutation.set ?? {})) Object.assign(shown, flat(layout, cell, value));
  for (const [field, op] of Object.entries(mutation.do ?? {})) {
    const shape = layout.fields[field];
    if (shape !== undefined) shown[field] = done(shape, shown[field] ?? null, op);
  }
  return shown;
}

/** One that the server will refuse leaves the value as it was. */
function done(shape: Shape, current: Json, op: { [name: string]: Json }): Json {
  try {
    return applied(shape, current, op);
  } catch (error) {
    if (error instanceof BadValue) return current;
    throw error;
  }
}
