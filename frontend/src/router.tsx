import { type ComponentType, lazy, Suspense } from "react"
import { Route, Switch } from "wouter"
import { AppShell } from "./components/AppShell"
import { LoadingState } from "./components/LoadingState"
import { NotFound } from "./components/NotFound"
import { Invitation } from "./routes/sign-in/Invitation"
import { SignIn } from "./routes/sign-in/SignIn"

const places: [string, () => Promise<{ default: ComponentType }>][] = [
  ["/", () => import("./routes/overview/Overview")],
  ["/overview", () => import("./routes/overview/Overview")],
  ["/datasets", () => import("./routes/datasets/DatasetList")],
  ["/datasets/:id", () => import("./routes/datasets/DatasetOne")],
  ["/ledger", () => import("./routes/ledger/Ledger")],
  ["/ledger/:budget/:seq", () => import("./routes/ledger/Ledger")],
  ["/jobs", () => import("./routes/jobs/JobList")],
  ["/jobs/new", () => import("./routes/jobs/JobNew")],
  ["/jobs/:id", () => import("./routes/jobs/JobOne")],
  ["/approvals", () => import("./routes/approvals/ApprovalList")],
  ["/approvals/:id", () => import("./routes/approvals/ApprovalOne")],
  ["/inbox", () => import("./routes/inbox/Inbox")],
  ["/risk", () => import("./routes/risk/Risk")],
  ["/reports", () => import("./routes/reports/ReportList")],
  ["/reports/attestations", () => import("./routes/reports/Attestations")],
  ["/reports/:id", () => import("./routes/reports/ReportOne")],
  ["/admin", () => import("./routes/admin/Admin")],
  ["/admin/people", () => import("./routes/admin/People")],
  ["/admin/projects", () => import("./routes/admin/Projects")],
  ["/admin/keys", () => import("./routes/admin/Keys")],
  ["/admin/connections", () => import("./routes/admin/Connections")],
  ["/admin/webhooks", () => import("./routes/admin/Webhooks")],
  ["/admin/audit", () => import("./routes/admin/AuditTrail")],
  ["/account", () => import("./routes/account/Account")],
]
const pages = places.map(([path, load]) => ({ path, Page: lazy(load) }))

export function Router() {
  return (
    <Switch>
      <Route path="/sign-in" component={SignIn} />
      <Route path="/sign-in/invitation" component={Invitation} />
      <Route>
        <AppShell>
          <Suspense fallback={<LoadingState />}>
            <Switch>
              {pages.map(({ path, Page }) => (
                <Route key={path} path={path} component={Page} />
              ))}
              <Route component={NotFound} />
            </Switch>
          </Suspense>
        </AppShell>
      </Route>
    </Switch>
  )
}
