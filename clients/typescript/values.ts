/** Canonical values by kind, and the operations on them. A value that has no canonical form throws `BadValue`. */

import type { Json, Shape } from "./wire.js";

export class BadValue extends Error {}

export type Op = { [name: string]: Json };

const SPACE = "\\u0009-\\u000d\\u001c-\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const ENDS = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "g");
const UNSTORABLE = /\0|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;
const INSTANT =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?[ \t\n\r\f\v]?(?:[Zz]|([+-])(\d\d)(?::?(\d\d))?)$/;
const DATE = /^(\d{4})-(\d\d)-(\d\d)$/;
const ZONE = /^(?=.{1,64}$)[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9][A-Za-z0-9_+-]*){0,2}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const DECIMAL = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/;
const LIMITS: { [kind: string]: number } = { text: 20_000, set: 200, json: 65_536 };
const OPS: { [kind: string]: string[] } = {
  text: ["append"],
  integer: ["inc"],
  decimal: ["inc"],
  set: ["add", "remove"],
};
const DIGITS_MAX = 38;
const DAY_MINUTES = 1440;

export function canonical(shape: Shape, value: Json): Json {
  if (value === null) return null;
  switch (shape.kind) {
    case "text":
      return limited(shape, shape.keeps_space ? clean(value) : trimmed(clean(value)));
    case "choice":
      return oneOf(shape, trimmed(clean(value)));
    case "integer":
      return whole(value);
    case "decimal":
      return written(decimal(value));
    case "boolean":
      return typeof value === "boolean" ? value : fail("must be true or false");
    case "instant":
      return instant(trimmed(clean(value)));
    case "date":
      return day(trimmed(clean(value)));
    case "zone":
      return matching(ZONE, trimmed(clean(value)));
    case "reference":
    case "person":
      return matching(UUID, trimmed(clean(value)).toLowerCase());
    case "set":
      return members(shape, value);
    case "json":
      return tree(shape, value);
    default:
      return fail(`there is no kind ${shape.kind}`);
  }
}

/** The value after an operation, in canonical form. */
export function applied(shape: Shape, current: Json, op: Op): Json {
  const names = Object.keys(op);
  if (names.length === 0 || !names.every((name) => OPS[shape.kind]?.includes(name))) {
    return fail(`a field of kind ${shape.kind} has no such operation`);
  }
  const before = canonical(shape, current);
  if (shape.kind === "text") return canonical(shape, String(before ?? "") + limited(shape, clean(op.append ?? null)));
  if (shape.kind === "integer") return whole(Number(before ?? 0) + Number(whole(op.inc ?? null)));
  if (shape.kind === "decimal") return written(sum(decimal(before ?? 0), decimal(op.inc ?? null)));
  const [add, remove] = [members(shape, op.add ?? []), members(shape, op.remove ?? [])];
  if (add.some((member) => remove.includes(member))) fail("adds and removes the same member");
  const all = [...(Array.isArray(before) ? before : []), ...add];
  return members(shape, all.filter((member) => !remove.includes(String(member))));
}

/** Order by code point, which is not the order of UTF-16 units. */
export function byCodePoint(one: string, other: string): number {
  const [left, right] = [Array.from(one), Array.from(other)];
  const place = left.findIndex((character, i) => character !== right[i]);
  if (place < 0) return left.length - right.length;
  return (left[place]?.codePointAt(0) ?? -1) - (right[place]?.codePointAt(0) ?? -1);
}

function fail(why: string): never {
  throw new BadValue(why);
}

function clean(value: Json): string {
  if (typeof value !== "string" || UNSTORABLE.test(value)) return fail("must be text that a store can keep");
  return value.normalize("NFC");
}

function trimmed(text: string): string {
  return text.replace(ENDS, "");
}

function matching(pattern: RegExp, text: string): string {
  return pattern.test(text) ? text : fail(`${text} is not of the form that is needed`);
}

function limited(shape: Shape, text: string): string {
  return Array.from(text).length <= sizeMax(shape) ? text : fail("is too long");
}

function sizeMax(shape: Shape): number {
  return shape.limit || (LIMITS[shape.kind] ?? 0);
}

function oneOf(shape: Shape, text: string): string {
  return shape.choices?.includes(text) ? text : fail(`must be one of ${shape.choices?.join(", ")}`);
}

function whole(value: Json): number {
  return Number.isSafeInteger(value) ? Number(value) : fail("must be a whole number");
}

/** A decimal is `digits` times ten to the power of minus `places`. */
type Decimal = { digits: bigint; places: number };

function decimal(value: Json): Decimal {
  if (typeof value !== "string" && typeof value !== "number") return fail("must be a decimal number");
  const text = trimmed(String(value));
  const [, sign, front = "", back = "", power] = (text.length <= 100 && DECIMAL.exec(text)) || fail("is no decimal");
  if (front + back === "") fail("has no digits");
  const places = back.length - Number(power ?? 0);
  const digits = BigInt(front + back) * (sign === "-" ? -1n : 1n);
  return places >= 0 ? { digits, places } : { digits: digits * 10n ** BigInt(-places), places: 0 };
}

function sum(one: Decimal, other: Decimal): Decimal {
  const places = Math.max(one.places, other.places);
  const grown = (each: Decimal): bigint => each.digits * 10n ** BigInt(places - each.places);
  return { digits: grown(one) + grown(other), places };
}

function written({ digits, places }: Decimal): string {
  const figures = (digits < 0n ? -digits : digits).toString().padStart(places + 1, "0");
  const front = figures.slice(0, figures.length - places);
  const back = figures.slice(figures.length - places).replace(/0+$/, "");
  const significant = (front + back).replace(/^0+/, "").length;
  // Neither more digits than fit, nor a first digit further behind the point than they reach.
  if (significant > DIGITS_MAX || (digits !== 0n && back.search(/[1-9]/) >= DIGITS_MAX && /^0*$/.test(front))) {
    fail("has too many digits");
  }
  return (digits < 0n ? "-" : "") + front + (back && `.${back}`);
}

function day(text: string): string {
  const [, year, month, date] = DATE.exec(text) ?? fail("must be a date");
  calendar(Number(year), Number(month), Number(date));
  return text;
}

function calendar(year: number, month: number, date: number): Date {
  const found = new Date(0);
  found.setUTCFullYear(year, month - 1, date);
  const same = found.getUTCMonth() === month - 1 && found.getUTCDate() === date;
  return year >= 1 && same ? found : fail("is no date of the calendar");
}

function instant(text: string): string {
  const [, year, month, date, hour, minute, second = "0", fraction = "", sign, hours = "0", minutes = "0"] =
    INSTANT.exec(text) ?? fail("must be an instant with an offset");
  const start = calendar(Number(year), Number(month), Number(date)).getTime();
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59 || Number(minutes) > 59) fail("is no time of day");
  const offset = (Number(hours) * 60 + Number(minutes)) * (sign === "-" ? -1 : 1);
  if (Math.abs(offset) >= DAY_MINUTES) fail("has an offset of a day or more");
  const millis = Number(fraction.slice(0, 3).padEnd(3, "0"));
  const moment = new Date(start + ((Number(hour) * 60 + Number(minute) - offset) * 60 + Number(second)) * 1000 + millis);
  const within = moment.getUTCFullYear() >= 1 && moment.getUTCFullYear() <= 9999;
  return within ? moment.toISOString() : fail("is outside of the calendar");
}

function members(shape: Shape, value: Json): string[] {
  if (!Array.isArray(value)) return fail("must be a list");
  const found = [...new Set(value.map((member) => oneMember(shape, member)))].sort(byCodePoint);
  return found.length <= sizeMax(shape) ? found : fail("has too many members");
}

function oneMember(shape: Shape, member: Json): string {
  const text = trimmed(clean(member));
  if (shape.of === "person") return matching(UUID, text.toLowerCase());
  if (shape.choices?.length) return oneOf(shape, text);
  return text !== "" && Array.from(text).length <= 200 ? text : fail("a member has 1 to 200 characters");
}

function tree(shape: Shape, value: Json): Json {
  storable(value, 32);
  return Buffer.byteLength(JSON.stringify(value)) <= sizeMax(shape) ? value : fail("is too large");
}

function storable(value: Json, depth: number): void {
  if (depth === 0) fail("is nested too deeply");
  if (typeof value === "string" && UNSTORABLE.test(value)) fail("holds what no store can keep");
  if (typeof value === "number" && !(value >= -(2 ** 63) && value <= 2 ** 63)) fail("holds a number beyond 64 bits");
  if (typeof value === "object" && value !== null) {
    for (const [key, part] of Object.entries(value)) {
      if (!Array.isArray(value)) storable(key, depth);
      storable(part, depth - 1);
    }
  }
}
