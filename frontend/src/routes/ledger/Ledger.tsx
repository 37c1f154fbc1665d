import { PageHeader } from "../../components/PageHeader"

export default function Ledger() {
  return <PageHeader title="Ledger" about="Every charge, in the order in which it was made." />
}
