import type { Schemas } from "../../api/client"
import { share } from "../../lib/amounts"

type Run = Schemas["BlockRun"]

export type Heat = "none" | "a quarter" | "half" | "three quarters" | "more" | "all"

/** Up to what share of its limit a block is used; for the shade, and said in the table. */
export function heatOf(run: Run, limit: string): Heat {
  const used = share(run.consumed.epsilon, limit)
  if (used === 0) return "none"
  if (used >= 1) return "all"
  if (used <= 0.25) return "a quarter"
  if (used <= 0.5) return "half"
  return used <= 0.75 ? "three quarters" : "more"
}

export const blocksIn = (run: Run): number => run.last - run.first + 1

/** The numbers of a run, as people write them. */
export const numbersOf = ({ first, last }: Run): string =>
  first === last ? `${first}` : `${first} to ${last}`

type Rule = { kind?: unknown; period?: unknown; first_day?: unknown }

const months: Record<string, number> = { month: 1, quarter: 3, year: 12 }
const days: Record<string, number> = { day: 1, week: 7 }

/** The first day of a time block; null where blocks are no periods. */
export function firstDayOf(rule: Rule | null | undefined, block: number): string | null {
  if (rule?.kind !== "time" || typeof rule.first_day !== "string") return null
  const from = new Date(`${rule.first_day}T00:00:00Z`)
  const period = String(rule.period)
  const byDays = days[period]
  const byMonths = months[period]
  if (byDays !== undefined) from.setUTCDate(from.getUTCDate() + byDays * block)
  // a calendar that begins on the 29th or later has days of its own, which the service knows
  else if (byMonths !== undefined && from.getUTCDate() <= 28)
    from.setUTCMonth(from.getUTCMonth() + byMonths * block)
  else return null
  return from.toISOString().slice(0, 10)
}
