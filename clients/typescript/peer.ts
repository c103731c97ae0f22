/**
 * Lets another program use this device: `node peer.js FILE URL`, one JSON command on each line, one JSON answer for each.
 *
 * `{"ask": "set", "with": ["work_orders", "…", {"notes": "…"}]}` is answered by `{"told": …}`, or by `{"failed": …}` with
 * the message. A `transaction` takes edits of that form. `again` opens the device anew from its file, as after a kill.
 */

import { createInterface } from "node:readline";
import { Device } from "./device.js";
import type { Fields, Json, Mutation } from "./wire.js";

interface Ask {
  ask: string;
  with?: Json[];
}

function edit(device: Device, { ask, with: given = [] }: Ask): Json {
  const [collection = "", id = ""] = given.map(String);
  switch (ask) {
    case "create":
      return device.create(collection, given[1] as Fields);
    case "set":
      device.set(collection, id, given[2] as Fields);
      return null;
    case "do":
      device.do(collection, id, given[2] as NonNullable<Mutation["do"]>);
      return null;
    case "delete":
      device.delete(collection, id);
      return null;
    default:
      throw new Error(`there is no command ${ask}`);
  }
}

async function answer(device: Device, asked: Ask): Promise<unknown> {
  const given = asked.with ?? [];
  const [first = "", second = ""] = given.map(String);
  switch (asked.ask) {
    case "enrol":
      return await device.enrol(first, second);
    case "sync":
      return await device.sync();
    case "get":
      return device.get(first, second);
    case "list":
      return device.list(first);
    case "unsent":
      return device.unsent;
    case "verdicts":
      return device.verdicts;
    case "setAside":
      return device.setAside;
    case "transaction":
      return device.transaction(() => (given as unknown as Ask[]).forEach((each) => edit(device, each)));
    default:
      return edit(device, asked);
  }
}

async function main(file: string, url: string): Promise<void> {
  let device = new Device(file, url);
  for await (const line of createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line) as Ask;
    let told: object;
    try {
      if (asked.ask === "again") device = new Device(file, url);
      told = { told: (asked.ask === "again" ? null : await answer(device, asked)) ?? null };
    } catch (error) {
      told = { failed: error instanceof Error ? error.message : String(error) };
    }
    process.stdout.write(`${JSON.stringify(told)}\n`);
  }
}

await main(process.argv[2] ?? "device.json", process.argv[3] ?? "");
