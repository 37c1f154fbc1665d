import { keepPreviousData, useInfiniteQuery, useQueries, useQuery } from "@tanstack/react-query"
import { useMemo, useState } from "react"
import { type EntryQuery, type EntryRow, rowPages, rowsQuery, spanQuery } from "../../api/ledger"
import { cut, nothing, pagesOf, rowsAtOnce, type Span } from "./spans"

/** Rows of which a few are read at a time. `count` may grow while one reads. */
export type Rows = {
  count: number
  /** The lowest and highest number among them, as far as they are known. */
  first: number
  last: number
  isWhole: boolean
  at: (index: number) => EntryRow | undefined
  indexOf: (seq: number) => number | null
  want: (first: number, last: number) => void
  isPending: boolean
  error: Error | null
  retry: () => unknown
}

/** All entries of a chain, or those between two times: each place is known before it is read. */
export function useSpan(
  budget_id: string,
  entries: number,
  query: EntryQuery,
  isOn: boolean,
): Rows {
  const { since, before, order } = query
  const isTimed = since !== undefined || before !== undefined
  const timed = useQuery({
    ...spanQuery(budget_id, { since, before }),
    enabled: isOn && isTimed,
    placeholderData: keepPreviousData,
  })
  const known: Span | null = isTimed ? (timed.data ?? null) : { first: 1, last: entries }
  const isNewest = order !== "oldest"
  const span = known === null ? nothing : cut(known, isNewest)
  const count = span.last - span.first + 1
  const [wanted, want] = useState<Span>({ first: 0, last: 0 })
  const seqAt = (index: number) => (isNewest ? span.last - index : span.first + index)
  const pages = isOn && count > 0 ? pagesOf(seqAt(wanted.first), seqAt(wanted.last), span) : []
  const read = useQueries({
    queries: pages.map((page) => rowsQuery(budget_id, page.first, page.last)),
    combine: together,
  })
  return {
    count,
    ...span,
    isWhole: known === null || isSame(known, span),
    at: (index) => read.rows.get(seqAt(index)),
    indexOf: (seq) => {
      if (seq < span.first || seq > span.last) return null
      return isNewest ? span.last - seq : seq - span.first
    },
    want: (first, last) => want((old) => (isSame(old, { first, last }) ? old : { first, last })),
    isPending: isTimed && timed.isPending,
    error: timed.error ?? read.error,
    retry: timed.error ? timed.refetch : read.retry,
  }
}

type Read = { data?: EntryRow[]; error: Error | null; refetch: () => unknown }

const together = (results: Read[]) => ({
  rows: new Map(results.flatMap(({ data }) => data ?? []).map((row) => [row.seq, row])),
  error: results.find(({ error }) => error !== null)?.error ?? null,
  retry: () => results.filter(({ error }) => error !== null).map(({ refetch }) => refetch()),
})

const isSame = (one: Span, other: Span) => one.first === other.first && one.last === other.last

/** What a filter finds: one page after another, as far as somebody scrolls. */
export function useFound(budget_id: string, query: EntryQuery, isOn: boolean): Rows {
  const pages = useInfiniteQuery({ ...rowPages(budget_id, query), enabled: isOn })
  const rows = useMemo(() => (pages.data?.pages ?? []).flatMap(({ items }) => items), [pages.data])
  const places = useMemo(() => new Map(rows.map((row, index) => [row.seq, index])), [rows])
  const [one, other] = [rows[0]?.seq, rows.at(-1)?.seq]
  const isNone = one === undefined || other === undefined
  return {
    count: rows.length,
    ...(isNone ? nothing : { first: Math.min(one, other), last: Math.max(one, other) }),
    isWhole: !pages.hasNextPage,
    at: (index) => rows[index],
    indexOf: (seq) => places.get(seq) ?? null,
    want: (_, last) => {
      const isNear = last >= rows.length - rowsAtOnce / 2
      if (isNear && pages.hasNextPage && !pages.isFetching) pages.fetchNextPage()
    },
    isPending: isOn && pages.isPending,
    error: pages.error,
    retry: pages.refetch,
  }
}
