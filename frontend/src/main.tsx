import "@mantine/core/styles.css"
import "@mantine/notifications/styles.css"
import "./page.css"
import { MantineProvider } from "@mantine/core"
import { Notifications } from "@mantine/notifications"
import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query"
import { StrictMode } from "react"
import { createRoot } from "react-dom/client"
import { navigate } from "wouter/use-browser-location"
import { isWorthRepeating, ProblemError, signInPlace } from "./api/client"
import { Router } from "./router"
import { theme } from "./theme"

const client = new QueryClient({
  queryCache: new QueryCache({
    onError(error) {
      const isOut = error instanceof ProblemError && error.status === 401
      if (isOut && location.pathname !== "/sign-in") navigate(signInPlace())
    },
  }),
  defaultOptions: { queries: { retry: isWorthRepeating, staleTime: 10_000 } },
})

const root = document.getElementById("root")
if (root === null) throw new Error("the document has no root")
createRoot(root).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto">
      <Notifications />
      <QueryClientProvider client={client}>
        <Router />
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
)
