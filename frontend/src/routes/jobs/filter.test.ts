import { expect, test } from "vitest"
import { choicesOf, filterOf, isChosen } from "./filter"

test("an address asks for what the service knows, and for nothing else", () => {
  const search = new URLSearchParams("state=running&kind=dance&dataset=d&mine=yes")
  expect(filterOf(search)).toEqual({
    state: "running",
    kind: undefined,
    dataset_id: "d",
    mine: true,
  })
})

test("a choice is put into the address and taken away again", () => {
  const chosen = choicesOf(new URLSearchParams("kind=train"), { state: "failed", kind: "" })
  expect(String(chosen)).toBe("state=failed")
  expect(isChosen(filterOf(chosen))).toBe(true)
  expect(isChosen(filterOf(choicesOf(chosen, { state: "" })))).toBe(false)
})
