import { PageHeader } from "../../components/PageHeader"

export default function DatasetOne() {
  return <PageHeader title="Dataset" about="One dataset, its versions and its budgets." />
}
