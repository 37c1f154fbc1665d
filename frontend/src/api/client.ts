import createClient, { type Middleware } from "openapi-fetch"
import type { components, paths } from "./schema"

export type Schemas = components["schemas"]

/** A refusal of the service: `type` is stable, branch on it; `facts` are what it said beside. */
export class ProblemError extends Error {
  constructor(
    readonly type: string,
    readonly title: string,
    readonly status: number,
    readonly facts: Readonly<Record<string, unknown>>,
  ) {
    super(title)
    this.name = "ProblemError"
  }
}

/** What is wrong where the service did not answer at all. */
export const unreachable = "unreachable"

let requestToken: string | null = null

/** Keep what proves that a request comes from this page; null once signed out. */
export function keepRequestToken(token: string | null): void {
  requestToken = token
}

const guard: Middleware = {
  onRequest({ request }) {
    if (request.method === "GET") return request
    if (requestToken !== null) request.headers.set("X-Epsilon-Request-Token", requestToken)
    if (request.method === "POST" && !request.headers.has("Idempotency-Key"))
      request.headers.set("Idempotency-Key", crypto.randomUUID())
    return request
  },
}

export const api = createClient<paths>({ baseUrl: location.origin })
api.use(guard)

type Answer<Data> = { data?: Data; error?: unknown; response: Response }

/** What an answer holds; throws ProblemError where it is a refusal. */
export function unwrap<Data>({ data, error, response }: Answer<Data>): Data {
  if (response.ok) return data as Data
  throw problemOf(error, response.status)
}

export function problemOf(body: unknown, status: number): ProblemError {
  const facts: Record<string, unknown> =
    typeof body === "object" && body !== null ? { ...body } : { code: `http-${status}` }
  const type = typeof facts.code === "string" ? facts.code : `http-${status}`
  const title = typeof facts.title === "string" ? facts.title : "The service refused"
  return new ProblemError(type, title, status, facts)
}

/** The header that makes a change only where nothing has moved since it was read. */
export const ifMatch = (version: number | string) => ({ "If-Match": `"${version}"` })

/** The header that makes a lost and repeated POST one. */
export const once = () => ({ "Idempotency-Key": crypto.randomUUID() })

/** Repeat what may have been lost on its way, never what was refused. */
export const isWorthRepeating = (count: number, error: Error): boolean =>
  count < 2 && !(error instanceof ProblemError && error.status < 500)

/** The sign-in page, with the way back to where one is. */
export function signInPlace(): string {
  const here = location.pathname + location.search
  return `/sign-in?next=${encodeURIComponent(here)}`
}

/** Where to go after signing in: a place of this origin, else the overview. */
export function placeAfter(next: string | null): string {
  if (next === null || !next.startsWith("/") || next.startsWith("//") || next.includes("\\"))
    return "/"
  return next
}
