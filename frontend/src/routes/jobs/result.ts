import { shown } from "../../lib/amounts"

/** What a query released: rows of keys and of cells, each cell with what its noise may have done. */
export type Column = { name: string; kind: "key" | "measure"; type: string }
export type Cell = {
  measure: string
  value: number | (number | string | boolean)[]
  half_width_95: string | null
  rank_half_width_95?: string
  mechanism: string
  edges?: string[]
}
export type Row = { keys: Record<string, unknown>; cells: Cell[] }
export type Table = { columns: Column[]; rows: Row[]; notes: string[] }

/** A value with the ends of its interval; null where the noise says nothing of the value itself. */
export type Point = { label: string; value: number; halfWidth: number | null }

const figures = new Intl.NumberFormat("en", { maximumSignificantDigits: 7 })

/** Seven figures: what comes behind them is noise's. */
export const numberText = (value: number): string => figures.format(value)

const noKey = "(no value)"

export const keyText = (key: unknown): string =>
  key === null || key === undefined ? noKey : String(key)

export function labelOf(row: Row, columns: Column[]): string {
  const keys = columns.filter((each) => each.kind === "key")
  return keys.map((each) => keyText(row.keys[each.name])).join(", ")
}

export function valueText({ value, edges }: Cell): string {
  if (!Array.isArray(value)) return numberText(value)
  if (edges !== undefined) return `${value.length} bins, in the figure`
  return value.map(String).join(", ")
}

/** How far the noise may have moved a value, as it stands behind it; rounded against us. */
export function widthText({ half_width_95, rank_half_width_95 }: Cell): string {
  if (half_width_95 !== null) return `± ${shown(half_width_95, "spent")}`
  if (rank_half_width_95 !== undefined)
    return `± ${shown(rank_half_width_95, "spent")} rows in rank`
  return "not known"
}

/** The measures of which there is something to draw, by their place among the cells. */
export function drawn({
  columns,
  rows,
}: Table): { place: number; name: string; isBins: boolean }[] {
  const measures = columns.filter((each) => each.kind === "measure")
  return measures
    .map((each, place) => ({ place, name: each.name, isBins: each.type === "numbers" }))
    .filter(({ place, isBins }) => measures[place]?.type !== "keys" && (isBins || rows.length > 1))
    .filter(() => rows.length > 0)
}

/** One measure over the groups. */
export function pointsOf(table: Table, place: number): Point[] {
  return table.rows.flatMap((row) => {
    const cell = row.cells[place]
    if (cell === undefined || Array.isArray(cell.value)) return []
    return [{ label: labelOf(row, table.columns), value: cell.value, halfWidth: widthOf(cell) }]
  })
}

/** The bins of one group. */
export function binsOf(row: Row, place: number): Point[] {
  const cell = row.cells[place]
  if (cell === undefined || !Array.isArray(cell.value)) return []
  const edges = cell.edges ?? []
  return cell.value.map((value, at) => ({
    label: `[${edges[at]}, ${edges[at + 1]})`,
    value: Number(value),
    halfWidth: widthOf(cell),
  }))
}

const widthOf = ({ half_width_95 }: Cell): number | null =>
  half_width_95 === null ? null : Number(half_width_95)

/** The ends of what is drawn, whiskers among it, with zero inside. */
export function extent(points: Point[]): [number, number] {
  const ends = points.flatMap(({ value, halfWidth }) => [
    value - (halfWidth ?? 0),
    value + (halfWidth ?? 0),
  ])
  return [Math.min(0, ...ends), Math.max(0, ...ends)]
}

/** "3,511 ± 89.9", of a result that is one figure. */
export const pointText = ({ value, halfWidth }: Point): string =>
  halfWidth === null
    ? numberText(value)
    : `${numberText(value)} ± ${shown(String(halfWidth), "spent")}`
