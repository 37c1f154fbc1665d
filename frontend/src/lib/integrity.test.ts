import { createHash, generateKeyPairSync, sign } from "node:crypto"
import { expect, test } from "vitest"
import { canonical, checkSignature, checks } from "./integrity"

const { privateKey, publicKey } = generateKeyPairSync("ed25519")
const pem = publicKey.export({ type: "spki", format: "pem" }).toString()
const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32)
const hash = (data: string | Buffer) => createHash("sha256").update(data).digest("hex")

function signed() {
  const sections = { title: "A report", criteria: [{ id: "R1", state: "satisfied" }] }
  const evidence = { "b-2": [1, true, null], a: 'ümlaut \u0001 "' }
  const integrity = {
    evidence_sha256: hash(canonical(evidence)),
    content_sha256: hash(canonical(sections)),
    checkpoint: { seq: 3, hash: "0".repeat(64) },
    signature: null as string | null,
    signed_by: hash(raw),
  }
  const report = { ...sections, evidence, integrity }
  const message = `epsilon-ledger/report-signature/1\n${canonical(report)}`
  integrity.signature = sign(null, Buffer.from(message), privateKey).toString("base64")
  return canonical(report)
}

test("keys are sorted, text is escaped as little as it may be", () => {
  expect(canonical({ b: "ü/\n\u0001", a: [1, { d: null, c: false }] })).toBe(
    '{"a":[1,{"c":false,"d":null}],"b":"ü/\\n\\u0001"}',
  )
})

test("an honest report holds in every check and under its key", async () => {
  const text = signed()
  const found = await checks(text, { sha256: hash(text), checkpoint_seq: 3 })
  expect(found.map((each) => each.holds)).toEqual([true, true, true, true])
  expect((await checkSignature(text, pem)).holds).toBe(true)
})

test("one changed letter breaks the bytes, the sections and the signature", async () => {
  const text = signed()
  const edited = text.replace("satisfied", "not_satisfied")
  const found = await checks(edited, { sha256: hash(text), checkpoint_seq: 3 })
  expect(found.map((each) => each.holds)).toEqual([false, false, true, true])
  expect((await checkSignature(edited, pem)).holds).toBe(false)
})

test("another key is named, and what is no key is said to be none", async () => {
  const other = generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" })
  expect((await checkSignature(signed(), other.toString())).said).toContain("signed by")
  expect((await checkSignature(signed(), "no key")).holds).toBeNull()
})
