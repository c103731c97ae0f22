/**
 * A technician's device: it works without a network, keeps all it knows in one file, and talks to the server in `sync`.
 *
 * Goes by docs/protocol.md. Every step that changes something is kept whole before anything is awaited, so that it
 * may be ended at any moment and goes on from there.
 */

import { randomUUID } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import * as half from "./half.js";
import type { Act, Copy, Layout } from "./half.js";
import { Problem, TOO_SLOW, document, isTooLarge, isTooSlow } from "./problem.js";
import type { Catalogue, Enrolled, Fields, Limits, Mutation, Page, PushAnswer, Verdict } from "./wire.js";

const ATTEMPTS_MAX = 6;
const WAIT_FIRST_MS = 250;
const WAIT_MS_MAX = 30_000;
// The server waits 30 s for a body, and its word that it came too slowly has to arrive.
const ANSWER_MS_MAX = 60_000;
const COMPRESS_BYTES_MIN = 1_400;
const HEAD_BYTES = 8_192;
const RESTARTS_MAX = 3;
const STALLED_MAX = 5;
const NOT_TAKEN = ["refused", "parked", "superseded", "held"];
const PUSH = "/v1/sync/push";
const TRANSIENT = [TOO_SLOW, 425, 429, 500, 502, 503, 504];

interface Answered {
  mutation: Mutation;
  verdict: Verdict;
}

/** What a former replica leaves to the person: not (all) taken, or without a verdict perhaps never arrived. */
export interface SetAside {
  mutation: Mutation;
  verdict: Verdict | null;
}

/** All that must survive the end of the process. */
interface Kept {
  enrolled: Enrolled | null;
  catalogue: Catalogue | null;
  cursor: string | null;
  sweeping: boolean;
  lastN: number;
  /** The highest number that may have left the device. */
  sent: number;
  outbox: Mutation[];
  answered: Answered[];
  setAside: SetAside[];
  /** Numbers of mutations that no push can carry: something short is sent in place of each. */
  withheld: number[];
  copies: { [key: string]: Copy };
}

const FRESH: Kept = {
  enrolled: null, catalogue: null, cursor: null, sweeping: false, lastN: 0, sent: 0, outbox: [], answered: [],
  setAside: [], withheld: [], copies: {},
};

export class Device {
  private kept: Kept;
  private tx: string | undefined;
  /** How many mutations the next push has at most, because more of them did not get through. */
  private most = Infinity;

  constructor(
    private readonly file: string,
    private readonly url: string,
    private readonly ask: typeof fetch = fetch,
  ) {
    this.kept = existsSync(file) ? { ...FRESH, ...(JSON.parse(readFileSync(file, "utf8")) as Kept) } : structuredClone(FRESH);
  }

  // What the person does and sees.

  create(collection: string, fields: Fields, id: string = randomUUID()): string {
    this.act(collection, id, { op: "create", set: fields });
    return id;
  }

  set(collection: string, id: string, fields: Fields): void {
    this.act(collection, id, { set: fields });
  }

  do(collection: string, id: string, operations: NonNullable<Mutation["do"]>): void {
    this.act(collection, id, { do: operations });
  }

  delete(collection: string, id: string): void {
    this.act(collection, id, { op: "delete" });
  }

  /** All edits made inside become one tx, or none of them is made if one throws. */
  transaction(edits: () => void): void {
    const before = structuredClone(this.kept);
    this.tx = randomUUID();
    try {
      edits();
      const most = this.kept.enrolled?.limits.tx ?? Infinity;
      if (this.kept.lastN - before.lastN > most) throw new Error(`a transaction has ${most} edits at most`);
    } catch (error) {
      this.kept = before;
      throw error;
    } finally {
      this.tx = undefined;
      this.save();
    }
  }

  get(collection: string, id: string): Fields | null {
    return half.view(this.copy(collection, id), this.edits(collection, id), this.layout(collection));
  }

  list(collection: string): { [id: string]: Fields } {
    const ids = [...Object.values(this.kept.copies), ...this.kept.outbox].filter((each) => each.collection === collection);
    const shown = ids.map(({ id }): [string, Fields | null] => [id, this.get(collection, id)]);
    return Object.fromEntries(shown.filter((each): each is [string, Fields] => each[1] !== null));
  }

  get unsent(): readonly Mutation[] {
    return this.kept.outbox;
  }

  get verdicts(): readonly Verdict[] {
    return this.kept.answered.map(({ verdict }) => verdict);
  }

  get setAside(): readonly SetAside[] {
    return this.kept.setAside;
  }

  // With the server.

  /** Become a replica. It is another one each time: what never arrived is numbered anew, and nothing is sent twice. */
  async enrol(code: string, name: string): Promise<void> {
    const unsure = await this.learnSettled();
    const enrolled = (await this.once("POST", "/v1/devices/enrol", { code, name, platform: "node" })) as Enrolled;
    const aside: SetAside[] = this.kept.answered.filter(({ verdict }) => NOT_TAKEN.includes(verdict.verdict));
    aside.push(...this.kept.outbox.filter(({ n }) => n <= unsure).map((mutation) => ({ mutation, verdict: null })));
    const outbox = this.kept.outbox.filter(({ n }) => n > unsure).map((each, place) => ({ ...each, n: place + 1 }));
    const setAside = [...this.kept.setAside, ...aside];
    Object.assign(this.kept, { enrolled, outbox, lastN: outbox.length, sent: 0, answered: [], setAside, withheld: [] });
    this.readAnew();
    this.save();
  }

  /** Learn what became of the unsent under the old numbers, and return up to which one that remains unknown. */
  private async learnSettled(): Promise<number> {
    if (this.kept.enrolled === null || this.kept.outbox.length === 0) return 0;
    for (let restarts = 0; restarts < RESTARTS_MAX; restarts += 1) {
      try {
        await this.takeSettled();
        return 0;
      } catch (error) {
        if (!(error instanceof Problem) || TRANSIENT.includes(error.status)) throw error;
        // The old replica is heard no more: what was sent under its numbers stays unknown.
        if (error.code !== "epoch_changed" && error.code !== "bad_cursor") return this.kept.sent;
        await this.beginAgain(error);
      }
    }
    return this.kept.sent;
  }

  /** A push was settled from its beginning: behind the first number that stands for another mutation, none arrived. */
  private async takeSettled(): Promise<void> {
    const told = await this.push([]);
    const { applied } = told;
    for (let most = applied; most > 0; ) {
      const batch = this.parcel(this.enrolled().limits).slice(0, most).filter(({ n }) => n <= applied);
      if (batch.length === 0) return;
      try {
        this.takeVerdicts(await this.push(batch));
        if (this.kept.outbox[0]?.n === batch[0]?.n) throw new Error(`mutation ${batch[0]?.n} gets no verdict`);
      } catch (error) {
        const forked = error instanceof Problem && error.code === "replica_forked";
        if (!forked && !isTooLarge(error) && !isTooSlow(error)) throw error;
        if (batch.length === 1 && isTooSlow(error)) throw error;
        if (batch.length === 1 && isTooLarge(error)) this.expire(batch, told);
        // Of what was settled each part has its verdict, so that a tx may be asked about in parts.
        most = Math.max(Math.floor(batch.length / 2), forked ? 0 : 1);
      }
    }
  }

  /** Push until nothing is unsent, then pull until nothing is new. Who begins anew pulls first, to the end. */
  async sync(): Promise<void> {
    for (let restarts = 0; restarts < RESTARTS_MAX; restarts += 1) {
      try {
        // What was made by an older catalogue is sent under its number, before a newer one is taken.
        if (this.kept.catalogue === null) await this.learnCatalogue();
        if (this.kept.sweeping) await this.pullAll();
        await this.pushAll();
        await this.learnCatalogue();
        return await this.pullAll();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        await this.beginAgain(error);
      }
    }
    throw new Error(`the server had the device begin again ${RESTARTS_MAX} times in a row`);
  }

  private async beginAgain(error: Problem): Promise<void> {
    if (error.code === "epoch_changed") await this.restart(error);
    else if (error.code === "bad_cursor") this.readAnew();
    else throw error;
    this.save();
  }

  private async pushAll(): Promise<void> {
    for (let stalled = 0; this.kept.outbox.length > 0; ) {
      const first = this.kept.outbox[0]?.n;
      const batch = this.parcel(this.enrolled().limits);
      let told: PushAnswer;
      try {
        told = await this.push(batch);
      } catch (error) {
        await this.sendLess(batch, error);
        continue;
      }
      this.most = batch.length < this.most ? Infinity : 2 * this.most;
      this.takeVerdicts(told);
      stalled = this.kept.outbox[0]?.n === first ? stalled + 1 : 0;
      if (stalled === STALLED_MAX) throw new Error(`mutation ${first} gets no verdict`);
      await pause(told.retry_after_ms ?? 0);
    }
  }

  /** Halve the next push. What is too large alone is given up, so that it blocks nothing behind it. */
  private async sendLess(batch: Mutation[], error: unknown): Promise<void> {
    const tooLarge = isTooLarge(error);
    if (!tooLarge && !isTooSlow(error)) throw error;
    const first = batch[0];
    if (first === undefined) throw error;
    if (batch.some(({ tx }) => tx === undefined || tx !== first.tx) && batch.length > 1) {
      this.most = Math.floor(batch.length / 2);
    } else if (tooLarge && !this.kept.withheld.includes(first.n)) await this.withhold(batch, first.n);
    else throw error;
  }

  /** What was settled before has its verdict, which is told to nobody who cannot send the mutation again. */
  private async withhold(batch: Mutation[], first: number): Promise<void> {
    const told = await this.push([]);
    if (told.applied < first) this.kept.withheld.push(...batch.map(({ n }) => n));
    else {
      this.expire(batch, told);
      this.readAnew();
    }
    this.save();
  }

  private expire(batch: Mutation[], told: PushAnswer): void {
    const { schema } = this.enrolled();
    const verdicts = batch.map(({ n, collection, id }) => (
      { n, verdict: "refused", schema, collection, id, rev: 0, cells: {}, code: "verdict_expired" }));
    this.takeVerdicts({ ...told, verdicts });
  }

  private async push(mutations: Mutation[]): Promise<PushAnswer> {
    const clock = {
      wall_ms: Date.now(),
      mono_ms: Math.floor(performance.now()),
      zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    };
    const head = { epoch: this.enrolled().epoch, schema: this.kept.catalogue?.version ?? 0, verdicts_seen: this.seen() };
    const body = { ...head, clock, ...(this.kept.cursor === null ? {} : { cursor: this.kept.cursor }), mutations: mutations.map(this.asSent) };
    const last = mutations.at(-1)?.n ?? 0;
    if (last > this.kept.sent) {
      this.kept.sent = last;
      this.save();
    }
    return (await this.patiently("POST", PUSH, body)) as PushAnswer;
  }

  private asSent = (mutation: Mutation): object => {
    const { n, tx, collection, id } = mutation;
    if (!this.kept.withheld.includes(n)) return mutation;
    return { n, collection, id, ...(tx === undefined ? {} : { tx }), withheld: true };
  };

  private takeVerdicts(told: PushAnswer): void {
    for (const verdict of told.verdicts) {
      const place = this.kept.outbox.findIndex(({ n }) => n === verdict.n);
      const [mutation] = place < 0 ? [] : this.kept.outbox.splice(place, 1);
      if (mutation === undefined) continue;
      this.kept.answered.push({ mutation, verdict });
      half.settle(this.copy(mutation.collection, mutation.id, true), this.layout(mutation.collection), mutation, verdict);
    }
    if (told.expected !== undefined && told.expected <= this.seen()) this.recall(told.expected - 1);
    const schema = Math.max(this.enrolled().schema, ...told.verdicts.map((verdict) => verdict.schema));
    Object.assign(this.enrolled(), { limits: told.limits, schema });
    this.forget(told.durable);
    this.save();
  }

  private async pullAll(): Promise<void> {
    for (let more = true; more; ) {
      const asked = this.kept.cursor === null ? {} : { cursor: this.kept.cursor };
      const page = (await this.patiently("POST", "/v1/sync/pull", asked)) as Page;
      this.takePage(page);
      more = page.more;
      await pause(more ? (page.retry_after_ms ?? 0) : 0);
    }
  }

  private takePage(page: Page): void {
    for (const { seq, changes } of page.commits) {
      for (const change of changes) {
        const copy = this.copy(change.collection, change.id, true);
        if (change.op === "put" || change.op === "enter") {
          half.put(copy, this.layout(change.collection), change.rev, change.fields ?? {}, seq);
        } else if (change.op === "delete") half.remove(copy, change.rev, seq);
        else if (change.op === "leave") half.leave(copy, seq);
        else throw new Error(`a change with op ${change.op}`);
      }
    }
    this.kept.cursor = page.cursor;
    this.forget(page.durable);
    if (!page.more) this.sweep();
    this.save();
  }

  /** After the last page nothing older can come: what was doubted has left, and what is gone is forgotten. */
  private sweep(): void {
    for (const [key, copy] of Object.entries(this.kept.copies)) {
      if (this.kept.sweeping && copy.doubted) half.leave(copy, copy.toldAt);
      copy.doubted = false;
      if (!(copy.held && copy.alive) && this.edits(copy.collection, copy.id).length === 0) delete this.kept.copies[key];
    }
    this.kept.sweeping = false;
  }

  private readAnew(): void {
    Object.assign(this.kept, { cursor: null, sweeping: true });
    for (const copy of Object.values(this.kept.copies)) copy.doubted = true;
  }

  /** The server was restored to an older time: what it does not know any more is unsent again. */
  private async restart(problem: Problem): Promise<void> {
    // A refused pull tells the epoch alone; a push is told all.
    const told = "applied" in problem.told ? problem : await this.push([]).then(() => problem, (error: Problem) => error);
    const position = Number(told.told.position);
    this.recall(Number(told.told.applied));
    this.kept.outbox = this.kept.outbox.map((mutation) => half.rebased(mutation, position));
    for (const copy of Object.values(this.kept.copies)) half.restart(copy, position);
    this.readAnew();
    this.enrolled().epoch = String(told.told.epoch);
  }

  private recall(above: number): void {
    const lost = this.kept.answered.filter(({ mutation }) => mutation.n > above);
    this.kept.answered = this.kept.answered.filter(({ mutation }) => mutation.n <= above);
    this.kept.outbox = [...lost.map(({ mutation }) => mutation), ...this.kept.outbox].sort((one, other) => one.n - other.n);
  }

  private forget(durable: number): void {
    this.kept.answered = this.kept.answered.filter(({ mutation }) => mutation.n > durable);
    this.kept.withheld = this.kept.withheld.filter((n) => n > durable);
  }

  private async learnCatalogue(): Promise<void> {
    if (this.kept.catalogue?.version === this.enrolled().schema) return;
    this.kept.catalogue = (await this.patiently("GET", "/v1/catalog")) as Catalogue;
    this.enrolled().schema = this.kept.catalogue.version;
    this.save();
  }

  // What the steps share.

  private act(collection: string, id: string, act: Act): void {
    const [copy, edits, layout] = [this.copy(collection, id), this.edits(collection, id), this.layout(collection)];
    if (act.op !== "create" && half.view(copy, edits, layout) === null) throw new Error(`${collection} ${id} is not here`);
    const asked = { ...act, at: Date.now(), ...(this.tx === undefined ? {} : { tx: this.tx }) };
    this.kept.lastN += 1;
    this.kept.outbox.push(half.edit(copy, edits, layout, asked, this.kept.lastN));
    if (this.tx === undefined) this.save();
  }

  /** The next push: as much as the server takes, and never a part of a tx. */
  private parcel({ mutations, bytes }: Limits): Mutation[] {
    const taken: Mutation[] = [];
    let room = bytes - HEAD_BYTES;
    for (let run = this.run(0); run.length > 0; run = this.run(taken.length)) {
      room -= Buffer.byteLength(JSON.stringify(run));
      if (taken.length > 0 && (room < 0 || taken.length + run.length > Math.min(mutations, this.most))) break;
      taken.push(...run);
    }
    return taken;
  }

  private run(start: number): Mutation[] {
    const tx = this.kept.outbox[start]?.tx;
    let end = start + 1;
    while (tx !== undefined && this.kept.outbox[end]?.tx === tx) end += 1;
    return this.kept.outbox.slice(start, end);
  }

  /** The number up to which every mutation has its verdict here. */
  private seen(): number {
    return (this.kept.outbox[0]?.n ?? this.kept.lastN + 1) - 1;
  }

  private copy(collection: string, id: string, keep = false): Copy {
    const key = `${collection}/${id}`;
    const found = this.kept.copies[key] ?? half.unknown(collection, id);
    if (keep) this.kept.copies[key] = found;
    return found;
  }

  private edits(collection: string, id: string): Mutation[] {
    return this.kept.outbox.filter((each) => each.collection === collection && each.id === id);
  }

  private layout(collection: string): Layout {
    return half.layoutOf(this.kept.catalogue, collection);
  }

  private enrolled(): Enrolled {
    if (this.kept.enrolled === null) throw new Error("enrol this device with a code from the office first");
    return this.kept.enrolled;
  }

  /** A number that was sent and then forgotten in a power cut would be given twice. */
  private save(): void {
    const file = openSync(`${this.file}.new`, "w");
    writeFileSync(file, JSON.stringify(this.kept));
    fsyncSync(file);
    closeSync(file);
    renameSync(`${this.file}.new`, this.file);
  }

  /** Repeat what the network or the moment kept from being answered; renew the token once. */
  private async patiently(method: string, path: string, body?: object): Promise<unknown> {
    for (let [attempt, renewed] = [1, false]; ; attempt += 1) {
      try {
        return await this.once(method, path, body, this.enrolled().token);
      } catch (error) {
        if (error instanceof Problem && error.status === 401 && !renewed) {
          renewed = true;
          await this.renew();
        } else if (attempt === ATTEMPTS_MAX || (path === PUSH && isTooSlow(error)) || (error instanceof Problem && !TRANSIENT.includes(error.status))) {
          throw error;
        } else {
          const told = error instanceof Problem ? Number(error.told.retry_after_ms ?? 0) : 0;
          const grown = Math.min(WAIT_FIRST_MS * 2 ** attempt, WAIT_MS_MAX);
          await pause(told + (told > 0 ? WAIT_FIRST_MS : grown) * Math.random());
        }
      }
    }
  }

  private async renew(): Promise<void> {
    const { refresh } = this.enrolled();
    const told = (await this.once("POST", "/v1/devices/refresh", { refresh })) as { token: string; refresh: string };
    Object.assign(this.enrolled(), { token: told.token, refresh: told.refresh });
    this.save();
  }

  private async once(method: string, path: string, body?: object, token?: string): Promise<unknown> {
    const headers: { [name: string]: string } = { accept: "application/json" };
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    const given: RequestInit = { method, headers, signal: AbortSignal.timeout(ANSWER_MS_MAX) };
    if (body !== undefined) {
      headers["content-type"] = "application/json";
      const text = Buffer.from(JSON.stringify(body));
      if (text.length >= COMPRESS_BYTES_MIN) headers["content-encoding"] = "gzip";
      given.body = text.length >= COMPRESS_BYTES_MIN ? gzipSync(text) : text;
    }
    const answer = await this.ask(this.url + path, given);
    const text = await answer.text();
    if (answer.ok) return JSON.parse(text);
    throw new Problem(answer.status, ...document(text));
  }
}

function pause(ms: number): Promise<void> {
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve();
}
