import { PageHeader } from "../../components/PageHeader"

export default function JobOne() {
  return <PageHeader title="Job" about="One job, its progress and its results." />
}
