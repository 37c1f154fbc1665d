/** Facts of a record as one line of words. */
export function factsLine(facts: Readonly<Record<string, unknown>>): string {
  return Object.entries(facts)
    .map(([name, value]) => `${name.replaceAll("_", " ")}: ${said(value)}`)
    .join("; ")
}

function said(value: unknown): string {
  if (value === null) return "none"
  if (Array.isArray(value)) return value.map(said).join(", ") || "none"
  if (typeof value === "object") return factsLine(value as Record<string, unknown>) || "none"
  return String(value)
}
