import { expect, test } from "vitest"
import { keyState } from "./keys"

const now = Date.parse("2027-01-01T00:00:00Z")

test("a key is in force until it is revoked or its end has come", () => {
  expect(keyState({}, now)).toBe("in force")
  expect(keyState({ expires_at: "2027-01-01T00:00:01Z" }, now)).toBe("in force")
  expect(keyState({ expires_at: "2027-01-01T00:00:00Z" }, now)).toBe("ended")
  expect(keyState({ revoked_at: "2026-01-01T00:00:00Z", expires_at: null }, now)).toBe("revoked")
})
