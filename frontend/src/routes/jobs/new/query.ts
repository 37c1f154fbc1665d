import { columnOf, type Facts, needsEdges, withKeys } from "./columns"
import { type Asked, type Group, type Literal, type Measure, type Predicate, sqlOf } from "./sql"

/** What the query form holds: every field as it was typed. */
export type QueryForm = { measures: MeasureForm[]; groups: GroupForm[]; filters: FilterForm[] }
export type MeasureForm = {
  id: number
  fn: string
  column: string
  low: string
  high: string
  grid: string
  quantile: string
  count: string
}
export type GroupForm = { id: number; column: string; edges: string }
export type FilterForm = { id: number; column: string; op: string; value: string; second: string }

let made = 0
const nextId = () => {
  made += 1
  return made
}
export const newMeasure = (fn = "count"): MeasureForm => ({
  id: nextId(),
  fn,
  column: "",
  low: "",
  high: "",
  grid: "",
  quantile: "",
  count: "",
})
export const newGroup = (): GroupForm => ({ id: nextId(), column: "", edges: "" })
export const newFilter = (): FilterForm => ({
  id: nextId(),
  column: "",
  op: "=",
  value: "",
  second: "",
})
export const newQuery = (): QueryForm => ({ measures: [newMeasure()], groups: [], filters: [] })

export const functions: Record<string, string> = {
  count: "Count of rows",
  "count of values": "Count of values of a column",
  count_distinct: "Count of users",
  sum: "Sum",
  mean: "Mean",
  variance: "Variance",
  stdev: "Standard deviation",
  quantile: "Quantile",
  histogram: "Histogram",
  top_k: "Most frequent keys",
}
const wholeTable = ["count", "count_distinct"]
export const hasColumn = (fn: string) => !wholeTable.includes(fn)
export const hasBounds = (fn: string) =>
  ["sum", "mean", "variance", "stdev", "quantile", "histogram"].includes(fn)
export const hasGrid = (fn: string) => ["sum", "mean", "variance", "stdev"].includes(fn)

export const operators: Record<string, string> = {
  "=": "is",
  "!=": "is not",
  "<": "is below",
  "<=": "is at most",
  ">": "is above",
  ">=": "is at least",
  between: "is between",
  in: "is one of",
  is_null: "is missing",
  not_null: "is there",
}
export const ordered = ["<", "<=", ">", ">=", "between"]
export const takesValue = (op: string) => op !== "is_null" && op !== "not_null"

export const listed = (text: string): string[] =>
  text
    .split(",")
    .map((each) => each.trim())
    .filter((each) => each !== "")

export type Lack = { at: string; text: string }

/** What the form still lacks before it asks anything. */
export function lacksOf(form: QueryForm, facts: Facts): Lack[] {
  const found: Lack[] = []
  if (form.measures.length === 0) found.push({ at: "/query/add", text: "a figure to ask for" })
  for (const each of form.measures) {
    const at = `/query/measures/${each.id}`
    if (hasColumn(each.fn) && each.column === "")
      found.push({ at: `${at}/column`, text: "the column of a figure" })
    else if (each.fn === "quantile" && each.quantile.trim() === "")
      found.push({ at: `${at}/quantile`, text: "which quantile" })
    else if ((each.fn === "histogram" || each.fn === "top_k") && each.count.trim() === "")
      found.push({
        at: `${at}/count`,
        text: each.fn === "top_k" ? "how many keys" : "how many bins",
      })
  }
  for (const each of form.groups) {
    const at = `/query/groups/${each.id}`
    if (each.column === "") found.push({ at: `${at}/column`, text: "a column to group by" })
    else if (needsEdges(columnOf(facts, each.column)) && listed(each.edges).length < 2)
      found.push({ at: `${at}/edges`, text: "two edges or more to group by" })
  }
  for (const each of form.filters) {
    const at = `/query/filters/${each.id}`
    if (each.column === "") found.push({ at: `${at}/column`, text: "the column of a condition" })
    else if (takesValue(each.op) && each.value.trim() === "")
      found.push({ at: `${at}/value`, text: "the value of a condition" })
    else if (each.op === "between" && each.second.trim() === "")
      found.push({ at: `${at}/second`, text: "the upper value of a condition" })
  }
  return found
}

/** What the form asks; rows that are not filled in yet are left out. */
export function askedOf(form: QueryForm, facts: Facts): Asked {
  const lacking = lacksOf(form, facts).map(({ at }) => at)
  const isWhole = (kind: string, { id }: { id: number }) =>
    !lacking.some((at) => at.startsWith(`/query/${kind}/${id}/`))
  const where = form.filters.filter((each) => isWhole("filters", each)).map(predicateOf)
  const groups = form.groups.filter((each) => isWhole("groups", each))
  return {
    ...(where.length > 0 ? { where } : {}),
    ...(groups.length > 0 ? { group_by: groups.map((each) => groupOf(each, facts)) } : {}),
    measures: form.measures
      .filter((each) => isWhole("measures", each))
      .map((each) => measureOf(each, facts)),
  }
}

function measureOf(form: MeasureForm, facts: Facts): Measure {
  if (form.fn === "count" || form.fn === "count_distinct") return { fn: form.fn }
  if (form.fn === "count of values") return { fn: "count", col: form.column }
  if (form.fn === "top_k") return { fn: "top_k", col: form.column, k: form.count.trim() }
  const bounds = columnOf(facts, form.column)?.bounds
  const [low, high, grid] = [form.low.trim(), form.high.trim(), form.grid.trim()]
  const measure: Measure = { fn: form.fn, col: form.column }
  if (low !== "" || high !== "" || grid !== "") {
    measure.lo = low || bounds?.low || ""
    measure.hi = high || bounds?.high || ""
    if (hasGrid(form.fn) && grid !== "") measure.grid = grid
  }
  if (form.fn === "quantile") measure.q = [form.quantile.trim()]
  if (form.fn === "histogram") measure.bins = form.count.trim()
  return measure
}

function groupOf({ column, edges }: GroupForm, facts: Facts): Group {
  if (needsEdges(columnOf(facts, column))) return { bin: column, edges: listed(edges) }
  const isPublic = withKeys(facts).some((each) => each.name === column)
  return { col: column, keys: isPublic ? "domain" : "private" }
}

function predicateOf({ column, op, value, second }: FilterForm): Predicate {
  if (op === "is_null") return [column, "is_null"]
  if (op === "not_null") return ["not", [column, "is_null"]]
  if (op === "in") return [column, "in", listed(value)]
  if (op === "between") return [column, "between", [value.trim(), second.trim()]]
  return [column, op, value.trim()]
}

/** The form that asks the same; null where the form has no fields for it. */
export function formOf(asked: Asked, facts: Facts): QueryForm | null {
  if (asked.joins?.length || asked.having?.length || asked.order_by?.length) return null
  if (asked.limit !== undefined) return null
  const form: QueryForm = {
    measures: asked.measures.map((each) => ({
      ...newMeasure(each.fn === "count" && each.col !== undefined ? "count of values" : each.fn),
      column: each.fn === "count_distinct" ? "" : (each.col ?? ""),
      low: each.lo ?? "",
      high: each.hi ?? "",
      grid: each.grid ?? "",
      quantile: each.q?.[0] ?? "",
      count: String(each.bins ?? each.k ?? ""),
    })),
    groups: (asked.group_by ?? []).map((each) => ({
      ...newGroup(),
      column: "bin" in each ? each.bin : each.col,
      edges: "bin" in each ? each.edges.join(", ") : "",
    })),
    filters: [],
  }
  for (const predicate of asked.where ?? []) {
    const filter = filterOf(predicate)
    if (filter === null) return null
    form.filters.push(filter)
  }
  const text = sqlOf(asked, facts)
  return text !== null && text === sqlOf(askedOf(form, facts), facts) ? form : null
}

function filterOf(predicate: Predicate): FilterForm | null {
  const [head, op, value] = predicate
  if (head === "and" || head === "or") return null
  if (head === "not") {
    const of = predicate[1] as Predicate
    return of[1] === "is_null" ? { ...newFilter(), column: String(of[0]), op: "not_null" } : null
  }
  const filter = { ...newFilter(), column: String(head), op: String(op) }
  if (op === "is_null") return filter
  if (op === "in") return { ...filter, value: (value as Literal[]).join(", ") }
  if (op === "between") {
    const [low, high] = value as [Literal, Literal]
    return { ...filter, value: String(low), second: String(high) }
  }
  return { ...filter, value: String(value) }
}
