import type { Schemas } from "../../api/client"

type Report = Pick<Schemas["ReportRead"], "state" | "progress" | "failure_code">

/** How far a report is, in words. */
export function progressLine({ state, progress, failure_code }: Report): string {
  if (state === "failed") return `failed: ${failure_code ?? "no reason is on record"}`
  if (state === "ready") return "ready"
  if (progress.stage === "gathering" && progress.of > 0)
    return `gathering, ${progress.done} of ${progress.of} entries`
  return progress.stage === "queued" ? "waiting for a worker" : progress.stage
}

/** The part that is done, 0 to 100; null where nothing can be said of it. */
export function progressPart({ progress }: Report): number | null {
  return progress.of > 0 ? Math.floor((100 * progress.done) / progress.of) : null
}
