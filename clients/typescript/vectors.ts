/** Holds this device to the test vectors: `node vectors.js FOLDER`. Ends with 1 and says which cases it fails. */

import { deepStrictEqual, throws } from "node:assert";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as half from "./half.js";
import { applied, BadValue, canonical } from "./values.js";
import type { Fields, Json, Mutation, Shape, Verdict } from "./wire.js";

type Case = { name: string; wide?: boolean; keeps_contexts?: boolean; error?: string };
type Valued = Case & { shape: Shape; input: Json; canonical: Json };
type Compared = Case & { shape: Shape; one: Json; other: Json; same: boolean };
type Operated = Case & { shape: Shape; current: Json; do: { [op: string]: Json }; value: Json };
type Known = Case & { mutation: Mutation; hashed: string; sha256: string };
type Step =
  | { edit: half.Act; n: number; sends: Mutation }
  | { put: { rev: number; fields: Fields; seq: number } }
  | { delete: { rev: number; seq: number } }
  | { leave: { seq: number } }
  | { verdict: Verdict }
  | { restart: number }
  | { resends: Mutation[] }
  | { shows: Fields | null }
  | { bases: { [cell: string]: number } };
type Life = Case & { layout: string; record: string; steps: Step[] };

function read(folder: string, file: string): { [group: string]: unknown } {
  return JSON.parse(readFileSync(join(folder, `${file}.json`), "utf8")) as { [group: string]: unknown };
}

/** What is absent and what is empty say the same. */
function whole(mutation: Mutation): Mutation {
  return { tx: "", base: 0, rev: 0, set: {}, do: {}, was: {}, closes: {}, by: "", at: -1, ...mutation };
}

function live(life: Life, layout: half.Layout): void {
  const [collection = "", id = ""] = life.record.split("/");
  const copy = half.unknown(collection, id);
  let edits: Mutation[] = [];
  for (const step of life.steps) {
    if ("edit" in step) {
      const made = half.edit(copy, edits, layout, step.edit, step.n);
      edits.push(made);
      deepStrictEqual(whole(made), whole(step.sends));
    } else if ("verdict" in step) {
      const mutation = edits.find(({ n }) => n === step.verdict.n);
      edits = edits.filter(({ n }) => n !== step.verdict.n);
      if (mutation !== undefined) half.settle(copy, layout, mutation, step.verdict);
    } else if ("put" in step) half.put(copy, layout, step.put.rev, step.put.fields, step.put.seq);
    else if ("delete" in step) half.remove(copy, step.delete.rev, step.delete.seq);
    else if ("leave" in step) half.leave(copy, step.leave.seq);
    else if ("restart" in step) {
      edits = edits.map((mutation) => half.rebased(mutation, step.restart));
      half.restart(copy, step.restart);
    } else if ("resends" in step) deepStrictEqual(edits.map(whole), step.resends.map(whole));
    else if ("shows" in step) deepStrictEqual(half.view(copy, edits, layout), step.shows);
    else {
      const cells = Object.keys(step.bases);
      deepStrictEqual(Object.fromEntries(cells.map((cell) => [cell, half.base(copy, cell)])), step.bases);
    }
  }
}

function checks(folder: string): [Case, () => void][] {
  const [operations, lives] = [read(folder, "operations"), read(folder, "device")];
  const layouts = lives.layouts as { [name: string]: half.Layout };
  const refusing = (each: Case, makes: () => Json, expected: Json) => (): void => {
    if (each.error === undefined) deepStrictEqual(makes(), expected);
    else throws(makes, BadValue);
  };
  return [
    ...(read(folder, "values").cases as Valued[]).map((each): [Case, () => void] => [
      each,
      refusing(each, () => canonical(each.shape, each.input), each.canonical),
    ]),
    ...(operations.same as Compared[]).map((each): [Case, () => void] => [
      each,
      (): void => {
        const [one, other] = [canonical(each.shape, each.one), canonical(each.shape, each.other)];
        (each.same ? deepStrictEqual : differ)(one, other);
      },
    ]),
    ...(operations.operations as Operated[]).map((each): [Case, () => void] => [
      each,
      refusing(each, () => applied(each.shape, each.current, each.do), each.value),
    ]),
    ...(read(folder, "mutations").cases as Known[]).map((each): [Case, () => void] => [
      each,
      (): void => deepStrictEqual([half.asked(each.mutation), half.hash(each.mutation)], [each.hashed, each.sha256]),
    ]),
    ...(lives.cases as Life[]).map((each): [Case, () => void] => [
      each,
      (): void => live(each, layouts[each.layout] ?? { fields: {}, groups: {} }),
    ]),
  ];
}

function differ(one: Json, other: Json): void {
  throws(() => deepStrictEqual(one, other));
}

function main(folder: string): number {
  // Numbers of 64 bits are more than this language's JSON can read, and contexts are more than this device keeps.
  const due = checks(folder).filter(([each]) => each.wide !== true && each.keeps_contexts !== true);
  const failed = due.filter(([each, check]) => {
    try {
      check();
      return false;
    } catch (error) {
      process.stderr.write(`${each.name}: ${String(error)}\n`);
      return true;
    }
  });
  process.stdout.write(`${due.length - failed.length} of ${due.length} cases\n`);
  return failed.length === 0 && due.length > 0 ? 0 : 1;
}

process.exitCode = main(process.argv[2] ?? ".");
