export const nearlyAlways = "nearly always"

export type Guesses = { blind: number; more: number; wrong: number }

/** A hundred guesses as whole people: what is right beyond blind guessing is rounded up. */
export function guesses(bestPer100: string): Guesses {
  const right = bestPer100 === nearlyAlways ? 100 : Math.min(100, Math.ceil(Number(bestPer100)))
  return { blind: 50, more: Math.max(0, right - 50), wrong: 100 - Math.max(50, right) }
}

export const guessText = (bestPer100: string): string =>
  bestPer100 === nearlyAlways ? nearlyAlways : `at most ${bestPer100} times in 100`

export const percent = (shownPercent: string): string =>
  shownPercent === nearlyAlways ? nearlyAlways : `${shownPercent}%`

export type Point = { falseAlarms: number; caught: number; blind: number }

/** The corners of the bound beside blind guessing, for drawing alone. */
export const points = (
  corners: { false_alarm_percent: string; caught_percent: string }[],
): Point[] =>
  corners.map(({ false_alarm_percent, caught_percent }) => ({
    falseAlarms: Number(false_alarm_percent),
    caught: caught_percent === nearlyAlways ? 100 : Number(caught_percent),
    blind: Number(false_alarm_percent),
  }))
