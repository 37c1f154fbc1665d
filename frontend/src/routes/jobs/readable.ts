/**
 * Any stored query in the manner of SQL, for reading alone, with the bounds that were charged.
 *
 * What the service would take as SQL is another matter: `new/sql.ts` writes that, or nothing.
 */

type Measure = {
  fn: string
  col?: string
  q?: string[]
  lo?: string
  hi?: string
  grid?: string
  bins?: number
  edges?: string[]
  k?: number
}
type Group = { col: string; keys: "private" | unknown[] } | { bin: string; edges: string[] }
type Predicate = unknown[]

export type Query = {
  where: Predicate[]
  group_by: Group[]
  measures: Measure[]
  joins?: { dataset_id: string; as: string; on: [string, string] }[]
  having?: [string, string, string][]
  order_by?: { by: string; desc: boolean }[]
  limit?: number
}

/** What has to be known beside the query: names of datasets, and which columns hold numbers. */
export type Names = { dataset: string; unit: string | null; numbers: ReadonlySet<string> }

export function queryText(query: Query, names: Names): string {
  const shown = query.measures.flatMap((each) => measureTexts(each, names))
  const keys = query.group_by.map(groupText)
  const lines = [`SELECT ${[...keys, ...shown.map((each) => each.text)].join(",\n       ")}`]
  lines.push(`FROM ${nameText(names.dataset)}`)
  for (const join of query.joins ?? [])
    lines.push(`JOIN ${nameText(join.as)} ON ${join.on[0]} = ${nameText(join.as)}.${join.on[1]}`)
  const where = query.where.map((each) => predicateText(each, names.numbers))
  if (where.length > 0) lines.push(`WHERE ${where.join("\n  AND ")}`)
  if (keys.length > 0) lines.push(`GROUP BY ${keys.join(", ")}`)
  const released = new Map(shown.map((each) => [each.name, each.text]))
  const textOf = (name: string) => released.get(name) ?? name
  const having = (query.having ?? []).map(([name, op, value]) => `${textOf(name)} ${op} ${value}`)
  if (having.length > 0) lines.push(`HAVING ${having.join(" AND ")}`)
  const orders = (query.order_by ?? []).map(
    ({ by, desc }) => `${binOf(query, by) ?? textOf(by)}${desc ? " DESC" : ""}`,
  )
  if (orders.length > 0) lines.push(`ORDER BY ${orders.join(", ")}`)
  if (query.limit !== undefined) lines.push(`LIMIT ${query.limit}`)
  return lines.join("\n")
}

/** Which groups there are, in words: it is no part of SQL and decides what is shown. */
export function keysTexts(query: Query): string[] {
  return query.group_by.flatMap((group) => {
    if ("bin" in group) return []
    if (group.keys === "private")
      return [
        `Groups of ${group.col} are shown where a noisy count of their units is large enough.`,
      ]
    const keys = group.keys as unknown[]
    const listed = keys.slice(0, keysShown).map(String).join(", ")
    const rest = keys.length > keysShown ? ` and ${keys.length - keysShown} more` : ""
    return [`Groups of ${group.col} are public: ${listed}${rest}.`]
  })
}

const keysShown = 20
const functions: Record<string, string> = {
  count: "COUNT",
  sum: "SUM",
  mean: "AVG",
  variance: "VAR_POP",
  stdev: "STDDEV_POP",
}

function measureTexts(measure: Measure, { unit }: Names): { name: string; text: string }[] {
  const { fn, col } = measure
  const values = valuesText(measure)
  const name = col === undefined ? fn : `${fn}(${col})`
  if (fn === "quantile")
    return (measure.q ?? []).map((q) => ({
      name: `${fn}(${col}, ${q})`,
      text: `QUANTILE(${values}, ${q})`,
    }))
  if (fn === "count_distinct") return [{ name, text: `COUNT(DISTINCT ${col ?? unit ?? "unit"})` }]
  if (fn === "top_k") return [{ name, text: `TOP_K(${col}, ${measure.k})` }]
  if (fn === "histogram") {
    const bins = measure.bins ?? `[${(measure.edges ?? []).join(", ")}]`
    return [{ name, text: `HISTOGRAM(${values}, ${bins})` }]
  }
  return [
    { name, text: `${functions[fn] ?? fn.toUpperCase()}(${col === undefined ? "*" : values})` },
  ]
}

function valuesText({ col, lo, hi, grid }: Measure): string {
  if (lo === undefined || hi === undefined) return col ?? "*"
  return `CLAMP(${[col, lo, hi, ...(grid === undefined ? [] : [grid])].join(", ")})`
}

const groupText = (group: Group): string =>
  "bin" in group ? `BIN(${[group.bin, ...group.edges].join(", ")})` : group.col

function binOf(query: Query, by: string): string | null {
  const bin = query.group_by.find((group) => "bin" in group && group.bin === by)
  return bin === undefined ? null : groupText(bin)
}

function predicateText(predicate: Predicate, numbers: ReadonlySet<string>): string {
  const [first, second, third] = predicate
  const text = (each: unknown) => predicateText(each as Predicate, numbers)
  if (first === "not" && Array.isArray(second)) return `NOT (${text(second)})`
  if ((first === "and" || first === "or") && Array.isArray(second))
    return `(${predicate
      .slice(1)
      .map(text)
      .join(first === "and" ? " AND " : " OR ")})`
  const column = String(first)
  const literal = (value: unknown) => literalText(value, numbers.has(column))
  if (second === "is_null") return `${column} IS NULL`
  if (second === "in") return `${column} IN (${(third as unknown[]).map(literal).join(", ")})`
  if (second === "between") {
    const [low, high] = third as [unknown, unknown]
    return `${column} BETWEEN ${literal(low)} AND ${literal(high)}`
  }
  return `${column} ${second} ${literal(third)}`
}

function literalText(value: unknown, isNumber: boolean): string {
  if (typeof value === "boolean") return value ? "TRUE" : "FALSE"
  if (typeof value !== "string" || isNumber) return String(value)
  return `'${value.replaceAll("'", "''")}'`
}

const nameText = (name: string): string =>
  /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
