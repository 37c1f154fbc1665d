import { distance, local, utc } from "../lib/time"

/** A time in the reader's zone, and in UTC on hover. `isDistance`: how far off it is. */
export function Time({ at, isDistance = false }: { at: string; isDistance?: boolean }) {
  return (
    <time dateTime={at} title={isDistance ? `${local(at)}, ${utc(at)}` : utc(at)}>
      {isDistance ? distance(at) : local(at)}
    </time>
  )
}
