import type { Schemas } from "../../../api/client"

export type Key = string | number | boolean

/** A column of the public schema, as a dataset tells it. */
export type Column = {
  name: string
  type: "int64" | "float64" | "float32" | "string" | "bool" | "date" | "timestamp"
  bounds?: { low: string; high: string }
  grid?: string
  domain?: Key[]
  domain_source?: "public"
  keys?: "private"
  shape?: number[]
}

type Unit = {
  kind: string
  column?: string
  max_groups_per_user?: number
  max_rows_per_user_group?: number
  max_rows_per_user?: number
}

/** What a request may know of a dataset before it is sent; all of it is public. */
export type Facts = {
  name: string
  columns: Column[]
  unit: Unit
  nominal: number | null
}

export const factsOf = (dataset: Schemas["DatasetRead"]): Facts => ({
  name: dataset.name,
  columns: dataset.columns as unknown as Column[],
  unit: (dataset.unit_of_privacy ?? { kind: "record" }) as Unit,
  nominal: dataset.nominal_size ?? null,
})

export const unitWord = ({ unit }: Facts): string => unit.kind.replaceAll("_", " ")
export const columnOf = ({ columns }: Facts, name: string): Column | undefined =>
  columns.find((each) => each.name === name)

const isNumber = ({ type }: Column) => type === "int64" || type.startsWith("float")
const isPublic = ({ domain, domain_source }: Column) =>
  domain !== undefined && domain_source === "public"

/** Columns that a query may name: plain ones, never the one that names the unit. */
const plain = ({ columns, unit }: Facts) =>
  columns.filter(({ name, shape }) => shape === undefined && name !== unit.column)

export const filterable = plain
export const numbers = (facts: Facts) => plain(facts).filter(isNumber)
export const withKeys = (facts: Facts) => plain(facts).filter(isPublic)
/** By their keys, or numbers by bins. */
export const groupable = (facts: Facts) =>
  plain(facts).filter((each) => isPublic(each) || each.keys === "private" || isNumber(each))
/** Whether its groups are made by edges, since it declares no keys of its own. */
export const needsEdges = (column: Column | undefined) =>
  column !== undefined && !isPublic(column) && column.keys !== "private"
export const hasOrder = (column: Column | undefined) =>
  column !== undefined &&
  (isNumber(column) || column.type === "date" || column.type === "timestamp")

export const labels = ({ columns, unit }: Facts) =>
  columns.filter(
    (each) =>
      each.shape === undefined &&
      each.name !== unit.column &&
      isPublic(each) &&
      (each.domain?.length ?? 0) >= 2,
  )
export const features = ({ columns, unit }: Facts, label: string) =>
  columns.filter(
    (each) =>
      each.name !== label &&
      each.name !== unit.column &&
      (each.shape?.length ?? 0) <= 1 &&
      (each.type === "bool" || (isNumber(each) && each.bounds !== undefined)),
  )
/** What a language model may learn from: texts, or lists of token numbers. */
export const texts = ({ columns, unit }: Facts) =>
  columns.filter(
    ({ name, type, shape }) =>
      name !== unit.column &&
      ((type === "string" && shape === undefined) || (type === "int64" && shape?.length === 1)),
  )
