import { factsLine } from "../../lib/facts"

/** A section of a model card: named facts, or sentences. */
export type Section = { title: string; lines: { name: string; value: string }[]; items: string[] }

const order = ["intended_use", "model", "training", "data", "privacy", "evaluation", "limits"]
// what it is, the audit that stands beside it, and what only a program compares
const left = new Set(["v", "kind", "audit", "implementation"])

/** A card in the order in which it is read; what a later version adds comes last, and is there. */
export function cardSections(card: Record<string, unknown>): Section[] {
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length)
  return Object.entries(card)
    .filter(([name]) => !left.has(name))
    .sort(([one], [other]) => rank(one) - rank(other))
    .map(([name, value]) => sectionOf(title(name), value))
}

function sectionOf(title: string, value: unknown): Section {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return {
      title,
      lines: Object.entries(value).map(([name, each]) => ({
        name: name.replaceAll("_", " "),
        value: said(each),
      })),
      items: [],
    }
  return { title, lines: [], items: Array.isArray(value) ? value.map(said) : [said(value)] }
}

function said(value: unknown): string {
  if (value === null) return "none"
  if (Array.isArray(value)) return value.map(said).join("; ") || "none"
  if (typeof value === "object") return factsLine(value as Record<string, unknown>)
  return String(value)
}

const title = (name: string): string =>
  name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ")
