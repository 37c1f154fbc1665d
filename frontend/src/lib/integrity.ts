/** What a reader can check of a report by himself: its bytes, its parts, its signature. */

export type Canonical =
  | string
  | number
  | boolean
  | null
  | Canonical[]
  | { [key: string]: Canonical }

const signatureTag = "epsilon-ledger/report-signature/1\n"
const outsideContent = ["evidence", "integrity"]

/** RFC 8785 of what reports are made of: no number but a whole one, keys of ASCII. */
export function canonical(value: Canonical): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`
  if (typeof value === "object" && value !== null) {
    const parts = Object.keys(value)
      .sort()
      .map((key) => `${JSON.stringify(key)}:${canonical(value[key] as Canonical)}`)
    return `{${parts.join(",")}}`
  }
  return JSON.stringify(value)
}

/** The SHA-256 of bytes, or of a text in UTF-8. */
export async function sha256(of: BufferSource | string): Promise<string> {
  const bytes = typeof of === "string" ? new TextEncoder().encode(of) : of
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")
}

export type Check = { what: string; holds: boolean | null; said: string }
type Recorded = { sha256: string | null; checkpoint_seq: number }

/** Compare the text of a report with what it and the service say of it. */
export async function checks(text: string, recorded: Recorded): Promise<Check[]> {
  const report = JSON.parse(text)
  const { integrity, evidence } = report
  const content = Object.fromEntries(
    Object.entries(report).filter(([key]) => !outsideContent.includes(key)),
  ) as Canonical
  const whole = await sha256(text)
  const ofContent = await sha256(canonical(content))
  const ofEvidence = await sha256(canonical(evidence))
  const { seq } = integrity.checkpoint
  return [
    check("The bytes are those that the service has on record", whole, recorded.sha256),
    check("The sections are those that were signed for", ofContent, integrity.content_sha256),
    check("The evidence is that which was signed for", ofEvidence, integrity.evidence_sha256),
    check("It stands on the checkpoint it was asked for", seq, recorded.checkpoint_seq),
  ]
}

export function check(what: string, found: unknown, expected: unknown): Check {
  const holds = found === expected
  return { what, holds, said: holds ? String(found) : `found ${found}, expected ${expected}` }
}

/** A text that was signed, the signature in base64, and the SHA-256 of the public key. */
export type Signed = { message: string; signature: string; by: string }

/** Whether a report's signature is that of a public key, which comes from elsewhere (R23). */
export async function checkSignature(text: string, pem: string): Promise<Check> {
  const report = JSON.parse(text)
  const { signature, signed_by } = report.integrity
  const unsigned = { ...report, integrity: { ...report.integrity, signature: null } }
  return checkSigned({ message: signatureTag + canonical(unsigned), signature, by: signed_by }, pem)
}

/** Whether a signature is that of a public key in PEM; not checked where that is none. */
export async function checkSigned({ message, signature, by }: Signed, pem: string): Promise<Check> {
  const what = "The signature is of the key that you gave"
  let raw: Uint8Array<ArrayBuffer>
  let key: CryptoKey
  try {
    const spki = fromBase64(pem.replace(/-----[A-Z ]+-----/g, "").replace(/\s/g, ""))
    key = await crypto.subtle.importKey("spki", spki, { name: "Ed25519" }, true, ["verify"])
    raw = new Uint8Array(await crypto.subtle.exportKey("raw", key))
  } catch {
    return { what, holds: null, said: "This is no Ed25519 public key that this browser can read." }
  }
  const fingerprint = await sha256(raw)
  if (fingerprint !== by)
    return { what, holds: false, said: `signed by ${by}, your key is ${fingerprint}` }
  const bytes = new TextEncoder().encode(message)
  const holds = await crypto.subtle.verify("Ed25519", key, fromBase64(signature), bytes)
  return { what, holds, said: holds ? by : "the signature is of something else" }
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))
}
