import { useQueryClient } from "@tanstack/react-query"
import { useEffect, useState } from "react"
import { eventsPlace, jobKeys } from "../../api/jobs"
import { type Line, type Mark, withLine, withMark } from "./progress"
import { isUnderway, type Job } from "./words"

/** lines: what the run has published. marks: the pace. isLive: whether news comes by itself. */
export type Following = { lines: Line[]; marks: Mark[]; isLive: boolean }

const nothing: Following = { lines: [], marks: [], isLive: false }
const reopenMs = 5000

/** What a job publishes while it is under way, by a stream that is opened again where it ends. */
export function useFollowing(job: Job | undefined): Following {
  const client = useQueryClient()
  const [found, setFound] = useState(nothing)
  const id = job !== undefined && isUnderway(job) ? job.id : null
  useEffect(() => {
    if (id === null) return
    let source: EventSource
    let timer: ReturnType<typeof setTimeout> | undefined
    const readAgain = () => client.invalidateQueries({ queryKey: jobKeys.all })
    const open = () => {
      source = new EventSource(eventsPlace(id))
      source.onopen = () => setFound((now) => ({ ...now, isLive: true }))
      source.addEventListener("progress", ({ data }) => {
        const line: Line = JSON.parse(data)
        const at = Date.now()
        setFound((now) => ({
          ...now,
          lines: withLine(now.lines, line),
          marks: line.step === undefined ? now.marks : withMark(now.marks, { step: line.step, at }),
        }))
      })
      source.addEventListener("state", readAgain)
      source.addEventListener("ended", () => {
        source.close()
        readAgain()
      })
      source.onerror = () => {
        setFound((now) => ({ ...now, isLive: false }))
        // a browser goes on by itself after a cut, and gives up after a refusal
        if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, reopenMs)
      }
    }
    setFound(nothing)
    open()
    return () => {
      clearTimeout(timer)
      source.close()
    }
  }, [id, client])
  return found
}
