import { useMediaQuery } from "@mantine/hooks"
import {
  createColumnHelper,
  flexRender,
  getCoreRowModel,
  type Row,
  useReactTable,
} from "@tanstack/react-table"
import { useVirtualizer } from "@tanstack/react-virtual"
import { type KeyboardEvent, type MouseEvent, memo, useEffect, useRef, useState } from "react"
import type { EntryRow } from "../../api/ledger"
import { Time } from "../../components/Time"
import { shown } from "../../lib/amounts"
import "./ledger.css"
import type { Rows } from "./rows"

type Props = {
  rows: Rows
  open: number | null
  onOpen: (seq: number) => void
}

const rowHeight = 36
// more than are ever drawn at once
const slots = 128
// rows are read once scrolling has rested for so long
const restMs = 60

const column = createColumnHelper<EntryRow>()
const columns = [
  column.accessor("seq", { header: "Entry" }),
  column.accessor("kind", { header: "Kind" }),
  column.accessor((row) => row.actor_name ?? row.actor, { id: "actor", header: "By" }),
  column.accessor("units", { header: "Units" }),
  column.accessor((row) => row.charge_alone?.epsilon ?? "", {
    id: "alone",
    header: "Alone, ε",
    cell: ({ getValue }) => (getValue() === "" ? "" : shown(getValue(), "spent")),
  }),
  column.accessor("at", { header: "When", cell: ({ getValue }) => <Time at={getValue()} /> }),
  column.accessor("hash", {
    header: "Hash",
    cell: ({ getValue }) => <code>{getValue().slice(0, 10)}</code>,
  }),
]
const onPhones = { actor: false, units: false, hash: false }
const numbers = new Set(["units", "alone"])
const aside = (id: string) => (numbers.has(id) ? "right" : undefined)
const rowId = (index: number) => `entry-row-${index}`

/** The rows of a chain, of which only those in sight are drawn; arrows move, Enter opens. */
export function EntryTable({ rows, open, onOpen }: Props) {
  const frame = useRef<HTMLDivElement>(null)
  const isNarrow = useMediaQuery("(max-width: 48em)", false, { getInitialValueInEffect: false })
  const [active, setActive] = useState(0)
  const virtual = useVirtualizer({
    count: rows.count,
    getScrollElement: () => frame.current,
    estimateSize: () => rowHeight,
    overscan: 8,
    scrollMargin: rowHeight,
    scrollPaddingStart: rowHeight,
  })
  const drawn = virtual.getVirtualItems()
  const [first, last] = [drawn[0]?.index ?? 0, drawn.at(-1)?.index ?? 0]
  const { want } = rows
  useEffect(() => {
    const rest = setTimeout(() => want(first, last), restMs)
    return () => clearTimeout(rest)
  })
  const openIndex = open === null ? null : rows.indexOf(open)
  useEffect(() => {
    if (openIndex === null) return
    setActive(openIndex)
    virtual.scrollToIndex(openIndex)
  }, [openIndex, virtual])

  const known = drawn.flatMap(({ index }) => rows.at(index) ?? [])
  const table = useReactTable({
    data: known,
    columns,
    getRowId: (row) => String(row.seq),
    state: { columnVisibility: isNarrow ? onPhones : {} },
    getCoreRowModel: getCoreRowModel(),
    // the rows in sight are new ones at every drawing, which is no reason to draw once more
    autoResetAll: false,
  })
  const byId = table.getRowModel().rowsById
  const perPage = Math.max(1, Math.floor((frame.current?.clientHeight ?? 0) / rowHeight) - 2)
  const moves: Record<string, (index: number) => number> = {
    ArrowDown: (index) => index + 1,
    ArrowUp: (index) => index - 1,
    PageDown: (index) => index + perPage,
    PageUp: (index) => index - perPage,
    Home: () => 0,
    End: () => rows.count - 1,
  }
  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const seq = rows.at(active)?.seq
    const move = moves[event.key]
    if (event.key === "Enter" && seq !== undefined) onOpen(seq)
    else if (move !== undefined) {
      const next = Math.min(Math.max(move(active), 0), rows.count - 1)
      setActive(next)
      virtual.scrollToIndex(next)
    } else return
    event.preventDefault()
  }
  const click = (event: MouseEvent) => {
    const row = (event.target as Element).closest<HTMLElement>("[data-index]")
    const seq = rows.at(Number(row?.dataset.index))?.seq
    if (row === null || seq === undefined) return
    setActive(Number(row.dataset.index))
    onOpen(seq)
  }
  return (
    <div ref={frame} className="entries">
      <table
        // biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: one moves over its rows
        role="grid"
        aria-label="Entries"
        aria-rowcount={rows.isWhole ? rows.count + 1 : -1}
        aria-activedescendant={active >= first && active <= last ? rowId(active) : undefined}
        tabIndex={0}
        onKeyDown={press}
        onClick={click}
      >
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id} aria-rowindex={1}>
              {group.headers.map((head) => (
                <th key={head.id} scope="col" className={aside(head.column.id)}>
                  {flexRender(head.column.columnDef.header, head.getContext())}
                </th>
              ))}
            </tr>
          ))}
        </thead>
        <tbody style={{ height: virtual.getTotalSize() }}>
          {drawn.map(({ index, start }) => {
            const row = byId[String(rows.at(index)?.seq)]
            return (
              <tr
                // what leaves the sight above comes back below, with other words in it
                key={index % slots}
                id={rowId(index)}
                aria-rowindex={index + 2}
                aria-selected={index === openIndex}
                data-index={index}
                data-active={index === active || undefined}
                style={{ transform: `translateY(${start - rowHeight}px)` }}
              >
                {row === undefined ? <td>…</td> : <Cells row={row} isNarrow={isNarrow} />}
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

type CellsProps = { row: Row<EntryRow>; isNarrow: boolean }

/** The cells of a row, which are drawn anew only where another entry stands in it. */
const Cells = memo(
  ({ row }: CellsProps) =>
    row.getVisibleCells().map((cell) => (
      <td key={cell.column.id} className={aside(cell.column.id)}>
        {flexRender(cell.column.columnDef.cell, cell.getContext())}
      </td>
    )),
  (old, next) => old.row.original === next.row.original && old.isNarrow === next.isNarrow,
)
