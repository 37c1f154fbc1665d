import { shown, shownDelta } from "../../lib/amounts"

/** One published line about a run: whole chunks, and no figure that depends on an unnoised row. */
export type Line = {
  id: number
  step?: number
  steps?: number
  epsilon?: string
  delta?: string
  test_accuracy?: number | null
}

/** When a line came by while it was followed, in milliseconds. */
export type Mark = { step: number; at: number }

/** Lines in their order, each once: a stream that was cut begins again from its first one. */
export function withLine(lines: Line[], line: Line): Line[] {
  const last = lines.at(-1)
  if (last === undefined || last.id < line.id) return [...lines, line]
  if (lines.some((each) => each.id === line.id)) return lines
  return [...lines, line].sort((one, other) => one.id - other.id)
}

export function sharePercent({ step, steps }: Pick<Line, "step" | "steps">): number {
  if (step === undefined || !steps) return 0
  return Math.floor((100 * Math.min(step, steps)) / steps)
}

/** The last marks say more of the pace than the first ones do. */
const marksMost = 8
// lines of before the page was opened come all at once, and their times say nothing
const replayMs = 250

/** Marks of the pace: those that came one by one. */
export function withMark(marks: Mark[], mark: Mark): Mark[] {
  const last = marks.at(-1)
  if (last !== undefined && (mark.at - last.at < replayMs || mark.step <= last.step))
    return [...marks.slice(0, -1), mark.step > last.step ? mark : last]
  return [...marks, mark].slice(-marksMost)
}

/** Seconds to the end at the recent pace; null where there is none yet. */
export function secondsLeft(marks: Mark[], steps: number, now: number): number | null {
  const [first, last] = [marks[0], marks.at(-1)]
  if (first === undefined || last === undefined || last.step <= first.step) return null
  const pace = (last.at - first.at) / (last.step - first.step)
  const left = pace * (steps - last.step) - (now - last.at)
  return Math.max(0, left / 1000)
}

export function durationText(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`
  return `${Math.round(seconds / 3600)} h`
}

/** What has been spent by a line, with the delta and the unit that it holds for. */
export function spentSoFar({ epsilon, delta }: Line, unit: string | null): string | null {
  if (epsilon === undefined || delta === undefined) return null
  const per = unit === null ? "" : ` per ${unit}`
  return `ε ${shown(epsilon, "spent")}, δ ${shownDelta(delta)}${per} so far`
}

export function lineText(line: Line, unit: string | null): string {
  const parts = [`step ${line.step ?? 0} of ${line.steps ?? "?"}`, spentSoFar(line, unit)]
  if (typeof line.test_accuracy === "number")
    parts.push(`accuracy ${percentText(line.test_accuracy)} on the public set`)
  return parts.filter((part) => part !== null).join("; ")
}

export const percentText = (share: number): string => `${(100 * share).toFixed(1)}%`

/** What is read aloud: the first line of each tenth, so that a quick run is not a torrent. */
export function spokenText(lines: Line[], unit: string | null): string {
  const last = lines.at(-1)
  if (last === undefined) return ""
  const tenth = (line: Line) => Math.floor(sharePercent(line) / 10)
  const first = lines.find((line) => tenth(line) === tenth(last)) ?? last
  return `${sharePercent(first)}%: ${lineText(first, unit)}`
}
