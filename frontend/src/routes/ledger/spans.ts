/** Entries by their numbers, and the pages in which they are read. */

/** Both numbers are in it. */
export type Span = { first: number; last: number }

export const nothing: Span = { first: 1, last: 0 }
export const rowsAtOnce = 100
// the most that a browser can scroll over; times lead to what lies further back
export const rowsMost = 400_000

/** As much of a span as can be scrolled over, from the end that is shown first. */
export function cut({ first, last }: Span, isNewest: boolean, most = rowsMost): Span {
  return isNewest
    ? { first: Math.max(first, last - most + 1), last }
    : { first, last: Math.min(last, first + most - 1) }
}

/** The pages that hold what lies between two numbers: one entry is always in the same page. */
export function pagesOf(one: number, other: number, { first, last }: Span): Span[] {
  const from = Math.max(Math.min(one, other), first)
  const to = Math.min(Math.max(one, other), last)
  const pages: Span[] = []
  for (let start = from - ((from - 1) % rowsAtOnce); start <= to; start += rowsAtOnce)
    pages.push({ first: start, last: Math.min(start + rowsAtOnce - 1, last) })
  return pages
}
