import type { Facts } from "./columns"
import type { TrainForm } from "./train"

export type SetTrain = (patch: Partial<TrainForm>) => void
export type Part = { form: TrainForm; set: SetTrain; facts: Facts }
