/** Days that people pick, as the moments that the service takes. */

/** The last second of a day in the reader's zone. */
export function endOfDay(day: string): string | null {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(day)) return null
  const end = new Date(`${day}T23:59:59`)
  return Number.isNaN(end.getTime()) ? null : end.toISOString()
}

/** The first moment of a day in the reader's zone, or of one that comes some days later. */
export function startOfDay(day: string, daysLater = 0): string | null {
  if (endOfDay(day) === null) return null
  const start = new Date(`${day}T00:00:00`)
  start.setDate(start.getDate() + daysLater)
  return start.toISOString()
}

/** The day some days from now, in the form of a date field. */
export function dayAhead(days: number, now: number = Date.now()): string {
  const at = new Date(now + days * 86_400_000)
  const two = (part: number) => String(part).padStart(2, "0")
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
}
