import { generateKeyPairSync } from "node:crypto"
import { expect, test } from "vitest"
import type { Schemas } from "../api/client"
import {
  checkCheckpoint,
  checkHeads,
  findings,
  signedHead,
  type Walk,
  walkEnds,
  walkFrom,
  walkOn,
} from "./chain"
import vectors from "./chain.vectors.json"

type Entry = Schemas["EntryRead"]
const { budget, checkpoint, public_key } = vectors
const entries = vectors.entries as unknown as Entry[]

const changed = (seq: number, change: (entry: Entry) => Partial<Entry>) =>
  entries.map((entry) => (entry.seq === seq ? ({ ...entry, ...change(entry) } as Entry) : entry))
const walked = (over: Entry[], start = 1) => walkOn(walkFrom(budget, start), over)
const holds = async (walk: Walk, first: number, last: number, seq = 6) => {
  const head = { seq, hash: entries[seq - 1]?.hash ?? "" }
  return (await findings(walk, first, last, { head, checkpoint })).map((each) => each.holds)
}

test("the chain that the service made is recomputed to its last hash", async () => {
  const walk = await walkOn(walkFrom(budget, 1, 5), entries)
  expect(walk.fault).toBeNull()
  expect(walk.hash).toBe(entries[5]?.hash)
  expect(walk.watched).toEqual({ seq: 5, hash: entries[4]?.hash })
  expect(await holds(walk, 1, 6)).toEqual([true, true, true, true])
})

test("a walk in pieces and from the middle comes to the same end", async () => {
  const half = await walkOn(walkFrom(budget, 1), entries.slice(0, 3))
  expect((await walkOn(half, entries.slice(3))).hash).toBe(entries[5]?.hash)
  const middle = await walked(entries.slice(3), 4)
  expect([middle.fault, middle.hash]).toEqual([null, entries[5]?.hash])
})

test.each([
  [
    "a charge in the bytes",
    3,
    (e: Entry) => ({ body: e.body.replace('"units":2', '"units":1') }),
    3,
  ],
  ["another hash", 4, () => ({ hash: "0".repeat(64) }), 4],
  ["a part beside the bytes", 3, () => ({ parts: [] }), 3],
  ["a kind beside the bytes", 2, () => ({ kind: "voided" }), 2],
  ["a time beside the bytes", 1, () => ({ at: "2020-01-01T00:00:00Z" }), 1],
])("%s is the first bad entry", async (_, seq, change, bad) => {
  const walk = await walked(changed(seq, change))
  expect(walk.fault?.seq).toBe(bad)
  expect(await holds(walk, 1, 6)).toEqual([false, null, null, true])
})

test("an entry that is written anew with its hash is found by the one after it", async () => {
  const { createHash } = await import("node:crypto")
  const forged = changed(3, (entry) => {
    const body = entry.body.replace('"units":2', '"units":1')
    const hash = createHash("sha256").update(`epsilon-ledger/entry/1\n${body}`).digest("hex")
    return { body, hash, parts: JSON.parse(body).parts }
  })
  expect((await walked(forged)).fault).toEqual({
    seq: 4,
    reason: "it does not follow the entry before it",
  })
})

test("an entry left out, at the end too, is missed at its place", async () => {
  const without = entries.filter((entry) => entry.seq !== 3)
  expect((await walked(without)).fault?.seq).toBe(3)
  const short = walkEnds(await walked(entries.slice(0, 4)), 6)
  expect(short.fault).toEqual({ seq: 5, reason: "there is no such entry" })
})

test("bytes that are not canonical and a foreign chain are no entries of this one", async () => {
  const { createHash } = await import("node:crypto")
  const spaced = changed(2, (entry) => {
    const body = entry.body.replace('{"actor"', '{ "actor"')
    const hash = createHash("sha256").update(`epsilon-ledger/entry/1\n${body}`).digest("hex")
    return { body, hash }
  })
  expect((await walked(spaced)).fault?.reason).toContain("canonical")
  const foreign = await walkOn(walkFrom("another", 1), entries)
  expect(foreign.fault?.reason).toBe("it belongs to another budget")
})

test("what was not asked for is said to be not checked, never to hold", async () => {
  const first = await walkOn(walkFrom(budget, 1), entries.slice(0, 2))
  expect(await holds(first, 1, 2)).toEqual([true, null, null, true])
  const walk = await walked(entries)
  const head = { seq: 6, hash: entries[5]?.hash ?? "" }
  const none = await findings(walk, 1, 6, { head, checkpoint: "nothing was signed yet" })
  expect(none.map((each) => each.holds)).toEqual([true, true, null])
})

test("a chain that leaves the signed head is told, though it holds in itself", async () => {
  const moved = { ...checkpoint, heads: [...checkpoint.heads] }
  moved.heads[0] = { budget_id: budget, seq: 5, hash: "f".repeat(64) }
  const walk = await walkOn(walkFrom(budget, 1, 5), entries)
  const head = { seq: 6, hash: entries[5]?.hash ?? "" }
  const found = await findings(walk, 1, 6, { head, checkpoint: moved })
  expect(found.map((each) => each.holds)).toEqual([true, true, false, false])
  expect(signedHead(moved, "nowhere")).toBeNull()
})

test("a checkpoint holds under its key alone, and its heads are those of its text", async () => {
  expect((await checkHeads(checkpoint)).holds).toBe(true)
  expect((await checkCheckpoint(checkpoint, public_key)).holds).toBe(true)
  const other = generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" })
  expect((await checkCheckpoint(checkpoint, other.toString())).holds).toBe(false)
  expect((await checkCheckpoint(checkpoint, "no key")).holds).toBeNull()
  const later = { ...checkpoint, body: checkpoint.body.replace('"seq":1', '"seq":2') }
  expect((await checkCheckpoint(later, public_key)).holds).toBe(false)
})
