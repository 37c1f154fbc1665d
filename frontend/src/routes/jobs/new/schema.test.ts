import { expect, test } from "vitest"
import { fieldsOf, optionsOf, valuesOf } from "./schema"

const schema = {
  type: "object",
  properties: {
    hidden: {
      type: "array",
      title: "Widths",
      minItems: 1,
      maxItems: 8,
      items: { type: "integer", minimum: 1, maximum: 99 },
    },
    alphabet: { type: "string", title: "Characters", maxLength: 5 },
    tokens: { type: "integer", title: "Tokens", minimum: 3, maximum: 9 },
    act: { type: "string", enum: ["tanh", "relu"], default: "tanh" },
    tied: { type: "boolean", default: true },
    lora: {
      type: "object",
      properties: {
        rank: { type: "integer", minimum: 1, maximum: 64 },
        alpha: { type: "number", minimum: 0.1, maximum: 9, title: "Default: rank" },
      },
      required: ["rank"],
    },
  },
  required: ["hidden", "lora"],
  oneOf: [{ required: ["alphabet"] }, { required: ["tokens"] }],
}

test("each option becomes a field by its type, also inside an object", () => {
  const found = fieldsOf(schema)
  expect(found.map(({ path, kind, isRequired }) => [path, kind, isRequired])).toEqual([
    ["hidden", "list", true],
    ["alphabet", "text", false],
    ["tokens", "number", false],
    ["act", "choice", false],
    ["tied", "truth", false],
    ["lora/rank", "number", true],
    ["lora/alpha", "number", false],
  ])
  const about = Object.fromEntries(found.map((each) => [each.path, each.about]))
  expect(about.hidden).toBe("1 to 8 of them, with commas between; each 1 to 99")
  expect(about.tokens).toBe("3 to 9; or else alphabet")
  expect(found[5]?.label).toBe("lora rank")
})

test("what was typed becomes the options of a spec, and what was left empty is left out", () => {
  const found = fieldsOf(schema)
  const typed = { hidden: "64, 32", alphabet: "a b", tied: "", "lora/rank": "8" }
  const options = optionsOf(found, typed)
  expect(options).toEqual({
    hidden: [64, 32],
    alphabet: "a b",
    act: "tanh",
    tied: false,
    lora: { rank: 8 },
  })
  expect(optionsOf(found, valuesOf(found, options))).toEqual(options)
})

test("a number that cannot be read is sent as it was typed, so that it is refused by its place", () => {
  expect(optionsOf(fieldsOf(schema), { tokens: "ten", hidden: "8,x" })).toMatchObject({
    tokens: "ten",
    hidden: [8, "x"],
  })
})
