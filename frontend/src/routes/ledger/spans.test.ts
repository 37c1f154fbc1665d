import { expect, test } from "vitest"
import { cut, nothing, pagesOf } from "./spans"

const span = { first: 1, last: 1050 }

test("what is seen is read in pages that begin at the same places, up to the end", () => {
  expect(pagesOf(95, 205, span)).toEqual([
    { first: 1, last: 100 },
    { first: 101, last: 200 },
    { first: 201, last: 300 },
  ])
  expect(pagesOf(1050, 1001, span)).toEqual([{ first: 1001, last: 1050 }])
  expect(pagesOf(100, 100, span)).toEqual([{ first: 1, last: 100 }])
})

test("nothing is read of an empty span or beside one", () => {
  expect(pagesOf(1, 40, nothing)).toEqual([])
  expect(pagesOf(2000, 2040, span)).toEqual([])
})

test("a span that is too long is cut where it is shown last", () => {
  expect(cut(span, true, 50)).toEqual({ first: 1001, last: 1050 })
  expect(cut(span, false, 50)).toEqual({ first: 1, last: 50 })
  expect(cut(span, true)).toEqual(span)
})
