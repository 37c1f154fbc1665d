/** A mechanism in its JSON form as one line of words. */
export function mechanismLine(mechanism: unknown): string {
  if (typeof mechanism !== "object" || mechanism === null) return String(mechanism)
  const { type, of, ...rest } = mechanism as Record<string, unknown>
  const said = Object.entries(rest)
    .filter(([, value]) => typeof value !== "object")
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`)
  const line = [String(type).replaceAll("_", " "), ...said].join(", ")
  if (of === undefined) return line
  const inner = Array.isArray(of) ? of.map(mechanismLine).join("; ") : mechanismLine(of)
  return `${line}, of (${inner})`
}
