import type { Row } from "@tanstack/react-table"

/** Amounts by their size, for the order of a table alone; what has none comes first. */
export function compareAmounts<Of>(one: Row<Of>, other: Row<Of>, column: string): number {
  const [a, b] = [one, other].map((row) => {
    const text = String(row.getValue(column))
    return text === "" ? -1 : Number(text)
  }) as [number, number]
  return a === b ? 0 : a < b ? -1 : 1
}
