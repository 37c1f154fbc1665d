import { useCallback, useEffect, useState } from "react"
import type { Change, Draft } from "./draft"

const drafts = new Map<string, Draft>()

/** What somebody typed, without what is chosen for him as the page opens. */
const typed = (draft: Draft) =>
  JSON.stringify({ ...draft, project: "", dataset: "", version: "", budget: "" })

/**
 * A draft that outlives a session that ends on the way, and a look at another page: it stays in
 * the memory of the tab, for its owner alone.
 */
export function useDraft(owner: string, start: Draft) {
  const [key] = useState(() => `${owner} ${location.search}`)
  const [kept] = useState(() => drafts.get(key))
  const [draft, setDraft] = useState(kept ?? start)
  const [isKept, setIsKept] = useState(kept !== undefined)
  const change: Change = useCallback((patch) => setDraft((before) => ({ ...before, ...patch })), [])
  useEffect(() => {
    if (typed(draft) === typed(start)) drafts.delete(key)
    else drafts.set(key, draft)
  }, [key, draft, start])
  const forget = () => drafts.delete(key)
  const restart = () => {
    forget()
    setDraft(start)
    setIsKept(false)
  }
  return { draft, change, isKept, restart, forget }
}
