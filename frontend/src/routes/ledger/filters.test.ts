import { expect, test } from "vitest"
import { isSpan, queryOf, readFilter, soughtSeq, withEntry, withFilter } from "./filters"

const read = (text: string) => readFilter(new URLSearchParams(text))

test("an address is read as a filter, and what is no part of one is left", () => {
  expect(read("budget=b&seq=7&kind=posted&actor=+&job=j")).toEqual({ kind: "posted", job: "j" })
})

test("days are whole days where the reader is", () => {
  const query = queryOf(read("from=2027-03-01&to=2027-03-01"))
  expect(query.since).toBe(new Date(2027, 2, 1).toISOString())
  expect(query.before).toBe(new Date(2027, 2, 2).toISOString())
  expect(queryOf(read("from=soon&kind=none"))).toEqual({ order: "newest" })
})

test("only times leave neighbours neighbours", () => {
  expect(isSpan(queryOf(read("from=2027-03-01&order=oldest")))).toBe(true)
  for (const one of ["kind=posted", "actor=Ada", "job=j", "search=abcdef"])
    expect(isSpan(queryOf(read(one)))).toBe(false)
})

test("another filter keeps the budget and closes the entry", () => {
  const next = withFilter(new URLSearchParams("budget=b&seq=7&kind=posted"), { actor: "Ada" })
  expect(next.toString()).toBe("budget=b&actor=Ada")
})

test("an entry is opened and closed beside the filter", () => {
  const open = withEntry(new URLSearchParams("kind=posted"), "b", 7)
  expect(open.toString()).toBe("kind=posted&budget=b&seq=7")
  expect(withEntry(open, "b", null).toString()).toBe("kind=posted&budget=b")
})

test("a number is looked for by its place, anything else in words", () => {
  expect(soughtSeq(" 42 ")).toBe(42)
  for (const other of ["0", "-1", "4.2", "abcdef", "9".repeat(17)])
    expect(soughtSeq(other)).toBeNull()
})
