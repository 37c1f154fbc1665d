import { Button, Group, List, NativeSelect, Stack, Text } from "@mantine/core"
import { createColumnHelper } from "@tanstack/react-table"
import { lazy, useState } from "react"
import { DataTable } from "../../components/DataTable"
import { EmptyState } from "../../components/EmptyState"
import { Figure } from "../../components/Figure"
import {
  binsOf,
  drawn,
  keyText,
  labelOf,
  numberText,
  type Point,
  pointsOf,
  type Row,
  type Table,
  valueText,
  widthText,
} from "./result"

const IntervalChart = lazy(() => import("./IntervalChart"))

const rowsShown = 50
const pointsMost = 40
const confidence = "The noise lies within ± in 95 of 100 draws."

/** Released rows with what their noise may have done: as a table, and drawn where it can be. */
export function QueryResult({ table }: { table: Table }) {
  const [showsAll, setShowsAll] = useState(false)
  if (table.rows.length === 0)
    return (
      <EmptyState title="No group is shown.">
        No noisy count of units was large enough, or the query's own conditions left no row.
      </EmptyState>
    )
  const rows = showsAll ? table.rows : table.rows.slice(0, rowsShown)
  return (
    <Stack gap="lg">
      <div>
        <DataTable
          caption="Released values"
          columns={columnsOf(table)}
          rows={rows}
          rowKey={(row) => JSON.stringify(row.keys)}
        />
        {rows.length < table.rows.length && (
          <Button mt="sm" size="xs" variant="default" onClick={() => setShowsAll(true)}>
            Show all {table.rows.length} rows
          </Button>
        )}
        <Text size="sm" c="dimmed" mt={4}>
          {confidence} {mechanismsText(table)}
        </Text>
        <List size="sm" c="dimmed" mt={4}>
          {table.notes.map((note) => (
            <List.Item key={note}>{note}</List.Item>
          ))}
        </List>
      </div>
      <Drawn table={table} />
    </Stack>
  )
}

const column = createColumnHelper<Row>()

function columnsOf(table: Table) {
  const keys = table.columns.filter((each) => each.kind === "key")
  const measures = table.columns.filter((each) => each.kind === "measure")
  return [
    ...keys.map(({ name }) =>
      column.accessor((row) => row.keys[name], {
        id: `key ${name}`,
        header: name,
        cell: ({ getValue }) => <span className="name">{keyText(getValue())}</span>,
      }),
    ),
    ...measures.flatMap(({ name, type }, place) => [
      column.accessor((row) => row.cells[place]?.value, {
        id: `value ${name}`,
        header: name,
        enableSorting: type === "number",
        cell: ({ row }) => {
          const cell = row.original.cells[place]
          return cell && valueText(cell)
        },
      }),
      column.display({
        id: `width ${name}`,
        header: "± at 95%",
        cell: ({ row }) => {
          const cell = row.original.cells[place]
          return cell && widthText(cell)
        },
      }),
    ]),
  ]
}

function mechanismsText({ rows }: Table): string {
  const names = new Set(rows.flatMap((row) => row.cells.map((cell) => cell.mechanism)))
  return `Noise: ${[...names].join(", ").replaceAll("_", " ")}.`
}

function Drawn({ table }: { table: Table }) {
  const measures = drawn(table)
  const [name, setName] = useState(measures[0]?.name)
  const [group, setGroup] = useState(0)
  const measure = measures.find((each) => each.name === name)
  if (measure === undefined) return null
  const row = table.rows[group]
  const points =
    measure.isBins && row !== undefined
      ? binsOf(row, measure.place)
      : pointsOf(table, measure.place)
  const isCut = points.length > pointsMost
  return (
    <Stack gap="xs">
      {(measures.length > 1 || (measure.isBins && table.rows.length > 1)) && (
        <Group gap="sm">
          {measures.length > 1 && (
            <NativeSelect
              label="Figure of"
              data={measures.map((each) => each.name)}
              value={measure.name}
              onChange={(event) => setName(event.currentTarget.value)}
            />
          )}
          {measure.isBins && table.rows.length > 1 && (
            <NativeSelect
              label="Group"
              data={table.rows.map((each, at) => ({
                value: String(at),
                label: labelOf(each, table.columns),
              }))}
              value={String(group)}
              onChange={(event) => setGroup(Number(event.currentTarget.value))}
            />
          )}
        </Group>
      )}
      <Figure
        title={measure.name}
        about={
          isCut
            ? `${confidence} The first ${pointsMost} of ${points.length} are drawn.`
            : `A dot for each value, and a whisker for ±. ${confidence}`
        }
        chart={<IntervalChart points={points.slice(0, pointsMost)} name={measure.name} />}
        table={
          <DataTable
            caption={`${measure.name} with its intervals`}
            columns={pointColumns}
            rows={points}
            rowKey={(point) => point.label}
          />
        }
      />
    </Stack>
  )
}

const point = createColumnHelper<Point>()

const endText = ({ value, halfWidth }: Point, sign: 1 | -1): string =>
  halfWidth === null ? "not known" : numberText(value + sign * halfWidth)

const pointColumns = [
  point.accessor("label", { header: "Group" }),
  point.accessor("value", { header: "Value", cell: ({ getValue }) => numberText(getValue()) }),
  point.accessor((each) => endText(each, -1), { id: "from", header: "From", enableSorting: false }),
  point.accessor((each) => endText(each, 1), { id: "to", header: "To", enableSorting: false }),
]
