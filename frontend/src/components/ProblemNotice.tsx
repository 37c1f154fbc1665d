import { Alert, Button, List, Text } from "@mantine/core"
import { ProblemError } from "../api/client"

type Props = { error: Error; retry?: () => unknown }

const words: Record<string, string> = {
  "not-allowed": "Your role does not include this.",
  "not-found": "There is nothing here, or it belongs to a project that is not yours.",
  "not-authenticated": "Your session has ended. Sign in again.",
  "sign-in-refused": "The name or the password is not right.",
  "too-many-attempts": "Too many attempts. Wait a little and try again.",
  "too-many-requests": "That was too fast. Wait a little and try again.",
  "cross-site-request": "The page was open for too long. Load it again.",
  "insecure-transport": "Signing in needs https, or the machine that the service runs on.",
  "version-mismatch": "Somebody changed this since you read it. Read it again and decide anew.",
  "budget-exceeded": "The budget has too little left for this.",
}
const said = new Set(["type", "title", "status", "instance", "code", "detail", "errors"])

/** A refusal in plain words with what the service said beside it. */
export function ProblemNotice({ error, retry }: Props) {
  const problem = error instanceof ProblemError ? error : null
  const detail = problem?.facts.detail
  const facts = Object.entries(problem?.facts ?? {}).filter(
    ([name, value]) => !said.has(name) && ["string", "number", "boolean"].includes(typeof value),
  )
  const title =
    problem === null ? "The service cannot be reached." : (words[problem.type] ?? problem.title)
  return (
    <Alert role="alert" color="red" variant="outline" title={title} maw={720}>
      {typeof detail === "string" && <Text size="sm">{detail}</Text>}
      {errorsOf(problem).length > 0 && (
        <List size="sm">
          {errorsOf(problem).map((line) => (
            <List.Item key={line}>{line}</List.Item>
          ))}
        </List>
      )}
      {facts.length > 0 && (
        <List size="sm">
          {facts.map(([name, value]) => (
            <List.Item key={name} className="name">
              {name.replaceAll("_", " ")}: {String(value)}
            </List.Item>
          ))}
        </List>
      )}
      {retry && (
        <Button mt="sm" size="xs" variant="default" onClick={() => retry()}>
          Try again
        </Button>
      )}
    </Alert>
  )
}

function errorsOf(problem: ProblemError | null): string[] {
  const errors = problem?.facts.errors
  if (!Array.isArray(errors)) return []
  return errors.map((each) => `${each.pointer || each.in}: ${each.reason}`)
}
