/** Why a request would be refused, from what is known of each budget on its way. */

/** hasRoom: whether its amounts alone would let the request pass; `fits` asks its state too. */
export type Scope = { name: string; state: string; fits: boolean; hasRoom: boolean }
export type Refusal = { text: string; isOfAmount: boolean }

export function refusalOf(scopes: Scope[]): Refusal {
  const refusing = scopes.filter((each) => !each.fits)
  const shut = refusing.find((each) => each.state !== "open")
  if (shut !== undefined)
    return {
      text: `It would be refused: ${shut.name} is ${shut.state}. An officer decides when it opens.`,
      isOfAmount: false,
    }
  if (refusing.length === 0)
    return {
      text: "It would be refused by a budget above, which you may not read.",
      isOfAmount: true,
    }
  if (refusing.every((each) => each.hasRoom))
    return {
      text: "It would be refused: the period of a budget on its way has not begun, or is over.",
      isOfAmount: false,
    }
  return {
    text: "It would be refused: there is too little left for it. A refusal costs nothing.",
    isOfAmount: true,
  }
}
