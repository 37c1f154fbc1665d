/** The fields of a form, made from the JSON Schema of a model's options. */

export type OptionSchema = {
  type?: string
  title?: string
  description?: string
  default?: unknown
  minimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  minItems?: number
  maxItems?: number
  enum?: string[]
  items?: OptionSchema
  properties?: Record<string, OptionSchema>
  required?: string[]
  oneOf?: { required: string[] }[]
}

export type Field = {
  /** Where its value stands below the model, such as `hidden` or `lora/rank`. */
  path: string
  kind: "number" | "text" | "choice" | "truth" | "list"
  label: string
  about: string
  isRequired: boolean
  choices: string[]
  /** Of a list, what each member is. */
  of: "number" | "text"
  isWhole: boolean
  usual: string
}

/** The values of fields, by path, as they were typed; a truth is "true" or "". */
export type Values = Record<string, string>

export function fieldsOf(schema: OptionSchema, under = ""): Field[] {
  const needed = new Set(schema.required ?? [])
  const either = (schema.oneOf ?? []).flatMap((each) => each.required)
  return Object.entries(schema.properties ?? {}).flatMap(([name, said]) => {
    const path = under === "" ? name : `${under}/${name}`
    if (said.type === "object") return fieldsOf(said, path)
    const inner = said.type === "array" ? (said.items ?? {}) : said
    const others = either.includes(name) ? either.filter((each) => each !== name) : []
    return [
      {
        path,
        kind: kindOf(said),
        label: (under === "" && said.title) || path.replace(/[/_]/g, " "),
        about: [
          under === "" ? said.description : said.title,
          rangeOf(said),
          others.length > 0 && `or else ${others.join(", ")}`,
        ]
          .filter(Boolean)
          .join("; "),
        isRequired: needed.has(name),
        choices: said.enum ?? [],
        of: inner.type === "string" ? "text" : "number",
        isWhole: inner.type === "integer",
        usual: said.default === undefined ? "" : shownValue(said.default),
      },
    ]
  })
}

function kindOf({ type, enum: choices }: OptionSchema): Field["kind"] {
  if (choices !== undefined) return "choice"
  if (type === "array") return "list"
  if (type === "boolean") return "truth"
  return type === "string" ? "text" : "number"
}

function rangeOf(schema: OptionSchema): string {
  const { type, minimum, maximum, maxLength, minItems, maxItems, items } = schema
  if (type === "array") {
    const count = minItems === maxItems ? `${maxItems}` : `${minItems ?? 0} to ${maxItems}`
    const each = items === undefined ? "" : rangeOf(items)
    return `${count} of them, with commas between${each ? `; each ${each}` : ""}`
  }
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`
  return maxLength === undefined ? "" : `at most ${maxLength} characters`
}

/** A value as a field shows it. */
export function shownValue(value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join(", ")
  if (typeof value === "boolean") return value ? "true" : ""
  return String(value)
}

export const asNumber = (text: string): number | string =>
  text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text.trim()

/** The options of a model as a spec says them; what was left empty is left out. */
export function optionsOf(fields: Field[], values: Values): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  for (const field of fields) {
    const text = values[field.path] ?? field.usual
    if (field.kind !== "truth" && text === "") continue
    if (field.kind === "truth" && text === field.usual) continue
    put(found, field.path.split("/"), read(field, text))
  }
  return found
}

function read({ kind, of }: Field, text: string): unknown {
  if (kind === "truth") return text === "true"
  if (kind === "list") {
    const members = text.split(",").map((each) => each.trim())
    return of === "number" ? members.map(asNumber) : members
  }
  return kind === "number" ? asNumber(text) : text
}

function put(into: Record<string, unknown>, [first = "", ...rest]: string[], value: unknown) {
  if (rest.length === 0) {
    into[first] = value
    return
  }
  const inner = (into[first] ?? {}) as Record<string, unknown>
  into[first] = inner
  put(inner, rest, value)
}

/** What the fields hold for a model that a spec names; the reverse of `optionsOf`. */
export function valuesOf(fields: Field[], model: Record<string, unknown>): Values {
  const found: Values = {}
  for (const { path } of fields) {
    let value: unknown = model
    for (const name of path.split("/")) value = (value as Record<string, unknown>)?.[name]
    if (value !== undefined && value !== null) found[path] = shownValue(value)
  }
  return found
}
