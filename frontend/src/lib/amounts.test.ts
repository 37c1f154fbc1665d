import { describe, expect, test } from "vitest"
import { compare, share, shown, shownDelta, sum } from "./amounts"

describe("amounts", () => {
  test("a sum of decimals is exact where floats are not", () => {
    expect(sum("0.1", "0.2")).toBe("0.3")
    expect(sum("1e-18", "1")).toBe("1.000000000000000001")
    expect(sum("1e2", "0.5")).toBe("100.5")
    expect(sum()).toBe("0")
  })
  test("a comparison sees the last digit", () => {
    expect(compare("0.30000000000000000001", "0.3")).toBe(1)
    expect(compare("1.0", "1")).toBe(0)
  })
  test("what was spent rounds up and what is left rounds down", () => {
    expect(shown("0.12301", "spent")).toBe("0.124")
    expect(shown("0.12399", "left")).toBe("0.123")
    expect(shown("0.0001", "left")).toBe("< 0.001")
    expect(shown("2.000000", "spent")).toBe("2")
    expect(shown("0", "left")).toBe("0")
  })
  test("a small delta is a power of ten that does not flatter", () => {
    expect(shownDelta("0.000001")).toBe("1e-6")
    expect(shownDelta("0.0000012345")).toBe("1.3e-6")
    expect(shownDelta("0.00000999", "spent")).toBe("1e-5")
    expect(shownDelta("1E-9")).toBe("1e-9")
    expect(shownDelta("0")).toBe("0")
  })
  test("a share stays between nothing and the whole", () => {
    expect(share("1", "4")).toBe(0.25)
    expect(share("5", "4")).toBe(1)
    expect(share("1", "0")).toBe(1)
    expect(share("0", "0")).toBe(0)
  })
  test("what nothing bounds is said in words and fills its gauge", () => {
    expect(shown("Infinity", "spent")).toBe("without bound")
    expect(share("Infinity", "4")).toBe(1)
  })
  test("what is no decimal is refused", () => {
    expect(() => sum("ten")).toThrow(RangeError)
  })
})
