/** What the server, or a proxy before it, has against a request. */

export const TOO_SLOW = 408;
const TOO_LARGE = 413;

/** The server answered with a problem document. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly told: { [member: string]: unknown },
  ) {
    super(`${status} ${code}: ${String(told.detail ?? "")}`);
  }
}

/** A proxy says so too, in no words of the protocol. */
export function isTooLarge(error: unknown): boolean {
  return error instanceof Problem && error.status === TOO_LARGE;
}

/** The server says so, or the own time ran out while the body was on its way. */
export function isTooSlow(error: unknown): boolean {
  return error instanceof Problem ? error.status === TOO_SLOW : error instanceof Error && error.name === "TimeoutError";
}

/** A proxy in between may have answered with anything. */
export function document(text: string): [string, { [member: string]: unknown }] {
  try {
    const told = JSON.parse(text) as { [member: string]: unknown };
    return [String(told.code ?? ""), told];
  } catch {
    return ["", {}];
  }
}
