import { expect, it } from "vitest"
import type { Schemas } from "../../api/client"
import { branchesOf } from "./tree"

const budget = (id: string, parent_id: string | null, kind = "allocation") =>
  ({ id, parent_id, kind }) as Schemas["BudgetRead"]

it("puts each budget below the one it is part of, and one whose parent is hidden at the top", () => {
  const shown = branchesOf([
    budget("root", null, "lifetime"),
    budget("far", "share"),
    budget("share", "root"),
    budget("january", "window", "period"),
    budget("window", "root", "window"),
    budget("lone", "hidden"),
  ])
  expect(shown.map(({ budget: { id }, depth }) => `${depth} ${id}`)).toEqual([
    "0 root",
    "1 share",
    "2 far",
    "1 window",
    "0 lone",
  ])
})
