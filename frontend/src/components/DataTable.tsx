import { Table, UnstyledButton } from "@mantine/core"
import {
  type ColumnDef,
  flexRender,
  getCoreRowModel,
  getSortedRowModel,
  type SortingState,
  useReactTable,
} from "@tanstack/react-table"
import { useState } from "react"

type Props<Row> = {
  caption: string
  // biome-ignore lint/suspicious/noExplicitAny: each column has a value type of its own
  columns: ColumnDef<Row, any>[]
  rows: Row[]
  rowKey: (row: Row) => string
}

const marks = { asc: "↑", desc: "↓" }
const orders = { asc: "ascending", desc: "descending" } as const

/** A table that sorts by its headings; it scrolls by keyboard where it is wider than the page. */
export function DataTable<Row>({ caption, columns, rows, rowKey }: Props<Row>) {
  const [sorting, setSorting] = useState<SortingState>([])
  const table = useReactTable({
    data: rows,
    columns,
    getRowId: rowKey,
    state: { sorting },
    onSortingChange: setSorting,
    getCoreRowModel: getCoreRowModel(),
    getSortedRowModel: getSortedRowModel(),
  })
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <section className="scrolls" aria-label={caption} tabIndex={0}>
      <Table verticalSpacing={6} horizontalSpacing="sm" highlightOnHover tabularNums>
        <caption className="unseen">{caption}</caption>
        <Table.Thead>
          {table.getHeaderGroups().map((group) => (
            <Table.Tr key={group.id}>
              {group.headers.map((header) => {
                const order = header.column.getIsSorted()
                const name = flexRender(header.column.columnDef.header, header.getContext())
                return (
                  <Table.Th
                    key={header.id}
                    scope="col"
                    aria-sort={order ? orders[order] : undefined}
                  >
                    {header.column.getCanSort() ? (
                      <UnstyledButton
                        fw={600}
                        fz="sm"
                        onClick={header.column.getToggleSortingHandler()}
                      >
                        {name} {order && <span aria-hidden="true">{marks[order]}</span>}
                      </UnstyledButton>
                    ) : (
                      name
                    )}
                  </Table.Th>
                )
              })}
            </Table.Tr>
          ))}
        </Table.Thead>
        <Table.Tbody>
          {table.getRowModel().rows.map((row) => (
            <Table.Tr key={row.id}>
              {row.getVisibleCells().map((cell) => (
                <Table.Td key={cell.id}>
                  {flexRender(cell.column.columnDef.cell, cell.getContext())}
                </Table.Td>
              ))}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  )
}
