/** Amounts are decimal strings. They are compared and summed as integers, never as floats. */

const form = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/

type Exact = { digits: bigint; scale: number }

function exact(text: string): Exact {
  const found = form.exec(text)
  if (found === null) throw new RangeError(`not a decimal: ${text}`)
  const [, sign, whole, part = "", power = "0"] = found
  let digits = BigInt(`${whole}${part}`)
  let scale = part.length - Number(power)
  if (scale < 0) {
    digits *= 10n ** BigInt(-scale)
    scale = 0
  }
  return { digits: sign ? -digits : digits, scale }
}

function aligned(one: string, other: string): [bigint, bigint, number] {
  const a = exact(one)
  const b = exact(other)
  const scale = Math.max(a.scale, b.scale)
  return [
    a.digits * 10n ** BigInt(scale - a.scale),
    b.digits * 10n ** BigInt(scale - b.scale),
    scale,
  ]
}

function text(digits: bigint, scale: number): string {
  const padded = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, "0")
  const whole = padded.slice(0, padded.length - scale)
  const part = padded.slice(padded.length - scale).replace(/0+$/, "")
  return `${digits < 0n ? "-" : ""}${whole}${part ? `.${part}` : ""}`
}

export function sum(...amounts: string[]): string {
  let total = "0"
  for (const amount of amounts) {
    const [a, b, scale] = aligned(total, amount)
    total = text(a + b, scale)
  }
  return total
}

export function compare(one: string, other: string): -1 | 0 | 1 {
  const [a, b] = aligned(one, other)
  return a < b ? -1 : a > b ? 1 : 0
}

/** What the service says of an amount that nothing bounds. */
const boundless = new Set(["Infinity", "unbounded"])

/** The share of a whole, 0 to 1, for drawing and ordering alone. */
export function share(part: string, whole: string): number {
  if (boundless.has(part)) return 1
  const [a, b] = aligned(part, whole)
  if (b <= 0n) return a > 0n ? 1 : 0
  return Math.min(1, Math.max(0, Number((a * 1_000_000n) / b) / 1_000_000))
}

/** What was spent rounds up and what is left rounds down: a shown figure never flatters. */
export type Sense = "spent" | "left"

export function shown(amount: string, sense: Sense, places = 3): string {
  if (boundless.has(amount)) return "without bound"
  const { digits, scale } = exact(amount)
  if (digits === 0n) return "0"
  if (scale <= places) return text(digits, scale)
  const step = 10n ** BigInt(scale - places)
  let kept = digits / step
  const rest = digits % step
  if (rest > 0n && sense === "spent") kept += 1n
  if (rest < 0n && sense === "left") kept -= 1n
  if (kept === 0n) return `< ${text(1n, places)}`
  return text(kept, places)
}

/** Deltas are small: as a power of ten, rounded against us. */
export function shownDelta(delta: string, sense: Sense = "spent"): string {
  if (boundless.has(delta)) return "without bound"
  const { digits, scale } = exact(delta)
  if (digits === 0n) return "0"
  const figures = digits.toString()
  const power = figures.length - 1 - scale
  if (power >= -3) return shown(delta, sense, 6)
  let lead = Number(figures.slice(0, 2).padEnd(2, "0"))
  const hasRest = /[1-9]/.test(figures.slice(2))
  if (hasRest && sense === "spent") lead += 1
  const carried = lead >= 100
  const mantissa = carried ? 1 : lead / 10
  return `${mantissa}e${carried ? power + 1 : power}`
}
