/** What a key may be kept to, in words. */
export const rightNames: Record<string, string> = {
  read: "look",
  submit: "ask for room and run jobs",
  govern: "change datasets, budgets and approvals",
  administer: "keep people, keys, projects and connections",
}

type Ends = { expires_at?: string | null; revoked_at?: string | null }

export function keyState(key: Ends, now: number = Date.now()): "in force" | "ended" | "revoked" {
  if (key.revoked_at) return "revoked"
  if (key.expires_at && new Date(key.expires_at).getTime() <= now) return "ended"
  return "in force"
}
