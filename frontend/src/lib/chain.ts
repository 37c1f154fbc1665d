/** A chain recomputed by the reader: bytes, hashes, links, and where they were signed (L4, R23). */

import type { Schemas } from "../api/client"
import { type Canonical, type Check, canonical, check, checkSigned, sha256 } from "./integrity"

type Entry = Schemas["EntryRead"]
type Checkpoint = Schemas["CheckpointRead"]

const entryTag = "epsilon-ledger/entry/1\n"
const checkpointTag = "epsilon-ledger/checkpoint/1\n"
const headsTag = "epsilon-ledger/heads/1\n"
const genesis = "0".repeat(64)

export type Head = { seq: number; hash: string }
export type Fault = { seq: number; reason: string }

/**
 * How far somebody has walked along the chain of a budget.
 * next: the number of the entry that has to come now.
 * hash: what it has to name, computed here; null where the walk begins in the middle of the chain,
 * whose first entry is taken without its link.
 * watched: an entry whose hash is to be told once the walk has come by.
 */
export type Walk = {
  budget: string
  next: number
  hash: string | null
  fault: Fault | null
  watched: { seq: number; hash: string | null } | null
}

/** A walk that has not begun. */
export function walkFrom(budget: string, seq: number, watched: number | null = null): Walk {
  return {
    budget,
    next: seq,
    hash: seq === 1 ? genesis : null,
    fault: null,
    watched: watched === null ? null : { seq: watched, hash: null },
  }
}

/** Walk on over the entries that come next; at the first fault it stands still. */
export async function walkOn(walk: Walk, entries: Entry[]): Promise<Walk> {
  if (walk.fault !== null) return walk
  const hashes = await Promise.all(entries.map((entry) => sha256(entryTag + entry.body)))
  const at = { ...walk }
  for (const [index, entry] of entries.entries()) {
    const hash = hashes[index] as string
    const reason = wrongWith(entry, hash, at)
    if (reason !== null) return { ...at, fault: { seq: at.next, reason } }
    if (at.watched?.seq === at.next) at.watched = { seq: at.next, hash }
    at.next += 1
    at.hash = hash
  }
  return at
}

/** The end of a walk: what was asked for has to be there. */
export function walkEnds(walk: Walk, seq: number): Walk {
  if (walk.fault !== null || walk.next > seq) return walk
  return { ...walk, fault: { seq: walk.next, reason: "there is no such entry" } }
}

function wrongWith(entry: Entry, hash: string, { budget, next, hash: prev }: Walk): string | null {
  if (hash !== entry.hash) return "the entry does not match its hash"
  let said: { [key: string]: Canonical }
  try {
    said = JSON.parse(entry.body)
    if (canonical(said) !== entry.body) return "its bytes are not in canonical form"
  } catch {
    return "its bytes are not an entry"
  }
  if (prev !== null && said.prev !== prev) return "it does not follow the entry before it"
  if (said.seq !== next) return "a number is missing or repeated"
  if (said.ledger !== budget) return "it belongs to another budget"
  const differs = shown.find((name) => canonical(said[name] ?? null) !== canonical(of(entry, name)))
  return differs === undefined ? null : `${differs} is not what its bytes say`
}

/** What stands beside the bytes of an entry, and is read off them by the service. */
const shown = ["seq", "kind", "at", "actor", "job", "reservation", "resolves", "parts", "prev"]

const of = (entry: Entry, name: string) => (entry[name] ?? null) as Canonical

/** Where a checkpoint says that a budget stood; null where it did not know of it. */
export function signedHead(checkpoint: Checkpoint, budget: string): Head | null {
  const found = checkpoint.heads.find((head) => head.budget_id === budget)
  return found === undefined ? null : { seq: found.seq, hash: found.hash }
}

/** Whether the heads of a checkpoint are those that its signed text was made of. */
export async function checkHeads({ body, heads }: Checkpoint): Promise<Check> {
  const what = "The signed heads are those that the signed text stands for"
  const root = await sha256(
    headsTag + canonical(heads.map((head) => [head.budget_id, head.seq, head.hash])),
  )
  try {
    const said = JSON.parse(body)
    if (canonical(said) !== body) throw new SyntaxError("not canonical")
    return check(
      what,
      `${heads.length} heads, ${root}`,
      `${said.heads.count} heads, ${said.heads.root}`,
    )
  } catch {
    return { what, holds: false, said: "the text is not a checkpoint in canonical form" }
  }
}

/** Whether a checkpoint is signed with a key, which comes from elsewhere (R23). */
export function checkCheckpoint({ body, signature }: Checkpoint, pem: string): Promise<Check> {
  const by = String(JSON.parse(body).key)
  return checkSigned({ message: checkpointTag + body, signature, by }, pem)
}

/** What a walk is held against: where the chain ends, and the newest checkpoint or why none. */
export type Against = { head: Head; checkpoint: Checkpoint | string }

/** What a walk over the entries from one to another has shown, and what it could not. */
export async function findings(
  walk: Walk,
  first: number,
  last: number,
  { head, checkpoint }: Against,
): Promise<Check[]> {
  const found: Check[] = [
    {
      what: `Bytes, hashes and links of entries ${first} to ${last}`,
      holds: walk.fault === null,
      said: walk.fault === null ? "all recomputed here" : said(walk.fault),
    },
  ]
  const ends = "The last entry is the one that the service names as its head"
  if (last !== head.seq)
    found.push(open(ends, `the chain ends at entry ${head.seq}, which was not asked for`))
  else if (walk.fault !== null) found.push(open(ends, "the check stopped before it"))
  else found.push(check(ends, walk.hash, head.hash))
  const isSigned = "The chain passes through the head that was signed"
  if (typeof checkpoint === "string") return [...found, open(isSigned, checkpoint)]
  const signed = signedHead(checkpoint, walk.budget)
  if (signed === null)
    found.push(open(isSigned, `checkpoint ${checkpoint.seq} is older than this budget`))
  else if (signed.seq < first || signed.seq > last)
    found.push(open(isSigned, `entry ${signed.seq} was signed, which was not asked for`))
  else if (walk.watched?.seq !== signed.seq || walk.watched.hash === null)
    found.push(open(isSigned, "the check stopped before it"))
  else found.push(check(isSigned, at(signed.seq, walk.watched.hash), at(signed.seq, signed.hash)))
  return [...found, await checkHeads(checkpoint)]
}

const said = ({ seq, reason }: Fault) => `entry ${seq} is the first bad one: ${reason}`
const at = (seq: number, hash: string) => `entry ${seq}, ${hash}`
const open = (what: string, why: string): Check => ({ what, holds: null, said: why })
