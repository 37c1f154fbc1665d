import { expect, test } from "vitest"
import { whyNotTogether } from "./roles"

test("an engineer may be an officer too", () => {
  expect(whyNotTogether(["ml_engineer", "compliance_officer"])).toBeNull()
})

test("an auditor is nothing else, and nobody is nothing", () => {
  expect(whyNotTogether(["auditor", "ml_engineer"])).toContain("Auditor")
  expect(whyNotTogether(["auditor"])).toBeNull()
  expect(whyNotTogether([])).not.toBeNull()
})
