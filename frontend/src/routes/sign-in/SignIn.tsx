import { Button, Container, Paper, PasswordInput, Stack, Text, TextInput } from "@mantine/core"
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import type { FormEvent } from "react"
import { useLocation, useSearchParams } from "wouter"
import { placeAfter } from "../../api/client"
import { signIn, waysQuery } from "../../api/session"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"

export function SignIn() {
  const ways = useQuery(waysQuery())
  const [search] = useSearchParams()
  const next = placeAfter(search.get("next"))
  return (
    <Container component="main" size={420} py="xl">
      <PageHeader title="Sign in" about="Epsilon Ledger" />
      <Paper withBorder p="lg">
        {ways.isPending && <LoadingState lines={2} />}
        {ways.error && <ProblemNotice error={ways.error} retry={ways.refetch} />}
        {ways.data?.password && <Password next={next} />}
        {ways.data?.oidc && (
          <Button
            component="a"
            fullWidth
            href={`/v1/auth/oidc/start?next=${encodeURIComponent(next)}`}
          >
            Sign in with your organisation
          </Button>
        )}
      </Paper>
    </Container>
  )
}

function Password({ next }: { next: string }) {
  const [, go] = useLocation()
  const client = useQueryClient()
  const entering = useMutation({
    mutationFn: (form: FormData) => signIn(String(form.get("name")), String(form.get("password"))),
    onSuccess: () => {
      client.clear()
      // what the service shows by itself is no place of this page
      if (next.startsWith("/v1/")) location.assign(next)
      else go(next, { replace: true })
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    entering.mutate(new FormData(event.currentTarget))
  }
  return (
    <form onSubmit={submit}>
      <Stack>
        {entering.error && <ProblemNotice error={entering.error} />}
        <TextInput name="name" label="Name" autoComplete="username" required />
        <PasswordInput
          name="password"
          label="Password"
          autoComplete="current-password"
          visibilityToggleButtonProps={{ "aria-label": "Show the password", tabIndex: 0 }}
          required
        />
        <Button type="submit" loading={entering.isPending}>
          Sign in
        </Button>
        <Text size="sm" c="dimmed">
          No password yet? An administrator invites you.
        </Text>
      </Stack>
    </form>
  )
}
