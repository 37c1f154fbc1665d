"""Pure rules: values in, values or refusals out; no clock, no IO, no framework."""
