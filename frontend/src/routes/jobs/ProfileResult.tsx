import { List, Stack, Text } from "@mantine/core"
import { createColumnHelper } from "@tanstack/react-table"
import { DataTable } from "../../components/DataTable"
import type { Spec } from "./again"
import { groupingText } from "./asked"
import { numberText, widthText } from "./result"

type Tally = { from: number[]; units: number[]; half_width_95: string; mechanism: string }
type Grouping = { by: Spec[]; groups?: Tally; rows: Tally }
type Quantile = { q: string; value: number; rank_half_width_95: string }
type Values = { col: string; lo: string; hi: string; quantiles: Quantile[] }
export type ReleasedProfile = { groupings: Grouping[]; values: Values[]; notes: string[] }

type Line = { what: string; from: string; value: number; width: string }

/** A released profile as one table: how many units have how much, and where values lie. */
export function ProfileResult({ result }: { result: ReleasedProfile }) {
  return (
    <Stack gap={4}>
      <DataTable
        caption="Released profile"
        columns={columns}
        rows={[...result.groupings.flatMap(tallyLines), ...result.values.flatMap(valueLines)]}
        rowKey={(line) => `${line.what} ${line.from}`}
      />
      <Text size="sm" c="dimmed">
        The noise lies within ± in 95 of 100 draws.
      </Text>
      <List size="sm" c="dimmed">
        {result.notes.map((note) => (
          <List.Item key={note}>{note}</List.Item>
        ))}
      </List>
    </Stack>
  )
}

function tallyLines(grouping: Grouping): Line[] {
  const of = groupingText({ by: grouping.by })
  const tallies: [string, Tally | undefined][] = [
    ["groups", grouping.groups],
    ["rows", grouping.rows],
  ]
  return tallies.flatMap(([name, tally]) =>
    (tally?.from ?? []).map((from, at) => ({
      what: `Units ${of}: with this many ${name}`,
      from: rangeText(from, tally?.from[at + 1]),
      value: tally?.units[at] ?? 0,
      width: tally === undefined ? "" : widthText({ ...cell, half_width_95: tally.half_width_95 }),
    })),
  )
}

const valueLines = ({ col, quantiles }: Values): Line[] =>
  quantiles.map(({ q, value, rank_half_width_95 }) => ({
    what: `Quantile of ${col}`,
    from: q,
    value,
    width: widthText({ ...cell, rank_half_width_95 }),
  }))

const cell = { measure: "", value: 0, half_width_95: null, mechanism: "" }

function rangeText(from: number, next: number | undefined): string {
  if (next === undefined) return `${from} or more`
  return next - 1 === from ? String(from) : `${from} to ${next - 1}`
}

const column = createColumnHelper<Line>()

const columns = [
  column.accessor("what", { header: "What" }),
  column.accessor("from", { header: "At", enableSorting: false }),
  column.accessor("value", { header: "Value", cell: ({ getValue }) => numberText(getValue()) }),
  column.accessor("width", { header: "± at 95%", enableSorting: false }),
]
