import type { Schemas } from "../../api/client"
import { sum } from "../../lib/amounts"

type Timeline = Schemas["TimelineRead"]

/** One moment of the chart; amounts are for drawing alone. */
export type Moment = { at: number; left: number }

/** What was left after each day's last charge, up to now; empty where nothing was charged. */
export function burnDown({ points, limit }: Timeline, now: number = Date.now()): Moment[] {
  const left = (consumed: string) => Number(sum(limit.epsilon, negated(consumed)))
  const drawn = points.map(
    ({ at, consumed }): Moment => ({
      at: Date.parse(at),
      left: left(consumed),
    }),
  )
  const first = drawn[0]
  const last = drawn.at(-1)
  if (first === undefined || last === undefined) return []
  return [{ at: first.at - 3_600_000, left: Number(limit.epsilon) }, ...drawn, { ...last, at: now }]
}

/** What would be left if all that is held were spent; null where nothing is held beyond. */
export function leftIfHeld({ points, limit, with_reservations: held }: Timeline): number | null {
  const last = points.at(-1)?.consumed ?? "0"
  if (held === null || held === last) return null
  return Number(sum(limit.epsilon, negated(held)))
}

const negated = (amount: string) => (amount.startsWith("-") ? amount.slice(1) : `-${amount}`)

export type Line =
  | { what: "consumed"; at: string; consumed: string }
  | { what: "mark"; at: string; kind: string; seq: number }

/** Charges and decisions in the order of time, for the table that says what the chart draws. */
export function linesOf({ points, marks }: Timeline): Line[] {
  const lines: Line[] = [
    ...points.map(({ at, consumed }): Line => ({ what: "consumed", at, consumed })),
    ...marks.map(({ at, kind, seq }): Line => ({ what: "mark", at, kind, seq })),
  ]
  return lines.sort((one, other) => Date.parse(one.at) - Date.parse(other.at))
}
