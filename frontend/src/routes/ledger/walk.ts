import { ProblemError } from "../../api/client"
import { readCheckpoint, readEntries } from "../../api/ledger"
import { type Against, signedHead, type Walk, walkEnds, walkFrom, walkOn } from "../../lib/chain"

const entriesAtOnce = 200
const waitMs = 1000

/** The newest checkpoint, or in words why there is none to hold a chain against. */
export async function readAgainst(signal: AbortSignal): Promise<Against["checkpoint"]> {
  try {
    return await readCheckpoint(signal)
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error
    if (error.type === "not-found") return "nothing was signed yet"
    if (error.type === "not-allowed") return "signed heads are shown to officers and auditors"
    throw error
  }
}

/** Recompute a chain from one entry to another; the one before them gives the first link. */
export async function walkChain(
  budget_id: string,
  first: number,
  last: number,
  checkpoint: Against["checkpoint"],
  onStep: (walk: Walk) => void,
  signal: AbortSignal,
): Promise<Walk> {
  const head = typeof checkpoint === "string" ? null : signedHead(checkpoint, budget_id)
  const start = Math.max(1, first - 1)
  let walk = walkFrom(budget_id, start, head?.seq)
  let waiting = read(budget_id, start, last, signal)
  for (let from = start; from <= last && walk.fault === null; from += entriesAtOnce) {
    const entries = await waiting
    const next = from + entriesAtOnce
    // the next ones are on their way while these are hashed
    if (next <= last) waiting = read(budget_id, next, last, signal)
    walk = await walkOn(walk, entries)
    if (walk.next <= Math.min(next - 1, last)) walk = walkEnds(walk, last)
    onStep(walk)
  }
  waiting.catch(() => undefined)
  return walk
}

async function read(budget_id: string, from_seq: number, last: number, signal: AbortSignal) {
  const to_seq = Math.min(from_seq + entriesAtOnce - 1, last)
  for (;;) {
    try {
      const query = { from_seq, to_seq, limit: entriesAtOnce }
      return (await readEntries(budget_id, query, signal)).items
    } catch (error) {
      if (!(error instanceof ProblemError) || error.status !== 429) throw error
      await new Promise((resume) => setTimeout(resume, waitMs))
      signal.throwIfAborted()
    }
  }
}
