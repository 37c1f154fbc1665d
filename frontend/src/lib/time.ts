/** Times come as ISO 8601 with an offset; people read them in their own zone. */

const day = 86_400_000

// to make one takes longer than to use it a hundred times
const formats = new Map<string | undefined, Intl.DateTimeFormat>()

export function local(at: string, zone?: string): string {
  let format = formats.get(zone)
  if (format === undefined) {
    const styles = { dateStyle: "medium", timeStyle: "short", timeZone: zone } as const
    format = new Intl.DateTimeFormat("en-GB", styles)
    formats.set(zone, format)
  }
  return format.format(new Date(at))
}

export function utc(at: string): string {
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`
}

/** How far off a time is, in the largest unit that fits. */
export function distance(at: string, now: number = Date.now()): string {
  const away = new Date(at).getTime() - now
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" })
  const size = Math.abs(away)
  if (size < 60_000) return away <= 0 ? "just now" : "in less than a minute"
  if (size < 3_600_000) return words.format(Math.trunc(away / 60_000), "minute")
  if (size < day) return words.format(Math.trunc(away / 3_600_000), "hour")
  if (size < 60 * day) return words.format(Math.trunc(away / day), "day")
  return words.format(Math.trunc(away / (30 * day)), "month")
}
