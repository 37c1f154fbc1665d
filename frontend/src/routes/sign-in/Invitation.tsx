import { Button, Container, Paper, PasswordInput, Stack, Text } from "@mantine/core"
import { useMutation } from "@tanstack/react-query"
import { type FormEvent, useState } from "react"
import { Link } from "wouter"
import { setPassword } from "../../api/session"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"

/** Sets a password by an invitation, which stands behind the # so that no server logs it. */
export function Invitation() {
  const [token] = useState(() => location.hash.slice(1))
  const setting = useMutation({
    mutationFn: (password: string) => setPassword(token, password),
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    setting.mutate(String(new FormData(event.currentTarget).get("password")))
  }
  return (
    <Container component="main" size={420} py="xl">
      <PageHeader title="Set a password" about="Epsilon Ledger" />
      <Paper withBorder p="lg">
        {setting.isSuccess ? (
          <Text role="status">
            Your password is set. <Link href="/sign-in">Sign in</Link>
          </Text>
        ) : (
          <form onSubmit={submit}>
            <Stack>
              {setting.error && <ProblemNotice error={setting.error} />}
              <PasswordInput
                name="password"
                label="New password"
                autoComplete="new-password"
                visibilityToggleButtonProps={{ "aria-label": "Show the password", tabIndex: 0 }}
                required
              />
              <Button type="submit" loading={setting.isPending}>
                Set the password
              </Button>
            </Stack>
          </form>
        )}
      </Paper>
    </Container>
  )
}
